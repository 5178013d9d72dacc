"""Threads."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol
from uuid import UUID

from loomline.server.domain.access import EVERYTHING, Condition
from loomline.server.domain.filters import Page
from loomline.server.domain.json import JsonObject
from loomline.server.domain.threads import (
    FoundThread,
    NewThread,
    Pruned,
    PruneStrategy,
    Thread,
    ThreadFilter,
    ThreadPatch,
    ThreadQuery,
    ThreadSize,
)


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

    async def priority(self, thread_id: UUID) -> int | None:
        """Return the priority of a thread's runs; None: none has been assigned.

        Raises:
            ThreadNotFound: There is no thread with this id.
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
