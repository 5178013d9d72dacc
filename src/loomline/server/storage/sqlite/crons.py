"""Crons in SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from loomline.schema import OnCompletionBehavior
from loomline.server.domain.access import EVERYTHING, Condition, encode, meets
from loomline.server.domain.crons import Cron, CronFilter, CronQuery, Firing, patched
from loomline.server.domain.errors import CronNotFound
from loomline.server.domain.filters import Page
from loomline.server.domain.json import JsonObject
from loomline.server.storage.sqlite.connection import Readers, Writer
from loomline.server.storage.sqlite.rows import encoded, micros, moment, obj, optional_text, text
from loomline.server.storage.sqlite.threads import check_thread

_COLUMNS = (
    "cron_id, assistant_id, thread_id, user_id, schedule, timezone, end_time, payload, metadata,"
    " on_run_completed, enabled, next_run_date, created_at, updated_at,"
    " caller"
)
_PUT = f"""
    REPLACE INTO crons ({_COLUMNS}, ends_at) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)
"""
_GET = f"SELECT {_COLUMNS} FROM crons WHERE cron_id = ?"
_DELETE = "DELETE FROM crons WHERE cron_id = ?"

_MATCHING = """
    FROM crons
    WHERE (:assistant_id IS NULL OR assistant_id = :assistant_id)
      AND (:thread_id IS NULL OR thread_id = :thread_id)
      AND (:enabled IS NULL OR enabled = :enabled)
      AND (:metadata = '{}' OR json_contains(metadata, :metadata))
      AND (:access IS NULL OR json_meets(metadata, :access))
      AND (:thread_access IS NULL OR thread_id IS NULL OR EXISTS (
        SELECT 1 FROM threads t
        WHERE t.thread_id = crons.thread_id AND json_meets(t.metadata, :thread_access)))
"""
_COUNT = f"SELECT count(*) {_MATCHING}"
_SEARCH = f"SELECT {_COLUMNS} {_MATCHING}"

_DUE = f"""
    SELECT {_COLUMNS} FROM crons WHERE enabled AND next_run_date IS NOT NULL AND next_run_date <= ?
    ORDER BY next_run_date, cron_id LIMIT ?
"""
_NEXT_DUE = "SELECT min(next_run_date) FROM crons WHERE enabled AND next_run_date IS NOT NULL"
_MOVE = "UPDATE crons SET next_run_date = ? WHERE cron_id = ? AND next_run_date = ? AND enabled"


class _Row(NamedTuple):
    """The columns of a cron."""

    cron_id: str
    assistant_id: str
    thread_id: str | None
    user_id: str
    schedule: str
    timezone: str | None
    end_time: str | None
    payload: str
    metadata: str
    on_run_completed: OnCompletionBehavior | None
    enabled: int
    next_run_date: int | None
    created_at: int
    updated_at: int
    user: str | None


class SqliteCrons:
    def __init__(self, writer: Writer, readers: Readers) -> None:
        self._writer = writer
        self._readers = readers

    async def create(self, cron: Cron, *, access: Condition = EVERYTHING) -> Cron:
        def work(connection: sqlite3.Connection) -> Cron:
            thread = cron.thread_id
            if thread is not None:
                check_thread(connection, thread, access)
            connection.execute(_PUT, _row(cron))
            return cron

        return await self._writer.write(work)

    async def get(self, cron_id: UUID, *, access: Condition = EVERYTHING) -> Cron:
        return self._readers.point(lambda connection: _get(connection, cron_id, access))

    async def update(
        self, cron_id: UUID, fields: JsonObject, now: datetime, *, access: Condition = EVERYTHING
    ) -> Cron:
        def work(connection: sqlite3.Connection) -> Cron:
            after = patched(_get(connection, cron_id, access), fields, now)
            connection.execute(_PUT, _row(after))
            return after

        return await self._writer.write(work)

    async def delete(self, cron_id: UUID, *, access: Condition = EVERYTHING) -> None:
        def work(connection: sqlite3.Connection) -> None:
            _get(connection, cron_id, access)
            connection.execute(_DELETE, (str(cron_id),))

        await self._writer.write(work)

    async def search(self, query: CronQuery) -> Page[Cron]:
        values = _values(query.where) | {"limit": query.limit, "offset": query.offset}
        order = "DESC" if query.descending else "ASC"
        field = "ends_at" if query.sort_by == "end_time" else query.sort_by
        sort = f"ORDER BY {field} IS NULL, {field} {order}, cron_id {order}"
        statement = f"{_SEARCH} {sort} LIMIT :limit OFFSET :offset"

        def work(connection: sqlite3.Connection) -> Page[Cron]:
            (total,) = connection.execute(_COUNT, values).fetchone()
            rows = [_cron(row) for row in connection.execute(statement, values)]
            return Page(rows, more=bool(rows) and query.offset + len(rows) < total, total=total)

        return await self._readers.read(work)

    async def count(self, where: CronFilter) -> int:
        values = _values(where)
        (count,) = await self._readers.read(lambda c: c.execute(_COUNT, values).fetchone())
        return int(count)

    async def due(self, now: datetime, limit: int) -> Sequence[Cron]:
        row = (micros(now), limit)
        # Looking first: it happens every half second, and there is hardly ever anything to do.
        first = self._readers.point(lambda c: c.execute(_DUE, (micros(now), 1)).fetchone())
        if first is None:
            return []
        return await self._readers.read(lambda c: [_cron(each) for each in c.execute(_DUE, row)])

    async def pass_over(self, firing: Firing) -> bool:
        return await self._writer.write(lambda connection: move_date(connection, firing))

    async def next_due(self) -> datetime | None:
        (due,) = self._readers.point(lambda c: c.execute(_NEXT_DUE).fetchone())
        return None if due is None else moment(due)


def move_date(connection: sqlite3.Connection, firing: Firing) -> bool:
    """End a due time; return False where it is over already."""
    due, after = micros(firing.due_at), firing.next_at
    row = (None if after is None else micros(after), str(firing.cron_id), due)
    return connection.execute(_MOVE, row).rowcount == 1


def _get(connection: sqlite3.Connection, cron_id: UUID, access: Condition = EVERYTHING) -> Cron:
    row = connection.execute(_GET, (str(cron_id),)).fetchone()
    if row is None:
        raise CronNotFound(cron_id)
    cron = _cron(row)
    if not meets(cron.metadata, access):
        raise CronNotFound(cron_id)
    return cron


def _access(access: Condition) -> str | None:
    return None if access == EVERYTHING else encode(access)


def _values(where: CronFilter) -> dict[str, object]:
    return {
        "assistant_id": None if where.assistant_id is None else str(where.assistant_id),
        "thread_id": None if where.thread_id is None else str(where.thread_id),
        "enabled": where.enabled,
        "metadata": text(where.metadata),
        "access": _access(where.access),
        "thread_access": _access(where.thread_access),
    }


def _row(cron: Cron) -> tuple[object, ...]:
    return (
        str(cron.cron_id),
        str(cron.assistant_id),
        None if cron.thread_id is None else str(cron.thread_id),
        cron.user_id,
        cron.schedule,
        cron.timezone,
        cron.end_time,
        text(cron.payload),
        text(cron.metadata),
        cron.on_run_completed,
        cron.enabled,
        None if cron.next_run_date is None else micros(cron.next_run_date),
        micros(cron.created_at),
        micros(cron.updated_at),
        optional_text(cron.user),
        None if cron.ends_at is None else micros(cron.ends_at),
    )


def _cron(found: Iterable[Any]) -> Cron:
    row = _Row(*found)
    return Cron(
        cron_id=UUID(row.cron_id),
        assistant_id=UUID(row.assistant_id),
        thread_id=None if row.thread_id is None else UUID(row.thread_id),
        user_id=row.user_id,
        schedule=row.schedule,
        timezone=row.timezone,
        end_time=row.end_time,
        payload=obj(row.payload),
        metadata=obj(row.metadata),
        on_run_completed=row.on_run_completed,
        enabled=bool(row.enabled),
        next_run_date=None if row.next_run_date is None else moment(row.next_run_date),
        created_at=moment(row.created_at),
        updated_at=moment(row.updated_at),
        user=encoded(row.user),
    )
