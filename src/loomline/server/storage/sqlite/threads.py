"""Threads in SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from uuid import UUID

from loomline.server.domain.access import EVERYTHING, Condition
from loomline.server.domain.filters import Page
from loomline.server.domain.json import JsonObject
from loomline.server.domain.threads import (
    FoundThread,
    Pruned,
    PruneStrategy,
    Thread,
    ThreadFilter,
    ThreadQuery,
)
from loomline.server.storage.sqlite import thread_search
from loomline.server.storage.sqlite.connection import Readers, Writer
from loomline.server.storage.sqlite.copying import Copy, copy_in_pieces, copy_small
from loomline.server.storage.sqlite.pieces import work_on
from loomline.server.storage.sqlite.thread_rows import THREADS
from loomline.server.storage.sqlite.upkeep import PatientAccess, Upkeep
from loomline.server.storage.threads import DatabaseThreads


class SqliteThreads(DatabaseThreads[sqlite3.Connection]):
    """``ThreadStorage`` on SQLite."""

    def __init__(self, writer: Writer, readers: Readers, upkeep: Upkeep) -> None:
        super().__init__(PatientAccess(writer, readers, upkeep), THREADS)
        self._readers = readers
        self._upkeep = upkeep

    async def search(self, query: ThreadQuery) -> Page[FoundThread]:
        return await self._access.read(partial(thread_search.search, query=query))

    async def count(self, where: ThreadFilter) -> int:
        return await self._access.read(partial(thread_search.count, where=where))

    async def copy(
        self,
        thread_id: UUID,
        new_id: UUID,
        now: datetime,
        *,
        metadata: JsonObject | None = None,
        access: Condition = EVERYTHING,
    ) -> Thread:
        copy = Copy(thread_id, new_id, now, metadata or {})

        def work(connection: sqlite3.Connection) -> bool:
            THREADS.check(THREADS.ask(connection, thread_id), thread_id, access)
            return copy_small(connection, copy)

        if not await self._access.write(work):
            await self._upkeep.do(partial(copy_in_pieces, self._upkeep, copy))
        return await self._access.read(partial(THREADS.whole, thread_id=new_id))

    async def prune(
        self, thread_ids: Sequence[UUID], strategy: PruneStrategy, *, access: Condition = EVERYTHING
    ) -> Pruned:
        pruned = await super().prune(thread_ids, strategy, access=access)
        if strategy != "delete":
            await self._settle(pruned.threads)
        return pruned

    async def _settle(self, thread_ids: Sequence[UUID]) -> None:
        """Return once no work is noted for threads."""
        for each in thread_ids:
            if self._readers.point(partial(work_on, thread_id=str(each))) is not None:
                await self._upkeep.settle(str(each))
