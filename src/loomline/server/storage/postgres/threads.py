"""Threads in PostgreSQL."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from uuid import UUID

from loomline.server.domain.access import EVERYTHING, Condition
from loomline.server.domain.errors import ThreadNotFound
from loomline.server.domain.filters import Page
from loomline.server.domain.json import JsonObject
from loomline.server.domain.threads import (
    FoundThread,
    Thread,
    ThreadFilter,
    ThreadPatch,
    ThreadQuery,
)
from loomline.server.storage.postgres import thread_search
from loomline.server.storage.postgres.connection import Connection, Database, itself
from loomline.server.storage.postgres.thread_checkpoints import copy_checkpoints
from loomline.server.storage.postgres.thread_rows import THREADS
from loomline.server.storage.threads import DatabaseThreads

# One picture of the source, with all changes of other transactions after it left out.
_BEGIN_COPYING = "BEGIN ISOLATION LEVEL REPEATABLE READ"
_COPY = """
    INSERT INTO loomline_threads (thread_id, status, settled_status, metadata, config, interrupts,
                              error, ttl_minutes, ttl_strategy, created_at, updated_at,
                              state_updated_at)
    SELECT %(target)s, settled_status, settled_status, metadata, config, interrupts, error,
           ttl_minutes, ttl_strategy, %(now)s, %(now)s, %(now)s
    FROM loomline_threads WHERE thread_id = %(source)s
    RETURNING 1
"""
_COPY_VALUES = """
    INSERT INTO loomline_thread_values (thread_id, content)
    SELECT %(target)s, content FROM loomline_thread_values WHERE thread_id = %(source)s
"""


class PostgresThreads(DatabaseThreads[Connection]):
    """``ThreadStorage`` on PostgreSQL."""

    def __init__(self, database: Database) -> None:
        super().__init__(database, THREADS)
        self._database = database

    async def search(self, query: ThreadQuery) -> Page[FoundThread]:
        return await self._database.read(partial(thread_search.search, query=query))

    async def count(self, where: ThreadFilter) -> int:
        return await self._database.ask(partial(thread_search.count, where=where))

    async def copy(
        self,
        thread_id: UUID,
        new_id: UUID,
        now: datetime,
        *,
        metadata: JsonObject | None = None,
        access: Condition = EVERYTHING,
    ) -> Thread:
        values = {"source": thread_id, "target": new_id, "now": now}

        def work(connection: Connection) -> Thread:
            THREADS.check(THREADS.ask(connection, thread_id), thread_id, access)
            if connection.execute(_COPY, values).fetchone() is None:
                raise ThreadNotFound(thread_id)
            connection.execute(_COPY_VALUES, values)
            copy_checkpoints(connection, str(thread_id), str(new_id))
            if metadata:
                THREADS.patch(connection, new_id, ThreadPatch(now, metadata))
            return THREADS.whole(connection, new_id)

        return await self._database.call(
            lambda: self._database.transact(work, itself, begin=_BEGIN_COPYING)
        )
