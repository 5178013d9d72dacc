"""The life of a run as plain values: the changes that each act makes."""

from datetime import UTC, datetime

import pytest
from tests.support import ASSISTANT, new_run

from loomline.server.domain import lifecycle
from loomline.server.domain.errors import NothingToCancel, ThreadBusy, TooManyRuns
from loomline.server.domain.ids import uuid7
from loomline.server.domain.json import EMPTY_OBJECT, Encoded
from loomline.server.domain.lifecycle import ActiveRun, Changes
from loomline.server.domain.run_spec import RunSpec, StoredSpec
from loomline.server.domain.runs import (
    ATTEMPTS_EXHAUSTED,
    LOST_NUMBERS,
    Claim,
    Outcome,
    QueueLimits,
    Run,
    Stop,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
THREAD, RUNNING, FIRST, SECOND = (uuid7() for _ in range(4))
ACTIVE = [ActiveRun(RUNNING, "running"), ActiveRun(FIRST, "pending"), ActiveRun(SECOND, "pending")]
INTERRUPT, ROLLBACK = Stop("interrupt", "asked"), Stop("rollback", "asked")
DONE = Outcome("success", "idle", values=Encoded(b"{}"), event_number=12)


def a_run(run_id=FIRST, **fields):
    given = {
        "run_id": run_id, "thread_id": THREAD, "assistant_id": ASSISTANT, "graph_id": "graph",
        "status": "pending", "metadata": {}, "request": StoredSpec(spec=RunSpec()),
        "multitask_strategy": "enqueue", "temporary": False, "resumable": False, "attempt": 1,
        "created_at": NOW, "updated_at": NOW, "webhook": "https://example.com/",
    }  # fmt: skip
    return Run(**{**given, **fields})


def a_claim(**fields):
    return Claim(a_run(status="running", **fields), "token", fresh=False, event_number=5)


def supersede(strategy, active=ACTIVE, known=(), **fields):
    return lifecycle.supersede(new_run(THREAD, strategy=strategy, **fields), active, known)


@pytest.mark.parametrize("strategy", ["reject", "enqueue", "interrupt", "rollback"])
def test_new_run_on_an_idle_thread_changes_no_other_run(strategy):
    assert supersede(strategy, []) == Changes()


def test_new_run_that_is_enqueued_changes_no_other_run():
    assert supersede("enqueue") == Changes()


def test_new_run_beyond_the_limit_of_the_thread_is_refused():
    with pytest.raises(TooManyRuns):
        supersede("enqueue", limits=QueueLimits(thread=2))
    assert supersede("enqueue", limits=QueueLimits(thread=3)) == Changes()


def test_new_run_that_rejects_a_busy_thread_is_refused():
    with pytest.raises(ThreadBusy, match="already running"):
        supersede("reject")


def test_new_run_that_interrupts_ends_pending_runs_and_stops_the_running_one():
    new = new_run(THREAD, strategy="interrupt")
    changes = lifecycle.supersede(new, ACTIVE)
    assert (changes.stop, changes.interrupt, changes.remove) == ((RUNNING,), (FIRST, SECOND), ())
    reason = f"superseded by run {new.run_id} (multitask_strategy=interrupt)"
    assert changes.how == Stop("interrupt", reason)
    assert (changes.number, changes.settle, changes.delete_thread) == (True, False, False)


def test_new_run_that_rolls_back_removes_pending_runs_and_stops_the_running_one():
    changes = supersede("rollback")
    assert (changes.stop, changes.interrupt, changes.remove) == ((RUNNING,), (), (FIRST, SECOND))
    assert changes.how.action == "rollback"


@pytest.mark.parametrize(
    ("strategy", "temporary", "with_values"),
    [
        ("interrupt", False, True),
        ("interrupt", True, False),
        ("rollback", False, False),
        ("rollback", True, False),
    ],
)
def test_notice_of_a_superseded_run_has_values_unless_they_are_temporary_or_rolled_back(
    strategy, temporary, with_values
):
    known = [a_run(temporary=temporary)]
    (notice,) = supersede(strategy, known=known).notices
    assert notice.with_values is with_values


def test_notice_of_an_interrupted_run_has_the_first_reason():
    known = [a_run(FIRST), a_run(SECOND, stop_reason="first")]
    changes = lifecycle.cancel(ACTIVE, [FIRST, SECOND], INTERRUPT, known)
    assert [notice.run.stop_reason for notice in changes.notices] == ["asked", "first"]


def test_cancelled_runs_end_or_stop_once_each_in_the_order_of_the_request():
    asked = [SECOND, RUNNING, FIRST, SECOND, uuid7()]
    changes = lifecycle.cancel(ACTIVE, asked, INTERRUPT)
    assert (changes.interrupt, changes.stop) == ((SECOND, FIRST), (RUNNING,))
    assert (changes.number, changes.settle) == (True, True)


def test_cancelled_runs_that_are_rolled_back_are_removed():
    changes = lifecycle.cancel(ACTIVE, [FIRST], ROLLBACK)
    assert (changes.interrupt, changes.remove, changes.left) == ((), (FIRST,), (FIRST,))


def test_cancelled_run_with_a_temporary_thread_takes_its_thread_along():
    changes = lifecycle.cancel(ACTIVE[1:2], [FIRST], INTERRUPT, [a_run(temporary=True)])
    assert (changes.delete_thread, changes.settle, len(changes.notices)) == (True, False, 1)


def test_cancelling_runs_that_are_not_active_is_refused():
    with pytest.raises(NothingToCancel):
        lifecycle.cancel(ACTIVE, [uuid7()], INTERRUPT)


def test_finished_run_ends_with_the_number_of_its_last_event():
    changes = lifecycle.finish(a_claim(), DONE)
    assert (changes.end.status, changes.end.last_number, changes.after) == ("success", 12, 12)
    assert (changes.thread.status, changes.thread.used) == ("idle", 7)
    assert changes.values == DONE.values
    assert [(each.status, each.with_values) for each in changes.notices] == [("success", True)]


def test_finished_run_without_events_has_the_number_of_its_claim():
    changes = lifecycle.finish(a_claim(), Outcome("success", "idle"))
    assert (changes.end.last_number, changes.thread.used) == (5, 0)


def test_finished_run_that_is_rolled_back_is_removed():
    changes = lifecycle.finish(a_claim(), Outcome("interrupted", "idle", roll_back=True))
    assert (changes.end, changes.remove) == (None, (FIRST,))
    assert changes.notices[0].status == "rollback"


@pytest.mark.parametrize("untold", [False, True])
def test_finished_run_with_a_temporary_thread_leaves_it_only_to_readers(untold):
    outcome = Outcome("success", "idle", untold=untold)
    changes = lifecycle.finish(a_claim(temporary=True), outcome)
    assert (changes.delete_thread, changes.expires) == (not untold, untold)
    assert not changes.notices[0].with_values


def test_expired_run_with_attempts_left_goes_back_into_the_queue():
    changes = lifecycle.expire(a_run(status="running", attempt=2), 3)
    assert changes == Changes(skip=LOST_NUMBERS, requeue=(FIRST,))


def test_expired_run_without_attempts_left_fails():
    changes = lifecycle.expire(a_run(status="running", attempt=3), 3)
    assert (changes.skip, changes.requeue) == (LOST_NUMBERS, ())
    assert (changes.end.status, changes.end.error) == ("error", ATTEMPTS_EXHAUSTED)
    assert (changes.thread.status, changes.thread.interrupts) == ("error", EMPTY_OBJECT)
    assert changes.number


def test_expired_runs_are_requeued_or_given_up():
    expired = {
        FIRST: lifecycle.expire(a_run(FIRST, attempt=1), 2),
        SECOND: lifecycle.expire(a_run(SECOND, attempt=2), 2),
    }
    found = lifecycle.reclaimed(expired)
    assert (found.requeued, found.given_up) == ((FIRST,), (SECOND,))


@pytest.mark.parametrize(("status", "skip"), [("pending", 0), ("running", LOST_NUMBERS)])
def test_deleted_run_leaves_out_the_numbers_that_its_worker_may_have_used(status, skip):
    changes = lifecycle.delete(a_run(status=status))
    assert changes == Changes(skip=skip, remove=(FIRST,), number=True, settle=True)


@pytest.mark.parametrize(
    ("status", "goes"), [("pending", True), ("running", True), ("error", False)]
)
def test_deleted_run_takes_its_temporary_thread_along_while_it_is_active(status, goes):
    assert lifecycle.delete(a_run(status=status, temporary=True)).delete_thread is goes
