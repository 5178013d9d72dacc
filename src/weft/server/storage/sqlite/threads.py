"""Threads in SQLite."""

from __future__ import annotations

import sqlite3
from typing import TypeAlias
from uuid import UUID

from weft.schema import ThreadStatus
from weft.server.domain.errors import ThreadExists, ThreadNotFound
from weft.server.domain.json import Encoded, JsonObject
from weft.server.domain.threads import NewThread, Thread
from weft.server.storage.sqlite import sql
from weft.server.storage.sqlite.connection import Readers, Writer
from weft.server.storage.sqlite.rows import encoded, micros, moment, obj, text

_INSERT = """
    INSERT INTO threads (thread_id, status, settled_status, metadata, config,
                         created_at, updated_at, state_updated_at)
    VALUES (?, 'idle', 'idle', ?, ?, ?, ?, ?)
    ON CONFLICT DO NOTHING
"""
_GET = """
    SELECT thread_id, status, metadata, config, interrupts, error, created_at, updated_at,
           state_updated_at, content
    FROM threads LEFT JOIN thread_values USING (thread_id) WHERE thread_id = ?
"""
_DELETE = tuple(
    f"DELETE FROM {table} WHERE thread_id = ?"
    for table in (
        "threads", "thread_values", "runs", "checkpoints", "checkpoint_blobs",
        "checkpoint_writes",
    )
)  # fmt: skip

_Row: TypeAlias = tuple[
    str, ThreadStatus, str, str, str | None, str | None, int, int, int, bytes | None
]


class SqliteThreads:
    def __init__(self, writer: Writer, readers: Readers) -> None:
        self._writer = writer
        self._readers = readers

    async def create(self, new: NewThread) -> Thread:
        def work(connection: sqlite3.Connection) -> Thread:
            created = insert_thread(connection, new.thread_id, new.metadata, {}, micros(new.now))
            if not created and new.if_exists == "raise":
                raise ThreadExists(new.thread_id)
            return _get(connection, new.thread_id)

        return await self._writer.write(work)

    async def get(self, thread_id: UUID) -> Thread:
        return await self._readers.read(lambda connection: _get(connection, thread_id))

    async def delete(self, thread_id: UUID) -> tuple[UUID, ...]:
        def work(connection: sqlite3.Connection) -> tuple[UUID, ...]:
            active = connection.execute(sql.ACTIVE_RUNS, (str(thread_id),)).fetchall()
            if not delete_thread(connection, str(thread_id)):
                raise ThreadNotFound(thread_id)
            return tuple(UUID(run_id) for run_id, _ in active)

        return await self._writer.write(work)


def insert_thread(
    connection: sqlite3.Connection,
    thread_id: UUID,
    metadata: JsonObject,
    config: JsonObject,
    now: int,
) -> bool:
    """Insert a thread unless it exists; return whether it was inserted."""
    row = (str(thread_id), text(metadata), text(config), now, now, now)
    return connection.execute(_INSERT, row).rowcount == 1


def delete_thread(connection: sqlite3.Connection, thread_id: str) -> bool:
    """Delete a thread and every row that belongs to it; return whether it existed."""
    counts = [connection.execute(statement, (thread_id,)).rowcount for statement in _DELETE]
    return counts[0] == 1


def _get(connection: sqlite3.Connection, thread_id: UUID) -> Thread:
    row = connection.execute(_GET, (str(thread_id),)).fetchone()
    if row is None:
        raise ThreadNotFound(thread_id)
    return _thread(row)


def _thread(row: _Row) -> Thread:
    return Thread(
        thread_id=UUID(row[0]),
        status=row[1],
        metadata=obj(row[2]),
        config=obj(row[3]),
        interrupts=encoded(row[4]),
        error=encoded(row[5]),
        created_at=moment(row[6]),
        updated_at=moment(row[7]),
        state_updated_at=moment(row[8]),
        values=None if row[9] is None else Encoded(row[9]),
    )
