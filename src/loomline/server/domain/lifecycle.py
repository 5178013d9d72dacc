"""The life of a run: the changes of each act, as plain values. Drivers only apply them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from loomline.schema import RunStatus, ThreadStatus
from loomline.server.domain.errors import NothingToCancel, ThreadBusy, TooManyRuns
from loomline.server.domain.json import EMPTY_OBJECT, Encoded
from loomline.server.domain.outputs import Output
from loomline.server.domain.runs import (
    ATTEMPTS_EXHAUSTED,
    LOST_NUMBERS,
    Claim,
    NewRun,
    Outcome,
    Reclaimed,
    Run,
    Stop,
    number_at_end,
)


@dataclass(frozen=True, slots=True)
class ActiveRun:
    """A run that is pending or running."""

    run_id: UUID
    status: RunStatus


@dataclass(frozen=True, slots=True)
class Notice:
    """The end of a run, for its webhook.

    Attributes:
        run: The run.
        status: A status of runs, or ``rollback``.
        started_at: The beginning of the last execution; None: the run has never begun.
        error: The encoded error of a run that has failed or was stopped.
    """

    run: Run
    status: str
    started_at: datetime | None = None
    error: Encoded | None = None

    @property
    def with_values(self) -> bool:
        """Whether the webhook carries the thread's values, which no run has rolled back."""
        return not (self.run.temporary or self.status == "rollback")


@dataclass(frozen=True, slots=True)
class RunEnd:
    """The end of a run that has begun. ``last_number`` None: the number of its thread.

    ``last_events``: readers get these events when the run's log has no end.
    """

    run_id: UUID
    status: RunStatus
    error: Encoded | None
    output: Output
    last_number: int | None = None
    last_events: Encoded | None = None


@dataclass(frozen=True, slots=True)
class ThreadEnd:
    """The state of a thread after a run. With another run in the queue the thread stays busy.

    ``used`` is the count of event numbers that the run has taken.
    """

    status: ThreadStatus
    interrupts: Encoded
    error: Encoded | None
    used: int = 0


@dataclass(frozen=True, slots=True)
class Changes:
    """The changes to the runs of one thread, in the order in which they are applied.

    Attributes:
        skip: Event numbers that the thread leaves out.
        interrupt: Pending runs that end as interrupted.
        requeue: Running runs that go back into the queue.
        stop: Running runs that are ordered to stop.
        how: The order, which also says why pending runs end.
        end: The running run that ends.
        values: The thread's new values; None: they stay.
        notices: The ends that webhooks may report.
        delete_thread: Whether the thread goes, with all its runs.
        remove: Runs that go, with their checkpoints.
        expires: Whether the thread gets the lifetime of unread results.
        thread: The thread's new state; None: it stays.
        asked: The ids of the thread's open questions, which can be answered from now on.
        number: Whether the last events of ended runs may lack a number.
        after: The number before the first of these; None: that of the thread.
        settle: Whether a thread without active runs gets its former status back.
    """

    skip: int = 0
    interrupt: tuple[UUID, ...] = ()
    requeue: tuple[UUID, ...] = ()
    stop: tuple[UUID, ...] = ()
    how: Stop | None = None
    end: RunEnd | None = None
    values: Encoded | None = None
    notices: tuple[Notice, ...] = ()
    delete_thread: bool = False
    remove: tuple[UUID, ...] = ()
    expires: bool = False
    thread: ThreadEnd | None = None
    asked: tuple[str, ...] = ()
    number: bool = False
    after: int | None = None
    settle: bool = False

    @property
    def left(self) -> tuple[UUID, ...]:
        """The pending runs that end."""
        return self.interrupt + self.remove


def displaced(new: NewRun, active: Sequence[ActiveRun]) -> tuple[UUID, ...]:
    """Return the pending runs that end when a new run is added."""
    return pending(active) if new.multitask_strategy in {"interrupt", "rollback"} else ()


def pending(active: Sequence[ActiveRun], asked: Collection[UUID] | None = None) -> tuple[UUID, ...]:
    """Return the pending ones of runs; with ``asked`` only those."""
    return _having("pending", active, asked)


def supersede(new: NewRun, active: Sequence[ActiveRun], known: Sequence[Run] = ()) -> Changes:
    """Return the changes to the active runs of a thread before a new one is added.

    Args:
        new: The run to add.
        active: The active runs of its thread.
        known: The displaced runs that have a webhook.

    Raises:
        ThreadBusy: the strategy is ``reject`` and a run is active.
        TooManyRuns: as many runs wait on the thread as are allowed.
    """
    strategy = new.multitask_strategy
    if not active or strategy == "enqueue":
        limits = new.limits
        if limits is not None and len(pending(active)) >= limits.thread:
            raise TooManyRuns.on_thread(limits.thread)
        return Changes()
    if strategy == "reject":
        raise ThreadBusy
    reason = f"superseded by run {new.run_id} (multitask_strategy={strategy})"
    how = Stop("interrupt" if strategy == "interrupt" else "rollback", reason)
    return _stopped(active, how, known)


def cancel(
    active: Sequence[ActiveRun], asked: Sequence[UUID], stop: Stop, known: Sequence[Run] = ()
) -> Changes:
    """Return the changes when runs of a thread are cancelled.

    Args:
        active: The active runs of the thread.
        asked: The runs to cancel.
        stop: The order.
        known: The pending runs to cancel that have a webhook or a temporary thread.

    Raises:
        NothingToCancel: none of the runs is active.
    """
    found = {run.run_id: run for run in active}
    named = [found[run_id] for run_id in dict.fromkeys(asked) if run_id in found]
    if not named:
        raise NothingToCancel
    changes = _stopped(named, stop, known)
    if any(run.temporary for run in known):
        return replace(changes, delete_thread=True)
    return replace(changes, settle=True)


def finish(claim: Claim, outcome: Outcome) -> Changes:
    """Return the changes when a worker has executed a run to its end."""
    run = claim.run
    status = "rollback" if outcome.roll_back else outcome.status
    notices = (Notice(run, status, run.updated_at, outcome.error),)
    if run.temporary and not outcome.untold:
        return Changes(notices=notices, delete_thread=True)
    last = number_at_end(claim, outcome)
    end = RunEnd(
        run.run_id, outcome.status, outcome.error, outcome.output, last, outcome.last_events
    )
    used = last - claim.event_number
    return Changes(
        end=None if outcome.roll_back else end,
        remove=(run.run_id,) if outcome.roll_back else (),
        values=outcome.values,
        notices=notices,
        expires=run.temporary,
        thread=ThreadEnd(outcome.thread_status, outcome.interrupts, outcome.error, used),
        asked=outcome.asked,
        number=True,
        after=last,
    )


def expire(run: Run, max_attempts: int) -> Changes:
    """Return the changes when the worker of a run is gone.

    The worker may have logged events without recording their numbers.
    """
    if run.attempt < max_attempts:
        return Changes(skip=LOST_NUMBERS, requeue=(run.run_id,))
    error = ATTEMPTS_EXHAUSTED
    notices = (Notice(run, "error", run.updated_at, error),)
    if run.temporary:
        return Changes(notices=notices, delete_thread=True)
    return Changes(
        skip=LOST_NUMBERS,
        end=RunEnd(run.run_id, "error", error, run.output),
        notices=notices,
        thread=ThreadEnd("error", EMPTY_OBJECT, error),
        number=True,
    )


def reclaimed(expired: Mapping[UUID, Changes]) -> Reclaimed:
    """Return the fate of expired runs, given the changes to each."""
    requeued = tuple(run_id for run_id, changes in expired.items() if changes.requeue)
    given_up = tuple(run_id for run_id, changes in expired.items() if not changes.requeue)
    return Reclaimed(requeued, given_up)


def delete(run: Run) -> Changes:
    """Return the changes when a run is deleted. No webhook reports a run that had not ended."""
    if run.temporary and run.active:
        return Changes(delete_thread=True)  # nothing else would delete it
    skip = LOST_NUMBERS if run.status == "running" else 0
    return Changes(skip=skip, remove=(run.run_id,), number=True, settle=True)


def _stopped(active: Sequence[ActiveRun], how: Stop, known: Sequence[Run]) -> Changes:
    """Return the changes that stop runs: pending ones at once, running ones by an order."""
    ended = pending(active)
    rolled_back = how.action == "rollback"
    notices = [_left(run, how) for run in known if run.run_id in ended]
    return Changes(
        interrupt=() if rolled_back else ended,
        remove=ended if rolled_back else (),
        stop=_having("running", active),
        how=how,
        notices=tuple(notices),
        number=bool(ended),
    )


def _left(run: Run, how: Stop) -> Notice:
    """Return the notice of a run that ends before it begins, or before it begins again."""
    if how.action == "rollback":
        return Notice(run, "rollback")
    # The first reason counts, as in the run's row.
    return Notice(replace(run, stop_reason=run.stop_reason or how.reason), "interrupted")


def _having(
    status: RunStatus, active: Sequence[ActiveRun], asked: Collection[UUID] | None = None
) -> tuple[UUID, ...]:
    return tuple(
        run.run_id
        for run in active
        if run.status == status and (asked is None or run.run_id in asked)
    )
