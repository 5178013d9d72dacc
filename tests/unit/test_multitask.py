import pytest

from loomline.server.domain.errors import ThreadBusy
from loomline.server.domain.ids import uuid7
from loomline.server.domain.multitask import ActiveRun, Decision, decide

NEW, RUNNING, FIRST, SECOND = (uuid7() for _ in range(4))
ACTIVE = [ActiveRun(RUNNING, "running"), ActiveRun(FIRST, "pending"), ActiveRun(SECOND, "pending")]


@pytest.mark.parametrize("strategy", ["reject", "enqueue", "interrupt", "rollback"])
def test_an_idle_thread_needs_no_decision(strategy):
    assert decide(strategy, [], NEW) == Decision()


def test_enqueue_leaves_everything_alone():
    assert decide("enqueue", ACTIVE, NEW) == Decision()


def test_reject_strategy_refuses_a_busy_thread():
    with pytest.raises(ThreadBusy, match="already running"):
        decide("reject", ACTIVE, NEW)


def test_interrupt_ends_queued_runs_and_stops_the_running_one():
    made = decide("interrupt", ACTIVE, NEW)
    assert (made.stop, made.end, made.remove) == ((RUNNING,), (FIRST, SECOND), ())
    assert made.how.action == "interrupt"
    assert made.how.reason == f"superseded by run {NEW} (multitask_strategy=interrupt)"


def test_rollback_removes_queued_runs_and_stops_the_running_one():
    made = decide("rollback", ACTIVE, NEW)
    assert (made.stop, made.end, made.remove) == ((RUNNING,), (), (FIRST, SECOND))
    assert made.how.action == "rollback"
