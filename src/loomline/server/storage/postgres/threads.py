"""Threads in PostgreSQL."""

from __future__ import annotations

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
from loomline.server.storage.postgres import sql, thread_search
from loomline.server.storage.postgres.checkpoint_rows import (
    delete_thread_checkpoints,
    keep_latest_checkpoints,
)
from loomline.server.storage.postgres.connection import Connection, Cursor, Database, itself
from loomline.server.storage.postgres.rows import jsonb, obj
from loomline.server.storage.postgres.thread_checkpoints import checkpoints_size, copy_checkpoints
from loomline.server.storage.postgres.thread_rows import columns, thread_of_row

_INSERT = """
    INSERT INTO loomline_threads (thread_id, status, settled_status, metadata, config, ttl_minutes,
                              ttl_strategy, created_at, updated_at, state_updated_at)
    VALUES (%(id)s, 'idle', 'idle', %(metadata)s, '{}', %(minutes)s, %(strategy)s, %(now)s,
            %(now)s, %(now)s)
    ON CONFLICT DO NOTHING RETURNING 1
"""
_GET = {
    with_values: (
        f"SELECT {columns(with_values=with_values)} FROM loomline_threads t WHERE thread_id = %s"
    )
    for with_values in (True, False)
}
_UPDATE = """
    UPDATE loomline_threads SET metadata = metadata || %s::jsonb, updated_at = %s
    WHERE thread_id = %s
"""
_TOUCH = "UPDATE loomline_threads SET updated_at = %s WHERE thread_id = %s"
_SET_TTL = """
    UPDATE loomline_threads SET ttl_minutes = %s, ttl_strategy = %s, swept_at = NULL
    WHERE thread_id = %s
"""
# One picture of the source, whatever is done to it meanwhile.
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
# The conditions and the order are those of the index.
_EXPIRED = """
    SELECT thread_id, ttl_strategy FROM loomline_threads
    WHERE ttl_minutes IS NOT NULL AND status <> 'busy' AND swept_at IS DISTINCT FROM updated_at
      AND loomline_expires(updated_at, ttl_minutes) <= %s
    ORDER BY loomline_expires(updated_at, ttl_minutes) LIMIT %s
"""
_SWEPT = "UPDATE loomline_threads SET swept_at = updated_at WHERE thread_id = ANY(%s)"
_LOCK = """
    SELECT thread_id, metadata FROM loomline_threads WHERE thread_id = ANY(%s)
    ORDER BY thread_id FOR UPDATE
"""
_ACTIVE_RUNS = """
    SELECT thread_id, run_id FROM loomline_runs
    WHERE thread_id = ANY(%s) AND status IN ('pending', 'running') ORDER BY created_at, seq
"""
_DELETE_RUNS = """
    WITH answers AS (DELETE FROM loomline_run_answers WHERE thread_id = %(thread)s)
    DELETE FROM loomline_runs WHERE thread_id = %(thread)s
"""
_DELETE = (
    _DELETE_RUNS,
    *(
        f"DELETE FROM {table} WHERE thread_id = %(thread)s"
        for table in ("loomline_thread_values", "loomline_crons", "loomline_threads")
    ),
)


class PostgresThreads:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(self, new: NewThread, *, access: Condition = EVERYTHING) -> Thread:
        def work(connection: Connection) -> tuple[Cursor, Cursor]:
            inserted = insert_thread(connection, new.thread_id, new.metadata, new.now, ttl=new.ttl)
            return inserted, connection.execute(_GET[True], (new.thread_id,))

        def read(found: tuple[Cursor, Cursor]) -> Thread:
            inserted, stored = found
            created = inserted.fetchone() is not None
            if not created and new.if_exists == "raise":
                raise ThreadExists(new.thread_id)
            thread = _one(stored, new.thread_id)
            if not created and not meets(thread.metadata, access):
                raise ThreadExists(new.thread_id)
            return thread

        return await self._database.send(work, read)

    async def get(
        self, thread_id: UUID, *, with_values: bool = True, access: Condition = EVERYTHING
    ) -> Thread:
        return await self._database.ask(
            lambda c: _one(c.execute(_GET[with_values], (thread_id,)), thread_id, access)
        )

    async def event_number(self, thread_id: UUID) -> int:
        row = await self._database.ask(
            lambda c: c.execute(sql.EVENT_NUMBER, (thread_id,)).fetchone()
        )
        if row is None:
            raise ThreadNotFound(thread_id)
        return int(row[0])

    async def priority(self, thread_id: UUID) -> int | None:
        row = await self._database.ask(lambda c: c.execute(sql.PRIORITY, (thread_id,)).fetchone())
        if row is None:
            raise ThreadNotFound(thread_id)
        priority: int | None = row[0]
        return priority

    async def delete(self, thread_id: UUID, *, access: Condition = EVERYTHING) -> tuple[UUID, ...]:
        def work(connection: Connection) -> tuple[UUID, ...]:
            pruned = delete_threads(connection, [thread_id], access)
            if not pruned.threads:
                raise ThreadNotFound(thread_id)
            return pruned.stopped

        return await self._database.write(work)

    async def search(self, query: ThreadQuery) -> Page[FoundThread]:
        return await self._database.read(partial(thread_search.search, query=query))

    async def count(self, where: ThreadFilter) -> int:
        return await self._database.ask(partial(thread_search.count, where=where))

    async def update(
        self,
        thread_id: UUID,
        patch: ThreadPatch,
        *,
        with_values: bool = True,
        access: Condition = EVERYTHING,
    ) -> Thread:
        def checked(connection: Connection) -> Thread:
            check_thread(connection, thread_id, access)
            return _one(work(connection), thread_id)

        def work(connection: Connection) -> Cursor:
            if patch.metadata:
                connection.execute(_UPDATE, (jsonb(patch.metadata), patch.now, thread_id))
            else:
                connection.execute(_TOUCH, (patch.now, thread_id))
            if patch.ttl is not None:
                connection.execute(_SET_TTL, (patch.ttl.minutes, patch.ttl.strategy, thread_id))
            return connection.execute(_GET[with_values], (thread_id,))

        if access != EVERYTHING:
            return await self._database.write(checked)
        return await self._database.send(work, lambda found: _one(found, thread_id))

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
            may_see(connection, thread_id, access)
            if connection.execute(_COPY, values).fetchone() is None:
                raise ThreadNotFound(thread_id)
            connection.execute(_COPY_VALUES, values)
            copy_checkpoints(connection, str(thread_id), str(new_id))
            if metadata:
                connection.execute(_UPDATE, (jsonb(metadata), now, new_id))
            return get_thread(connection, new_id)

        return await self._database.call(
            lambda: self._database.transact(work, itself, begin=_BEGIN_COPYING)
        )

    async def prune(
        self, thread_ids: Sequence[UUID], strategy: PruneStrategy, *, access: Condition = EVERYTHING
    ) -> Pruned:
        prune = delete_threads if strategy == "delete" else _cut_down_threads
        return await self._database.write(partial(prune, thread_ids=thread_ids, access=access))

    async def size(self, thread_id: UUID, *, access: Condition = EVERYTHING) -> ThreadSize:
        def work(connection: Connection) -> ThreadSize:
            may_see(connection, thread_id, access)
            return checkpoints_size(connection, str(thread_id))

        return await self._database.read(work)

    async def expire(self, now: datetime, limit: int) -> Pruned:
        key = (now.timestamp(), limit)
        # Looking first: there is hardly ever anything to do.
        if await self._database.ask(lambda c: c.execute(_EXPIRED, key).fetchone()) is None:
            return Pruned()

        def work(connection: Connection) -> Pruned:
            # What another process is about to change, or to sweep, is passed over.
            rows = connection.execute(f"{_EXPIRED} FOR UPDATE SKIP LOCKED", key).fetchall()
            delete_threads(connection, [each for each, how in rows if how == "delete"])
            cut = [each for each, how in rows if how != "delete"]
            _cut_down_threads(connection, cut)
            connection.execute(_SWEPT, (cut,))
            return Pruned(tuple(each for each, _ in rows))

        return await self._database.write(work)


def create_thread(connection: Connection, new: NewThread, access: Condition = EVERYTHING) -> bool:
    """Insert a thread; return False where it exists and may.

    Raises:
        ThreadExists: it exists and must not, or does not meet the condition.
    """
    inserted = insert_thread(connection, new.thread_id, new.metadata, new.now, ttl=new.ttl)
    if inserted.fetchone() is not None:
        return True
    row = connection.execute(sql.THREAD_METADATA, (new.thread_id,)).fetchone()
    if new.if_exists == "raise" or row is None or not meets(obj(row[0]), access):
        raise ThreadExists(new.thread_id)
    return False


def insert_thread(
    connection: Connection,
    thread_id: UUID,
    metadata: JsonObject,
    now: datetime,
    *,
    ttl: Ttl | None = None,
) -> Cursor:
    """Insert a thread unless it exists; there is a row to fetch if it was inserted."""
    minutes, strategy = (None, None) if ttl is None else (ttl.minutes, ttl.strategy)
    values = {
        "id": thread_id,
        "metadata": jsonb(metadata),
        "minutes": minutes,
        "strategy": strategy,
        "now": now,
    }
    return connection.execute(_INSERT, values)


def get_thread(connection: Connection, thread_id: UUID) -> Thread:
    """Return a thread.

    Raises:
        ThreadNotFound: there is none with this id.
    """
    return _one(connection.execute(_GET[True], (thread_id,)), thread_id)


def may_see(connection: Connection, thread_id: UUID, access: Condition) -> None:
    """Make sure that there is a thread, and that it meets a condition.

    Raises:
        ThreadNotFound: there is none that does.
    """
    _check(connection.execute(sql.THREAD_METADATA, (thread_id,)), thread_id, access)


def check_thread(connection: Connection, thread_id: UUID, access: Condition) -> None:
    """Do the same and lock the thread: what is done to it next is done to what has been checked.

    Raises:
        ThreadNotFound: there is none that meets the condition.
    """
    _check(connection.execute(sql.LOCK_THREAD, (thread_id,)), thread_id, access)


def _check(found: Cursor, thread_id: UUID, access: Condition) -> None:
    row = found.fetchone()
    if row is None or not meets(obj(row[0]), access):
        raise ThreadNotFound(thread_id)


def delete_thread(connection: Connection, thread_id: UUID) -> None:
    """Delete a thread, which must be locked, and every row that belongs to it.

    The runs go before the checkpoints: a worker that is writing some holds its run until it is
    done, and none can begin to write afterwards.
    """
    for statement in _DELETE:
        connection.execute(statement, {"thread": thread_id})
    delete_thread_checkpoints(connection, str(thread_id))


def delete_threads(
    connection: Connection, thread_ids: Sequence[UUID], access: Condition = EVERYTHING
) -> Pruned:
    """Delete those threads that exist and meet a condition, with everything about them."""
    found, active = _lock(connection, thread_ids, access)
    for thread_id in found:
        delete_thread(connection, thread_id)
    stopped = tuple(run_id for runs in active.values() for run_id in runs)
    return Pruned(tuple(found), stopped)


def _cut_down_threads(
    connection: Connection, thread_ids: Sequence[UUID], access: Condition = EVERYTHING
) -> Pruned:
    found, active = _lock(connection, thread_ids, access)
    cut = [each for each in found if each not in active]
    for thread_id in cut:
        keep_latest_checkpoints(connection, str(thread_id))
    return Pruned(tuple(cut))


def _lock(
    connection: Connection, thread_ids: Sequence[UUID], access: Condition
) -> tuple[list[UUID], dict[UUID, list[UUID]]]:
    """Lock threads; return those that may be touched, as they were given, and their active runs."""
    given = list(dict.fromkeys(thread_ids))
    locked = connection.execute(_LOCK, (given,))
    runs = connection.execute(_ACTIVE_RUNS, (given,))
    found = {thread_id for thread_id, metadata in locked if meets(obj(metadata), access)}
    active: dict[UUID, list[UUID]] = {}
    for thread_id, run_id in runs:
        if thread_id in found:
            active.setdefault(thread_id, []).append(run_id)
    return [each for each in given if each in found], active


def _one(found: Cursor, thread_id: UUID, access: Condition = EVERYTHING) -> Thread:
    row = found.fetchone()
    if row is None:
        raise ThreadNotFound(thread_id)
    thread = thread_of_row(row)
    if not meets(thread.metadata, access):
        raise ThreadNotFound(thread_id)
    return thread
