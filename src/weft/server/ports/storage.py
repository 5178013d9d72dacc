"""The database, resource by resource. No SQL, session or query object crosses this seam.

Every method may be called from any event loop of the process, and every method may raise
``StorageUnavailable``.

``access`` is a condition on the metadata of a row, and with runs on that of their thread: a row
that does not meet it is as good as not there, in the same act as what is done to it. Only its id is
taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol
from uuid import UUID

from langgraph.checkpoint.base import BaseCheckpointSaver

from weft.cache import Backend
from weft.schema import OnConflictBehavior, RunStatus
from weft.server.domain.access import EVERYTHING, Condition
from weft.server.domain.assistants import (
    Assistant,
    AssistantFilter,
    AssistantPatch,
    AssistantQuery,
    AssistantVersion,
)
from weft.server.domain.crons import Cron, CronFilter, CronQuery, Firing
from weft.server.domain.filters import Page
from weft.server.domain.json import JsonObject
from weft.server.domain.runs import (
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
from weft.server.domain.threads import (
    FoundThread,
    NewThread,
    Pruned,
    PruneStrategy,
    Thread,
    ThreadFilter,
    ThreadPatch,
    ThreadQuery,
    ThreadSize,
    ThreadState,
)
from weft.server.domain.webhooks import DeadWebhook, Delivery, OutboxStats
from weft.server.ports.store import Store


class AssistantStorage(Protocol):
    async def ensure(self, assistants: Sequence[Assistant]) -> None:
        """Store those that do not exist yet, with their version; leave the others alone."""
        ...

    async def create(
        self, assistant: Assistant, if_exists: OnConflictBehavior, *, access: Condition = EVERYTHING
    ) -> Assistant:
        """Store an assistant and its version, or return the stored one where ``if_exists`` says so.

        Raises:
            AssistantExists: the id is taken.
        """
        ...

    async def get(self, assistant_id: UUID, *, access: Condition = EVERYTHING) -> Assistant:
        """Return an assistant.

        Raises:
            AssistantNotFound: there is none with this id.
        """
        ...

    async def search(self, query: AssistantQuery) -> Page[Assistant]:
        """Return a page of the assistants that match, and the true total."""
        ...

    async def count(self, where: AssistantFilter) -> int:
        """Return how many assistants match."""
        ...

    async def update(
        self, assistant_id: UUID, patch: AssistantPatch, *, access: Condition = EVERYTHING
    ) -> Assistant:
        """Apply ``domain.assistants.patched`` and store the result as a version.

        Its number is one more than the highest that the assistant has had, in use or not. Of
        concurrent updates none is lost.

        Raises:
            AssistantNotFound: there is none with this id.
            ContradictoryInput: both config.configurable and context are given.
        """
        ...

    async def delete(
        self,
        assistant_id: UUID,
        *,
        delete_threads: bool,
        access: Condition = EVERYTHING,
        threads_access: Condition = EVERYTHING,
    ) -> tuple[UUID, ...]:
        """Remove an assistant with its versions and crons; return the runs that were active.

        Threads and runs stay, unless ``delete_threads``: then the threads whose metadata names
        the assistant go with everything on them, and the runs returned are theirs.

        Raises:
            AssistantNotFound: there is none with this id.
        """
        ...

    async def versions(
        self,
        assistant_id: UUID,
        *,
        metadata: JsonObject,
        limit: int,
        offset: int,
        access: Condition = EVERYTHING,
    ) -> Sequence[AssistantVersion]:
        """Return the versions whose metadata contains a pattern, newest first.

        Raises:
            AssistantNotFound: there is no such assistant.
        """
        ...

    async def set_latest(
        self, assistant_id: UUID, version: int, now: datetime, *, access: Condition = EVERYTHING
    ) -> Assistant:
        """Make an assistant again what it was in a version, number included.

        Raises:
            AssistantNotFound: there is none with this id.
            AssistantVersionNotFound: it has no such version.
        """
        ...


class ThreadStorage(Protocol):
    async def create(self, new: NewThread, *, access: Condition = EVERYTHING) -> Thread:
        """Store a thread, or return the stored one where ``if_exists`` says so.

        Raises:
            ThreadExists: the id is taken.
        """
        ...

    async def get(
        self, thread_id: UUID, *, with_values: bool = True, access: Condition = EVERYTHING
    ) -> Thread:
        """Return a thread; without its values it costs the same however large they are.

        Raises:
            ThreadNotFound: there is none with this id.
        """
        ...

    async def event_number(self, thread_id: UUID) -> int:
        """Return how many numbers the events of a thread have used up.

        Raises:
            ThreadNotFound: there is none with this id.
        """
        ...

    async def delete(self, thread_id: UUID, *, access: Condition = EVERYTHING) -> tuple[UUID, ...]:
        """Remove a thread and every row that is about it; return the runs that were active.

        Raises:
            ThreadNotFound: there is none with this id.
        """
        ...

    async def search(self, query: ThreadQuery) -> Page[FoundThread]:
        """Return a page of the threads that match.

        No checkpoint is read, and values only where the query filters, wants or extracts them.
        ``total`` is the true number where that is cheap to know, else None.
        """
        ...

    async def count(self, where: ThreadFilter) -> int:
        """Return how many threads match."""
        ...

    async def update(
        self,
        thread_id: UUID,
        patch: ThreadPatch,
        *,
        with_values: bool = True,
        access: Condition = EVERYTHING,
    ) -> Thread:
        """Merge metadata into a thread's, replace its TTL where one is given; return it.

        ``updated_at`` becomes ``patch.now`` even when nothing else changes.

        Raises:
            ThreadNotFound: there is none with this id.
        """
        ...

    async def copy(
        self,
        thread_id: UUID,
        new_id: UUID,
        now: datetime,
        *,
        metadata: JsonObject | None = None,
        access: Condition = EVERYTHING,
    ) -> Thread:
        """Store a copy of a thread under a new id; return the copy.

        It has the metadata of the source with ``metadata`` merged into it, its config, values,
        interrupts, error and TTL, all its checkpoints and writes under their own ids, and none of
        its runs: its status is the one that the source has without its active runs. Where the
        metadata of a checkpoint names the thread it names the copy; nothing that happens to runs
        of the source later changes it.

        Raises:
            ThreadNotFound: there is no source.
        """
        ...

    async def prune(
        self, thread_ids: Sequence[UUID], strategy: PruneStrategy, *, access: Condition = EVERYTHING
    ) -> Pruned:
        """Delete threads, or all their checkpoints but the latest of each namespace.

        What delta channels of a kept checkpoint are built from is kept too, so that the thread
        goes on as before. Unknown ids are passed over. So are, with ``keep_latest``, threads with
        active runs: rolling a run back needs the checkpoints before it.
        """
        ...

    async def size(self, thread_id: UUID, *, access: Condition = EVERYTHING) -> ThreadSize:
        """Return what the checkpoints of a thread take.

        Raises:
            ThreadNotFound: there is none with this id.
        """
        ...

    async def expire(self, now: datetime, limit: int) -> Pruned:
        """Do to threads what their TTL says, the longest expired first; return which they were.

        A thread expires when nothing has changed it for the minutes of its TTL; one with active
        runs does not. After ``keep_latest`` a thread is left alone until it changes again.
        """
        ...


class RunStorage(Protocol):
    async def create(self, new: NewRun) -> Created:
        """Add a run to its thread, doing to the thread's active runs what the strategy says.

        Locks the thread, calls ``domain.multitask.decide``, applies it and inserts the run as
        pending; the thread is busy from then on. A key that stands for a run already gives that
        one, and nothing else happens. With a firing the date of its cron moves in the same act.

        Raises:
            ThreadNotFound: the thread does not exist and is not to be created.
            ThreadBusy: the strategy is ``reject`` and another run is active.
            ThreadMoved: the thread is not as it was seen to be.
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

    async def claim(self, worker: str, limit: int, lease_seconds: float) -> Sequence[Claim]:
        """Take runs that are due: oldest first, one per thread, none on a thread that has one.

        A claimed run is running, its ``attempt`` one higher.
        """
        ...

    async def next_due(self, after: datetime) -> datetime | None:
        """Return the earliest time after the given one at which a pending run is due."""
        ...

    async def renew(self, worker: str, claims: Sequence[Claim], lease_seconds: float) -> Renewal:
        """Extend leases; tell which claims are lost and which runs shall stop."""
        ...

    async def finish(self, claim: Claim, outcome: Outcome) -> Finished:
        """Record how a run ended: the run, its thread's status, values, interrupts and error.

        With another run queued the thread stays busy. The thread of a temporary run is deleted,
        or gets a TTL where the outcome is untold.

        Raises:
            LeaseLost: the claim is no longer valid; nothing has been written.
        """
        ...

    async def release(self, claim: Claim) -> None:
        """Put a claimed run back into the queue without counting the attempt.

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

    async def stats(self) -> QueueStats:
        """Return how the queue stands at this moment."""
        ...


class CronStorage(Protocol):
    async def create(self, cron: Cron, *, access: Condition = EVERYTHING) -> Cron:
        """Store a cron.

        Raises:
            ThreadNotFound: it is for a thread that does not exist.
        """
        ...

    async def get(self, cron_id: UUID, *, access: Condition = EVERYTHING) -> Cron:
        """Return a cron.

        Raises:
            CronNotFound: there is none with this id.
        """
        ...

    async def update(
        self, cron_id: UUID, fields: JsonObject, now: datetime, *, access: Condition = EVERYTHING
    ) -> Cron:
        """Apply ``domain.crons.patched`` to a cron. Of concurrent updates none is lost.

        Raises:
            CronNotFound: there is none with this id.
            InvalidInput: the new schedule never comes true.
        """
        ...

    async def delete(self, cron_id: UUID, *, access: Condition = EVERYTHING) -> None:
        """Remove a cron. Those of a thread or an assistant also go with it.

        Raises:
            CronNotFound: there is none with this id.
        """
        ...

    async def search(self, query: CronQuery) -> Page[Cron]:
        """Return a page of the crons that match, and the true total."""
        ...

    async def count(self, where: CronFilter) -> int:
        """Return how many crons match."""
        ...

    async def due(self, now: datetime, limit: int) -> Sequence[Cron]:
        """Return crons that are due, the longest due first, as they are.

        Due are those that are enabled, with ``next_run_date`` at or before ``now``. They stay so
        until a run is created with their firing, or the firing is passed over.
        """
        ...

    async def pass_over(self, firing: Firing) -> bool:
        """Move a cron's date without a run; return False where somebody else has moved it."""
        ...

    async def next_due(self) -> datetime | None:
        """Return when the next cron is due, which may be in the past; None: there is none."""
        ...


class WebhookStorage(Protocol):
    """The outbox. Its rows are written by whatever ends a run, in the same transaction."""

    async def claim(
        self, limit: int, lease_seconds: float, *, avoid: Sequence[str] = ()
    ) -> Sequence[Delivery]:
        """Take webhooks that are due, the longest due first; nobody else gets them meanwhile.

        Those that go to hosts in ``avoid`` stay where they are.

        What is not reported within the lease is due again: its sender has died.
        """
        ...

    async def delivered(self, delivery: Delivery) -> None:
        """Remove a webhook that has arrived. Nothing happens when its lease had run out."""
        ...

    async def failed(self, delivery: Delivery, error: str, retry_at: datetime | None) -> None:
        """Note a failed attempt; without ``retry_at`` it was the last one.

        Nothing happens when the lease had run out.
        """
        ...

    async def next_due(self) -> datetime | None:
        """Return when the next webhook is due, which may be in the past; None: there is none."""
        ...

    async def release(self) -> None:
        """Make all webhooks that are taken due: whoever took them is known to be dead."""
        ...

    async def dead(self, limit: int) -> Sequence[DeadWebhook]:
        """Return webhooks that were given up, the latest first."""
        ...

    async def retry(self, webhook_id: UUID | None) -> int:
        """Make a webhook that was given up, or (None) all of them, due again from the beginning.

        Raises:
            WebhookNotFound: there is no such one.
        """
        ...

    async def expire(self, before: datetime, limit: int) -> int:
        """Remove webhooks that were given up before a moment; return how many."""
        ...

    async def stats(self) -> OutboxStats:
        """Return how the outbox stands at this moment."""
        ...


class StateEdit(Protocol):
    """A change of a thread's state that is prepared first and then stored as one."""

    @property
    def checkpointer(self) -> BaseCheckpointSaver[str]:
        """Return a saver that finds what was written to it, which nobody else does yet.

        Only its asynchronous methods for reading and writing checkpoints are there to be used.
        """
        ...

    async def commit(
        self, state: ThreadState, new: NewThread | None = None, *, access: Condition = EVERYTHING
    ) -> Thread:
        """Store the written checkpoints and what the thread's row says of them, in one act.

        The thread's error is gone then. With ``new`` the thread is created in the same act; where
        it exists and ``new`` says to do nothing, nothing is written and the stored one returned.

        Raises:
            ThreadNotFound: there is no such thread; nothing has been written.
            ThreadInFlight: it has active runs; nothing has been written.
            StateChanged: a checkpoint has been stored after the newest of a namespace was read
                through ``checkpointer``; nothing has been written.
            ThreadExists: it was to be created, and exists; nothing has been written.
        """
        ...


class Storage(Protocol):
    """The whole database."""

    @property
    def assistants(self) -> AssistantStorage: ...

    @property
    def threads(self) -> ThreadStorage: ...

    @property
    def runs(self) -> RunStorage: ...

    @property
    def crons(self) -> CronStorage: ...

    @property
    def webhooks(self) -> WebhookStorage: ...

    @property
    def store(self) -> Store:
        """Return the store, whose options were given when the storage was made."""
        ...

    @property
    def cache(self) -> Backend:
        """Return what hosted code caches in, shared by all servers on this database."""
        ...

    def checkpointer(self) -> BaseCheckpointSaver[str]:
        """Return a saver for reading and for writes that are not part of a run."""
        ...

    def edit(self, thread_id: UUID) -> StateEdit:
        """Return a change of a thread's state, to be prepared by whoever has the graph."""
        ...

    def run_checkpointer(self, claim: Claim, *, wait: bool) -> BaseCheckpointSaver[str]:
        """Return a saver that writes only while the claim is valid.

        With ``wait`` a write is on disk when it returns. Otherwise it may be acknowledged before:
        the writes are in order with ``finish`` of the same claim, which fails when one of them
        failed.
        """
        ...

    async def flush(self, claim: Claim) -> None:
        """Return once every write made through ``run_checkpointer(claim)`` is on disk.

        Raises:
            LeaseLost: one of them was refused, the claim being no longer valid.
        """
        ...

    async def open(self) -> None:
        """Connect and bring the schema up to date."""
        ...

    async def close(self) -> None: ...

    async def ping(self) -> None: ...
