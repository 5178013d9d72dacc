"""Threads in SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from uuid import UUID

from loomline.server.domain.access import EVERYTHING, Condition, meets
from loomline.server.domain.errors import ThreadExists, ThreadNotFound
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
    Ttl,
)
from loomline.server.storage.sqlite import sql, thread_search
from loomline.server.storage.sqlite.checkpoint_rows import keep_latest_checkpoints
from loomline.server.storage.sqlite.connection import Readers, Writer
from loomline.server.storage.sqlite.copying import Copy, copy_in_pieces, copy_small
from loomline.server.storage.sqlite.pieces import (
    Room,
    ThreadUnderWork,
    begin_work,
    remove_all,
    work_on,
)
from loomline.server.storage.sqlite.rows import micros, obj, text
from loomline.server.storage.sqlite.thread_checkpoints import checkpoints_size
from loomline.server.storage.sqlite.thread_rows import thread_of_row
from loomline.server.storage.sqlite.upkeep import Upkeep

_INSERT = """
    INSERT INTO threads (thread_id, status, settled_status, metadata, config, ttl_minutes,
                         ttl_strategy, created_at, updated_at, state_updated_at)
    VALUES (?, 'idle', 'idle', ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT DO NOTHING
"""
_GET = {
    with_values: sql.threads(with_values=with_values, condition="thread_id = ?")
    for with_values in (True, False)
}
_UPDATE = "UPDATE threads SET metadata = ?, updated_at = ? WHERE thread_id = ?"
_SET_TTL = """
    UPDATE threads SET ttl_minutes = ?, ttl_strategy = ?, swept_at = NULL WHERE thread_id = ?
"""
# The conditions and the order are those of the index.
_EXPIRED = """
    SELECT thread_id, ttl_strategy FROM threads
    WHERE ttl_minutes IS NOT NULL AND status <> 'busy' AND swept_at IS NOT updated_at
      AND updated_at + CAST(ttl_minutes * 60000000 AS INTEGER) <= ?
    ORDER BY updated_at + CAST(ttl_minutes * 60000000 AS INTEGER) LIMIT ?
"""
_SWEPT = "UPDATE threads SET swept_at = updated_at WHERE thread_id = ?"
_DELETE = tuple(f"DELETE FROM {table} WHERE thread_id = ?" for table in ("threads", "crons"))


class SqliteThreads:
    def __init__(self, writer: Writer, readers: Readers, upkeep: Upkeep) -> None:
        self._writer = writer
        self._readers = readers
        self._upkeep = upkeep

    async def create(self, new: NewThread, *, access: Condition = EVERYTHING) -> Thread:
        def work(connection: sqlite3.Connection) -> Thread:
            create_thread(connection, new, access)
            return get_thread(connection, new.thread_id)

        return await self._upkeep.write(work)

    async def get(
        self, thread_id: UUID, *, with_values: bool = True, access: Condition = EVERYTHING
    ) -> Thread:
        if not with_values:
            return self._readers.point(
                partial(get_thread, thread_id=thread_id, with_values=False, access=access)
            )
        return await self._readers.read(partial(get_thread, thread_id=thread_id, access=access))

    async def event_number(self, thread_id: UUID) -> int:
        row = self._readers.point(
            lambda c: c.execute(sql.EVENT_NUMBER, (str(thread_id),)).fetchone()
        )
        if row is None:
            raise ThreadNotFound(thread_id)
        return int(row[0])

    async def priority(self, thread_id: UUID) -> int | None:
        row = self._readers.point(lambda c: c.execute(sql.PRIORITY, (str(thread_id),)).fetchone())
        if row is None:
            raise ThreadNotFound(thread_id)
        priority: int | None = row[0]
        return priority

    async def delete(self, thread_id: UUID, *, access: Condition = EVERYTHING) -> tuple[UUID, ...]:
        def work(connection: sqlite3.Connection) -> tuple[UUID, ...]:
            check_thread(connection, thread_id, access)
            active = active_runs(connection, thread_id)
            if not delete_thread(connection, str(thread_id)):
                raise ThreadNotFound(thread_id)
            return active

        return await self._writer.write(work)

    async def search(self, query: ThreadQuery) -> Page[FoundThread]:
        return await self._readers.read(partial(thread_search.search, query=query))

    async def count(self, where: ThreadFilter) -> int:
        return await self._readers.read(partial(thread_search.count, where=where))

    async def update(
        self,
        thread_id: UUID,
        patch: ThreadPatch,
        *,
        with_values: bool = True,
        access: Condition = EVERYTHING,
    ) -> Thread:
        def work(connection: sqlite3.Connection) -> Thread:
            check_thread(connection, thread_id, access)
            _update(connection, thread_id, patch)
            return get_thread(connection, thread_id, with_values=with_values)

        return await self._writer.write(work)

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
            check_thread(connection, thread_id, access)
            return copy_small(connection, copy)

        if not await self._writer.write(work):
            await self._upkeep.do(partial(copy_in_pieces, self._upkeep, copy))
        return await self._readers.read(partial(get_thread, thread_id=new_id))

    async def prune(
        self, thread_ids: Sequence[UUID], strategy: PruneStrategy, *, access: Condition = EVERYTHING
    ) -> Pruned:
        prune = delete_all if strategy == "delete" else _cut_down_all

        def work(connection: sqlite3.Connection) -> Pruned:
            ids = [each for each in thread_ids if _may(connection, each, access)]
            return prune(connection, ids)

        pruned = await self._writer.write(work)
        if strategy != "delete":
            await self._settle(pruned.threads)
        return pruned

    async def size(self, thread_id: UUID, *, access: Condition = EVERYTHING) -> ThreadSize:
        def work(connection: sqlite3.Connection) -> ThreadSize:
            check_thread(connection, thread_id, access)
            return checkpoints_size(connection, str(thread_id))

        return await self._readers.read(work)

    async def _settle(self, thread_ids: Sequence[UUID]) -> None:
        """Return once no work is noted for threads."""
        for each in thread_ids:
            if self._readers.point(partial(work_on, thread_id=str(each))) is not None:
                await self._upkeep.settle(str(each))

    async def expire(self, now: datetime, limit: int) -> Pruned:
        key = (micros(now), limit)
        # Looking first: there is hardly ever anything to do.
        if self._readers.point(lambda c: c.execute(_EXPIRED, key).fetchone()) is None:
            return Pruned()

        def work(connection: sqlite3.Connection) -> Pruned:
            rows = connection.execute(_EXPIRED, key).fetchall()
            gone = [UUID(key) for key, strategy in rows if strategy == "delete"]
            cut = [UUID(key) for key, strategy in rows if strategy != "delete"]
            room = Room()
            delete_all(connection, gone, room)
            _cut_down_all(connection, cut, room)
            connection.executemany(_SWEPT, [(str(each),) for each in cut])
            return Pruned(tuple(UUID(key) for key, _ in rows))

        return await self._writer.write(work)


def create_thread(
    connection: sqlite3.Connection, new: NewThread, access: Condition = EVERYTHING
) -> bool:
    """Insert a thread; return False where it exists and may.

    Raises:
        ThreadExists: it exists and must not, or does not meet the condition.
    """
    created = insert_thread(
        connection, new.thread_id, new.metadata, {}, micros(new.now), ttl=new.ttl
    )
    if not created and (new.if_exists == "raise" or not _may(connection, new.thread_id, access)):
        raise ThreadExists(new.thread_id)
    return created


def insert_thread(
    connection: sqlite3.Connection,
    thread_id: UUID,
    metadata: JsonObject,
    config: JsonObject,
    now: int,
    *,
    ttl: Ttl | None = None,
) -> bool:
    """Insert a thread unless it exists; return whether it was inserted.

    Raises:
        ThreadUnderWork: Rows of a deleted thread with this id have not been removed yet.
    """
    minutes, strategy = (None, None) if ttl is None else (ttl.minutes, ttl.strategy)
    row = (str(thread_id), text(metadata), text(config), minutes, strategy, now, now, now)
    inserted = connection.execute(_INSERT, row).rowcount == 1
    if inserted and work_on(connection, str(thread_id)) == "remove":
        raise ThreadUnderWork(str(thread_id))
    return inserted


def get_thread(
    connection: sqlite3.Connection,
    thread_id: UUID,
    *,
    with_values: bool = True,
    access: Condition = EVERYTHING,
) -> Thread:
    """Return a thread.

    Raises:
        ThreadNotFound: there is none with this id.
    """
    row = connection.execute(_GET[with_values], (str(thread_id),)).fetchone()
    if row is None:
        raise ThreadNotFound(thread_id)
    thread = thread_of_row(row)
    if not meets(thread.metadata, access):
        raise ThreadNotFound(thread_id)
    return thread


def check_thread(connection: sqlite3.Connection, thread_id: UUID, access: Condition) -> None:
    """Make sure that there is a thread, and that it meets a condition.

    Raises:
        ThreadNotFound: there is none that does.
    """
    if not _may(connection, thread_id, access):
        raise ThreadNotFound(thread_id)


def active_runs(connection: sqlite3.Connection, thread_id: UUID) -> tuple[UUID, ...]:
    rows = connection.execute(sql.ACTIVE_RUNS, (str(thread_id),)).fetchall()
    return tuple(UUID(run_id) for run_id, _ in rows)


def delete_thread(connection: sqlite3.Connection, thread_id: str, room: Room | None = None) -> bool:
    """Delete a thread and every row that belongs to it; return whether it existed.

    The rows that do not fit into the transaction are removed in pieces later. Until then they are
    invisible, since no thread has them. The active runs go at once, so that no worker has any.
    """
    counts = [connection.execute(statement, (thread_id,)).rowcount for statement in _DELETE]
    if (room or Room()).fits(connection, thread_id):
        remove_all(connection, thread_id)
    else:
        connection.execute(sql.DELETE_ACTIVE_RUNS, (thread_id,))
        begin_work(connection, thread_id, "remove")
    return counts[0] == 1


def _update(connection: sqlite3.Connection, thread_id: UUID, patch: ThreadPatch) -> None:
    key = str(thread_id)
    row = connection.execute(sql.THREAD_METADATA, (key,)).fetchone()
    if row is None:
        raise ThreadNotFound(thread_id)
    metadata = row[0] if not patch.metadata else text({**obj(row[0]), **patch.metadata})
    connection.execute(_UPDATE, (metadata, micros(patch.now), key))
    if patch.ttl is not None:
        connection.execute(_SET_TTL, (patch.ttl.minutes, patch.ttl.strategy, key))


def _may(connection: sqlite3.Connection, thread_id: UUID, access: Condition) -> bool:
    row = connection.execute(sql.THREAD_METADATA, (str(thread_id),)).fetchone()
    return row is not None and meets(obj(row[0]), access)


def delete_all(
    connection: sqlite3.Connection, thread_ids: Sequence[UUID], room: Room | None = None
) -> Pruned:
    room = room or Room()
    gone: list[UUID] = []
    stopped: list[UUID] = []
    for thread_id in thread_ids:
        active = active_runs(connection, thread_id)
        if delete_thread(connection, str(thread_id), room):
            gone.append(thread_id)
            stopped.extend(active)
    return Pruned(tuple(gone), tuple(stopped))


def _cut_down_all(
    connection: sqlite3.Connection, thread_ids: Sequence[UUID], room: Room | None = None
) -> Pruned:
    """Prune threads. A thread that does not fit into the transaction is locked and noted."""
    room = room or Room()
    cut = [each for each in dict.fromkeys(thread_ids) if _is_settled(connection, each)]
    for thread_id in cut:
        if room.fits(connection, str(thread_id)):
            keep_latest_checkpoints(connection, str(thread_id))
        else:
            begin_work(connection, str(thread_id), "prune")
    return Pruned(tuple(cut))


def _is_settled(connection: sqlite3.Connection, thread_id: UUID) -> bool:
    exists = connection.execute(sql.THREAD_EXISTS, (str(thread_id),)).fetchone() is not None
    return exists and not active_runs(connection, thread_id)
