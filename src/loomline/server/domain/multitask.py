"""What a new run does to the runs that are already on its thread."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from loomline.schema import MultitaskStrategy, RunStatus
from loomline.server.domain.errors import NothingToCancel, ThreadBusy, ThreadMoved, TooManyRuns
from loomline.server.domain.runs import Cancelled, NewRun, QueueLimits, Seen, Stop


@dataclass(frozen=True, slots=True)
class ActiveRun:
    run_id: UUID
    status: RunStatus


@dataclass(frozen=True, slots=True)
class Decision:
    """``end`` pending runs as interrupted, ``remove`` pending runs, ``stop`` running ones."""

    end: tuple[UUID, ...] = ()
    remove: tuple[UUID, ...] = ()
    stop: tuple[UUID, ...] = ()
    how: Stop | None = None

    @property
    def reason(self) -> str | None:
        """The reason that the runs that have to make way are given."""
        return None if self.how is None else self.how.reason


def decide(
    strategy: MultitaskStrategy,
    active: Sequence[ActiveRun],
    new_run_id: UUID,
    limits: QueueLimits | None = None,
) -> Decision:
    """Return what has to happen to the active runs of a thread before a new one is added.

    Raises:
        ThreadBusy: the strategy is ``reject`` and a run is pending or running.
        TooManyRuns: the new one would wait behind as many as are allowed.
    """
    if not active or strategy == "enqueue":
        waiting = sum(run.status == "pending" for run in active)
        if limits is not None and waiting >= limits.thread:
            raise TooManyRuns.on_thread(limits.thread)
        return Decision()
    if strategy == "reject":
        raise ThreadBusy
    pending = tuple(run.run_id for run in active if run.status == "pending")
    running = tuple(run.run_id for run in active if run.status == "running")
    reason = f"superseded by run {new_run_id} (multitask_strategy={strategy})"
    if strategy == "interrupt":
        return Decision(end=pending, stop=running, how=Stop("interrupt", reason))
    return Decision(remove=pending, stop=running, how=Stop("rollback", reason))


def check_seen(new: NewRun, active: Sequence[ActiveRun], event_number: int) -> None:
    """Make sure that a thread is as it was when the run was decided on.

    Raises:
        ThreadMoved: it is not.
    """
    if new.seen != Seen(frozenset(run.run_id for run in active), event_number):
        raise ThreadMoved(new.thread_id)


def to_cancel(active: Sequence[ActiveRun], asked: Sequence[UUID]) -> Cancelled:
    """Return what becomes of the runs of a thread that somebody asks to cancel, each named once.

    Raises:
        NothingToCancel: none of them is active.
    """
    status = {run.run_id: run.status for run in active}
    found = dict.fromkeys(run_id for run_id in asked if run_id in status)
    if not found:
        raise NothingToCancel
    return Cancelled(
        ended=tuple(run_id for run_id in found if status[run_id] == "pending"),
        stopping=tuple(run_id for run_id in found if status[run_id] == "running"),
    )
