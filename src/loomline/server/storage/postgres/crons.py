"""Crons in PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple
from uuid import UUID

from loomline.schema import OnCompletionBehavior
from loomline.server.domain.access import EVERYTHING, Condition, meets
from loomline.server.domain.crons import Cron, CronFilter, CronQuery, Firing, patched
from loomline.server.domain.errors import CronNotFound, ThreadNotFound
from loomline.server.domain.filters import Page
from loomline.server.domain.json import JsonObject, dump
from loomline.server.storage.postgres.connection import Connection, Cursor, Database
from loomline.server.storage.postgres.rows import (
    access_parameter,
    encoded,
    jsonb,
    obj,
    optional_text,
    plain,
)

_COLUMNS = (
    "cron_id, assistant_id, thread_id, user_id, schedule, timezone, end_time, payload, metadata,"
    " on_run_completed, enabled, next_run_date, created_at, updated_at,"
    " caller"
)
_WRITTEN = f"{_COLUMNS}, ends_at"
_VALUES = ", ".join(["%s"] * 16)
_INSERT = f"INSERT INTO loomline_crons ({_WRITTEN}) VALUES ({_VALUES})"
_REPLACE = f"UPDATE loomline_crons SET ({_WRITTEN}) = ({_VALUES}) WHERE cron_id = %s"
_GET = f"SELECT {_COLUMNS} FROM loomline_crons WHERE cron_id = %s"
_LOCK = f"{_GET} FOR UPDATE"
_DELETE = "DELETE FROM loomline_crons WHERE cron_id = %s"

# It must not be deleted before the cron can be seen, which is to go with it.
_HOLD_THREAD = "SELECT metadata FROM loomline_threads WHERE thread_id = %s FOR KEY SHARE"

_MATCHING = """
    FROM loomline_crons
    WHERE (%(assistant_id)s::uuid IS NULL OR assistant_id = %(assistant_id)s)
      AND (%(thread_id)s::uuid IS NULL OR thread_id = %(thread_id)s)
      AND (%(enabled)s::boolean IS NULL OR enabled = %(enabled)s)
      AND metadata @> %(metadata)s::jsonb
      AND (%(access)s::jsonb IS NULL OR loomline_meets(metadata, %(access)s::jsonb))
      AND (%(thread_access)s::jsonb IS NULL OR thread_id IS NULL OR EXISTS (
        SELECT 1 FROM loomline_threads t
        WHERE t.thread_id = loomline_crons.thread_id
          AND loomline_meets(t.metadata, %(thread_access)s::jsonb)))
"""
_COUNT = f"SELECT count(*) {_MATCHING}"
_SEARCH = f"SELECT {_COLUMNS} {_MATCHING}"

_DUE = f"""
    SELECT {_COLUMNS} FROM loomline_crons
    WHERE enabled AND next_run_date IS NOT NULL AND next_run_date <= %s
    ORDER BY next_run_date, cron_id LIMIT %s
"""
_NEXT_DUE = """
    SELECT next_run_date FROM loomline_crons WHERE enabled AND next_run_date IS NOT NULL
    ORDER BY next_run_date LIMIT 1
"""
_MOVE = """
    UPDATE loomline_crons SET next_run_date = %s
    WHERE cron_id = %s AND next_run_date = %s AND enabled RETURNING 1
"""


class _Row(NamedTuple):
    """The columns of a cron."""

    cron_id: UUID
    assistant_id: UUID
    thread_id: UUID | None
    user_id: str
    schedule: str
    timezone: str | None
    end_time: str | None
    payload: bytes
    metadata: bytes
    on_run_completed: OnCompletionBehavior | None
    enabled: bool
    next_run_date: datetime | None
    created_at: datetime
    updated_at: datetime
    user: bytes | None


class PostgresCrons:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(self, cron: Cron, *, access: Condition = EVERYTHING) -> Cron:
        def work(connection: Connection) -> Cron:
            thread = cron.thread_id
            if thread is not None and not _hold(connection, thread, access):
                raise ThreadNotFound(thread)
            connection.execute(_INSERT, _row(cron))
            return cron

        return await self._database.write(work)

    async def get(self, cron_id: UUID, *, access: Condition = EVERYTHING) -> Cron:
        return await self._database.ask(partial(_get, cron_id=cron_id, access=access))

    async def update(
        self, cron_id: UUID, fields: JsonObject, now: datetime, *, access: Condition = EVERYTHING
    ) -> Cron:
        def work(connection: Connection) -> Cron:
            after = patched(_get(connection, cron_id, _LOCK, access), fields, now)
            connection.execute(_REPLACE, (*_row(after), cron_id))
            return after

        return await self._database.write(work)

    async def delete(self, cron_id: UUID, *, access: Condition = EVERYTHING) -> None:
        def work(connection: Connection) -> None:
            _get(connection, cron_id, _LOCK, access)
            connection.execute(_DELETE, (cron_id,))

        await self._database.write(work)

    async def search(self, query: CronQuery) -> Page[Cron]:
        values = _values(query.where)
        page = {"limit": query.limit, "offset": query.offset}
        order = "DESC" if query.descending else "ASC"
        field = "ends_at" if query.sort_by == "end_time" else query.sort_by
        sort = f"ORDER BY {field} {order} NULLS LAST, cron_id {order}"
        statement = f"{_SEARCH} {sort} LIMIT %(limit)s OFFSET %(offset)s"

        def work(connection: Connection) -> Page[Cron]:
            counted = connection.execute(_COUNT, values)
            rows = [_cron(row) for row in connection.execute(statement, values | page)]
            total = _number(counted)
            return Page(rows, more=bool(rows) and query.offset + len(rows) < total, total=total)

        return await self._database.read(work)

    async def count(self, where: CronFilter) -> int:
        return await self._database.ask(lambda c: _number(c.execute(_COUNT, _values(where))))

    async def due(self, now: datetime, limit: int) -> Sequence[Cron]:
        return await self._database.ask(
            lambda c: [_cron(row) for row in c.execute(_DUE, (now, limit))]
        )

    async def pass_over(self, firing: Firing) -> bool:
        return await self._database.write(lambda connection: move_date(connection, firing))

    async def next_due(self) -> datetime | None:
        row = await self._database.ask(lambda c: c.execute(_NEXT_DUE).fetchone())
        return None if row is None else row[0]


def move_date(connection: Connection, firing: Firing) -> bool:
    """End a due time; return False where it is over already."""
    row = (firing.next_at, firing.cron_id, firing.due_at)
    return connection.execute(_MOVE, row).fetchone() is not None


def _hold(connection: Connection, thread_id: UUID, access: Condition) -> bool:
    row = connection.execute(_HOLD_THREAD, (thread_id,)).fetchone()
    return row is not None and meets(obj(row[0]), access)


def _get(
    connection: Connection, cron_id: UUID, statement: str = _GET, access: Condition = EVERYTHING
) -> Cron:
    row = connection.execute(statement, (cron_id,)).fetchone()
    if row is None:
        raise CronNotFound(cron_id)
    cron = _cron(row)
    if not meets(cron.metadata, access):
        raise CronNotFound(cron_id)
    return cron


def _number(cursor: Cursor) -> int:
    ((number,),) = cursor.fetchall()
    return int(number)


def _values(where: CronFilter) -> dict[str, object]:
    return {
        "assistant_id": where.assistant_id,
        "thread_id": where.thread_id,
        "enabled": where.enabled,
        "metadata": jsonb(where.metadata),
        "access": access_parameter(where.access),
        "thread_access": access_parameter(where.thread_access),
    }


def _row(cron: Cron) -> tuple[object, ...]:
    return (
        cron.cron_id,
        cron.assistant_id,
        cron.thread_id,
        plain(cron.user_id),
        cron.schedule,
        cron.timezone,
        cron.end_time,
        dump(cron.payload).decode(),
        jsonb(cron.metadata),
        cron.on_run_completed,
        cron.enabled,
        cron.next_run_date,
        cron.created_at,
        cron.updated_at,
        optional_text(cron.user),
        cron.ends_at,
    )


def _cron(found: Iterable[Any]) -> Cron:
    row = _Row(*found)
    return Cron(
        cron_id=row.cron_id,
        assistant_id=row.assistant_id,
        thread_id=row.thread_id,
        user_id=row.user_id,
        schedule=row.schedule,
        timezone=row.timezone,
        end_time=row.end_time,
        payload=obj(row.payload),
        metadata=obj(row.metadata),
        on_run_completed=row.on_run_completed,
        enabled=row.enabled,
        next_run_date=row.next_run_date,
        created_at=row.created_at,
        updated_at=row.updated_at,
        user=encoded(row.user),
    )
