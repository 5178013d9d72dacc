"""Runs, and who executes them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Protocol
from uuid import UUID

from loomline.schema import RunStatus
from loomline.server.domain.access import EVERYTHING, Condition
from loomline.server.domain.json import Encoded
from loomline.server.domain.runs import (
    Cancelled,
    Claim,
    Created,
    Finished,
    NewRun,
    Outcome,
    QueueStats,
    Reclaimed,
    Renewal,
    Run,
    Stop,
)


class RunStorage(Protocol):
    async def create(self, new: NewRun) -> Created:
        """Add a run to its thread, doing to the thread's active runs what the strategy says.

        Locks the thread, applies ``domain.lifecycle.supersede`` and inserts the run as
        pending; the thread is busy from then on. A key that stands for a run already gives that
        one, and nothing else happens. With a firing the date of its cron moves in the same act.

        Raises:
            ThreadNotFound: the thread does not exist and is not to be created.
            ThreadBusy: the strategy is ``reject`` and another run is active.
            AlreadyAnswered: the run alone is to answer a question that another run answers.
            TooManyRuns: as many runs wait as are allowed.
            IdempotencyKeyReused: its key stands for another request.
            AlreadyFired: the due time it belongs to is over.
        """
        ...

    async def get(
        self, thread_id: UUID | None, run_id: UUID, *, access: Condition = EVERYTHING
    ) -> Run:
        """Return a run of a thread, or (None) of whichever thread has it.

        Raises:
            RunNotFound: the thread has none with this id.
        """
        ...

    async def list(
        self,
        thread_id: UUID,
        *,
        limit: int,
        offset: int,
        status: RunStatus | None,
        access: Condition = EVERYTHING,
    ) -> Sequence[Run]:
        """Return a thread's runs, newest first.

        Raises:
            ThreadNotFound: there is no such thread.
        """
        ...

    async def active(
        self,
        status: RunStatus | None,
        *,
        after: UUID | None,
        limit: int,
        access: Condition = EVERYTHING,
    ) -> Sequence[tuple[UUID, UUID]]:
        """Return runs that are pending or running, of all threads, as (thread, run), by run.

        Args:
            status: Only pending, or only running ones; None: both.
            after: Only runs with a greater id.
            limit: How many at most.
            access: Only runs whose thread meets this condition.
        """
        ...

    async def over(self, run_ids: Sequence[UUID]) -> frozenset[UUID]:
        """Return those that are neither pending nor running, or do not exist."""
        ...

    async def delete(self, thread_id: UUID, run_id: UUID, *, access: Condition = EVERYTHING) -> Run:
        """Remove a run and its checkpoints; return it as it was.

        Raises:
            RunNotFound: the thread has none with this id.
        """
        ...

    async def claim(
        self,
        worker: str,
        limit: int,
        lease_seconds: float,
        *,
        graphs: Collection[str] | None = None,
    ) -> Sequence[Claim]:
        """Take runs that are due, one per thread, none on a thread that has one.

        The runs with the lowest number as their priority come first, and the oldest of these.

        A claimed run is running, its ``attempt`` one higher.

        Args:
            worker: Who takes them.
            limit: How many at most.
            lease_seconds: For how long.
            graphs: Only runs of these graphs; those of others wait, and so do their threads.
                None: of any.
        """
        ...

    async def next_due(self, after: datetime) -> datetime | None:
        """Return the earliest time after the given one at which a pending run is due."""
        ...

    async def renew(self, worker: str, claims: Sequence[Claim], lease_seconds: float) -> Renewal:
        """Extend leases; tell which claims are lost and which runs shall stop."""
        ...

    async def ask(self, claim: Claim, interrupts: Encoded, asked: Sequence[str]) -> None:
        """Store the open questions of a running run in the row of its thread.

        From then on the questions can be answered, even if they were answered before.

        Args:
            claim: The claim of the run.
            interrupts: The questions by the ids of their tasks, as ``Outcome`` has them.
            asked: The ids of the questions.

        Raises:
            LeaseLost: the claim is no longer valid; nothing has been written.
        """
        ...

    async def finish(self, claim: Claim, outcome: Outcome) -> Finished:
        """Record how a run ended: the run, its thread's status, values, interrupts and error.

        With another run queued the thread stays busy. The thread of a temporary run is deleted,
        or gets a TTL where the outcome is untold.

        Raises:
            LeaseLost: the claim is no longer valid; nothing has been written.
        """
        ...

    async def last_events(self, run_id: UUID) -> Encoded | None:
        """Return the stored last events of a run; None: the run has none, or is gone."""
        ...

    async def release(self, claim: Claim, *, pause_seconds: float = 0.0) -> None:
        """Put a claimed run back into the queue without counting the attempt.

        For ``pause_seconds`` it is not claimed, and so is not in the way of others.

        Raises:
            LeaseLost: the claim is no longer valid.
        """
        ...

    async def cancel(
        self,
        thread_id: UUID,
        run_ids: Sequence[UUID],
        stop: Stop,
        *,
        access: Condition = EVERYTHING,
    ) -> Cancelled:
        """End pending runs and mark running ones, in one act.

        Raises:
            NothingToCancel: none of them is pending or running.
        """
        ...

    async def reclaim(self, *, max_attempts: int, orphaned: bool = False) -> Reclaimed:
        """Put runs with an expired lease back into the queue, or fail those tried too often.

        ``orphaned``: no worker is alive, so every running run counts as expired.
        """
        ...

    async def forget_keys(self, before: datetime, limit: int) -> int:
        """Remove the keys of requests before a moment; return how many."""
        ...

    async def stats(self, *, graphs: Collection[str] | None = None) -> QueueStats:
        """Return how the queue stands at this moment, for whoever serves these graphs."""
        ...
