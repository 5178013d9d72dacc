"""The database, resource by resource. No SQL, session or query object crosses this seam.

Every method may be called from any event loop of the process, and every method may raise
``StorageUnavailable``.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol
from uuid import UUID

from langgraph.checkpoint.base import BaseCheckpointSaver

from weft.schema import RunStatus
from weft.server.domain.assistants import Assistant
from weft.server.domain.runs import (
    Cancelled,
    Claim,
    Created,
    Finished,
    NewRun,
    Outcome,
    Reclaimed,
    Renewal,
    Run,
    Stop,
)
from weft.server.domain.threads import NewThread, Thread


class AssistantStorage(Protocol):
    async def ensure(self, assistants: Sequence[Assistant]) -> None:
        """Store those that do not exist yet; leave the others alone."""
        ...

    async def get(self, assistant_id: UUID) -> Assistant:
        """Return an assistant.

        Raises:
            AssistantNotFound: there is none with this id.
        """
        ...


class ThreadStorage(Protocol):
    async def create(self, new: NewThread) -> Thread:
        """Store a thread, or return the stored one where ``if_exists`` says so.

        Raises:
            ThreadExists: the id is taken.
        """
        ...

    async def get(self, thread_id: UUID) -> Thread:
        """Return a thread.

        Raises:
            ThreadNotFound: there is none with this id.
        """
        ...

    async def delete(self, thread_id: UUID) -> tuple[UUID, ...]:
        """Remove a thread with its runs and checkpoints; return the runs that were active.

        Raises:
            ThreadNotFound: there is none with this id.
        """
        ...


class RunStorage(Protocol):
    async def create(self, new: NewRun) -> Created:
        """Add a run to its thread, doing to the thread's active runs what the strategy says.

        Locks the thread, calls ``domain.multitask.decide``, applies it and inserts the run as
        pending; the thread is busy from then on.

        Raises:
            ThreadNotFound: the thread does not exist and is not to be created.
            ThreadBusy: the strategy is ``reject`` and another run is active.
        """
        ...

    async def get(self, thread_id: UUID | None, run_id: UUID) -> Run:
        """Return a run of a thread, or (None) of whichever thread has it.

        Raises:
            RunNotFound: the thread has none with this id.
        """
        ...

    async def list(
        self, thread_id: UUID, *, limit: int, offset: int, status: RunStatus | None
    ) -> Sequence[Run]:
        """Return a thread's runs, newest first.

        Raises:
            ThreadNotFound: there is no such thread.
        """
        ...

    async def delete(self, thread_id: UUID, run_id: UUID) -> Run:
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

    async def next_due(self) -> datetime | None:
        """Return when the earliest pending run that is not due yet becomes due."""
        ...

    async def renew(self, worker: str, claims: Sequence[Claim], lease_seconds: float) -> Renewal:
        """Extend leases; tell which claims are lost and which runs shall stop."""
        ...

    async def finish(self, claim: Claim, outcome: Outcome) -> Finished:
        """Record how a run ended: the run, its thread's status, values, interrupts and error.

        With another run queued the thread stays busy. The thread of a temporary run is deleted.

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

    async def cancel(self, thread_id: UUID, run_ids: Sequence[UUID], stop: Stop) -> Cancelled:
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


class Storage(Protocol):
    """The whole database."""

    @property
    def assistants(self) -> AssistantStorage: ...

    @property
    def threads(self) -> ThreadStorage: ...

    @property
    def runs(self) -> RunStorage: ...

    def checkpointer(self) -> BaseCheckpointSaver[str]:
        """Return a saver for reading and for writes that are not part of a run."""
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
