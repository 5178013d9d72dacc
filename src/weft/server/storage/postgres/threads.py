"""Threads in PostgreSQL."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from weft.server.domain.errors import ThreadExists, ThreadNotFound
from weft.server.domain.json import JsonObject
from weft.server.domain.threads import NewThread, Thread
from weft.server.storage.postgres import sql
from weft.server.storage.postgres.checkpoint_rows import delete_thread_checkpoints
from weft.server.storage.postgres.connection import Connection, Cursor, Database
from weft.server.storage.postgres.rows import encoded, jsonb, obj

_INSERT = """
    INSERT INTO weft_threads (thread_id, status, settled_status, metadata, config,
                              created_at, updated_at, state_updated_at)
    VALUES (%(id)s, 'idle', 'idle', %(metadata)s, '{}', %(now)s, %(now)s, %(now)s)
    ON CONFLICT DO NOTHING RETURNING 1
"""
_GET = """
    SELECT thread_id, status, metadata, config, interrupts, error, created_at, updated_at,
           state_updated_at, content
    FROM weft_threads LEFT JOIN weft_thread_values USING (thread_id) WHERE thread_id = %s
"""
_DELETE_THREAD = "DELETE FROM weft_threads WHERE thread_id = %s"
_DELETE_VALUES = "DELETE FROM weft_thread_values WHERE thread_id = %s"
_DELETE_RUNS = "DELETE FROM weft_runs WHERE thread_id = %s"


class PostgresThreads:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(self, new: NewThread) -> Thread:
        def work(connection: Connection) -> tuple[Cursor, Cursor]:
            inserted = insert_thread(connection, new.thread_id, new.metadata, new.now)
            return inserted, connection.execute(_GET, (new.thread_id,))

        def read(found: tuple[Cursor, Cursor]) -> Thread:
            inserted, thread = found
            if inserted.fetchone() is None and new.if_exists == "raise":
                raise ThreadExists(new.thread_id)
            return _one(thread.fetchone(), new.thread_id)

        return await self._database.send(work, read)

    async def get(self, thread_id: UUID) -> Thread:
        row = await self._database.ask(lambda c: c.execute(_GET, (thread_id,)).fetchone())
        return _one(row, thread_id)

    async def delete(self, thread_id: UUID) -> tuple[UUID, ...]:
        def work(connection: Connection) -> tuple[UUID, ...]:
            found = connection.execute(sql.LOCK_THREAD, (thread_id,))
            active = connection.execute(sql.ACTIVE_RUNS, (thread_id,))
            if found.fetchone() is None:
                raise ThreadNotFound(thread_id)
            delete_thread(connection, thread_id)
            return tuple(run_id for run_id, _ in active)

        return await self._database.write(work)


def insert_thread(
    connection: Connection, thread_id: UUID, metadata: JsonObject, now: datetime
) -> Cursor:
    """Insert a thread unless it exists; there is a row to fetch if it was inserted."""
    values = {"id": thread_id, "metadata": jsonb(metadata), "now": now}
    return connection.execute(_INSERT, values)


def delete_thread(connection: Connection, thread_id: UUID) -> None:
    """Delete a thread, which must be locked, and every row that belongs to it.

    The runs go before the checkpoints: a worker that is writing some holds its run until it is
    done, and none can begin to write afterwards.
    """
    for statement in (_DELETE_RUNS, _DELETE_VALUES, _DELETE_THREAD):
        connection.execute(statement, (thread_id,))
    delete_thread_checkpoints(connection, str(thread_id))


def _one(row: tuple[Any, ...] | None, thread_id: UUID) -> Thread:
    if row is None:
        raise ThreadNotFound(thread_id)
    return Thread(
        thread_id=row[0],
        status=row[1],
        metadata=obj(row[2]),
        config=obj(row[3]),
        interrupts=encoded(row[4]),
        error=encoded(row[5]),
        created_at=row[6],
        updated_at=row[7],
        state_updated_at=row[8],
        values=encoded(row[9]),
    )
