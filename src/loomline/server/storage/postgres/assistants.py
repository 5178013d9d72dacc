"""Assistants in PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple
from uuid import UUID

from loomline.schema import OnConflictBehavior
from loomline.server.domain.access import EVERYTHING, Condition, meets
from loomline.server.domain.assistants import (
    Assistant,
    AssistantFilter,
    AssistantPatch,
    AssistantQuery,
    AssistantVersion,
    patched,
    restored,
    version_of,
)
from loomline.server.domain.errors import (
    AssistantExists,
    AssistantNotFound,
    AssistantVersionNotFound,
)
from loomline.server.domain.filters import Page
from loomline.server.domain.json import JsonObject
from loomline.server.storage.postgres.connection import Connection, Cursor, Database
from loomline.server.storage.postgres.rows import access_parameter, jsonb, obj, plain
from loomline.server.storage.postgres.threads import delete_threads

_COLUMNS = (
    "assistant_id, graph_id, name, description, config, context, metadata, version,"
    " created_at, updated_at"
)
_WRITTEN = f"{_COLUMNS}, folded_name, folded_graph"
_VALUES = ", ".join(["%s"] * 12)
_INSERT = f"""
    INSERT INTO loomline_assistants ({_WRITTEN}) VALUES ({_VALUES})
    ON CONFLICT DO NOTHING RETURNING 1
"""
_REPLACE = f"UPDATE loomline_assistants SET ({_WRITTEN}) = ({_VALUES}) WHERE assistant_id = %s"
_GET = f"SELECT {_COLUMNS} FROM loomline_assistants WHERE assistant_id = %s"
_LOCK = f"{_GET} FOR UPDATE"

_VERSION = (
    "assistant_id, version, graph_id, name, description, config, context, metadata, created_at"
)
_INSERT_VERSION = f"""
    INSERT INTO loomline_assistant_versions ({_VERSION}) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)
"""
_NEXT_VERSION = "SELECT max(version) + 1 FROM loomline_assistant_versions WHERE assistant_id = %s"
_GET_VERSION = f"""
    SELECT {_VERSION} FROM loomline_assistant_versions WHERE assistant_id = %s AND version = %s
"""
_VERSIONS = f"""
    SELECT {_VERSION} FROM loomline_assistant_versions
    WHERE assistant_id = %s AND metadata @> %s::jsonb
    ORDER BY version DESC LIMIT %s OFFSET %s
"""

_MATCHING = """
    FROM loomline_assistants
    WHERE (%(graph_id)s::text IS NULL OR graph_id = %(graph_id)s)
      AND strpos(folded_name, %(name)s) > 0 AND metadata @> %(metadata)s::jsonb
      AND (%(access)s::jsonb IS NULL OR loomline_meets(metadata, %(access)s::jsonb))
"""
_COUNT = f"SELECT count(*) {_MATCHING}"
_SEARCH = f"SELECT {_COLUMNS} {_MATCHING}"
_SORT = {
    "assistant_id": "assistant_id",
    "created_at": "created_at",
    "updated_at": "updated_at",
    "name": "folded_name",
    "graph_id": "folded_graph",
}

_DELETE = tuple(
    f"DELETE FROM {table} WHERE assistant_id = %s"
    for table in ("loomline_assistants", "loomline_assistant_versions", "loomline_crons")
)
_THREADS = """
    SELECT thread_id FROM loomline_threads
    WHERE metadata @> jsonb_build_object('assistant_id', %s::text) ORDER BY thread_id
"""


class _Row(NamedTuple):
    """The columns of an assistant."""

    assistant_id: UUID
    graph_id: str
    name: str
    description: str | None
    config: bytes
    context: bytes
    metadata: bytes
    version: int
    created_at: datetime
    updated_at: datetime


class _VersionRow(NamedTuple):
    """The columns of a version of an assistant."""

    assistant_id: UUID
    version: int
    graph_id: str
    name: str
    description: str | None
    config: bytes
    context: bytes
    metadata: bytes
    created_at: datetime


class PostgresAssistants:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def ensure(self, assistants: Sequence[Assistant]) -> None:
        # In one order, so that processes that start together do not wait in a circle.
        ordered = sorted(assistants, key=lambda assistant: str(assistant.assistant_id))

        def work(connection: Connection) -> None:
            for assistant in ordered:
                _insert(connection, assistant)

        await self._database.write(work)

    async def create(
        self, assistant: Assistant, if_exists: OnConflictBehavior, *, access: Condition = EVERYTHING
    ) -> Assistant:
        def work(connection: Connection) -> Assistant:
            inserted = _insert(connection, assistant)
            if not inserted and if_exists == "raise":
                raise AssistantExists(assistant.assistant_id)
            found = _get(connection, assistant.assistant_id)
            if not inserted and not meets(found.metadata, access):
                raise AssistantExists(assistant.assistant_id)
            return found

        return await self._database.write(work)

    async def get(self, assistant_id: UUID, *, access: Condition = EVERYTHING) -> Assistant:
        return await self._database.ask(partial(_get, assistant_id=assistant_id, access=access))

    async def search(self, query: AssistantQuery) -> Page[Assistant]:
        page = {"limit": query.limit, "offset": query.offset}
        values = _values(query.where)
        order = "DESC" if query.descending else "ASC"
        sort = f"ORDER BY {_SORT[query.sort_by]} {order}, assistant_id {order}"
        statement = f"{_SEARCH} {sort} LIMIT %(limit)s OFFSET %(offset)s"

        def work(connection: Connection) -> Page[Assistant]:
            counted = connection.execute(_COUNT, values)
            found = connection.execute(statement, values | page)
            rows = [_assistant(row) for row in found]
            total = _number(counted)
            return Page(rows, more=query.offset + len(rows) < total and bool(rows), total=total)

        return await self._database.read(work)

    async def count(self, where: AssistantFilter) -> int:
        return await self._database.ask(lambda c: _number(c.execute(_COUNT, _values(where))))

    async def update(
        self, assistant_id: UUID, patch: AssistantPatch, *, access: Condition = EVERYTHING
    ) -> Assistant:
        def work(connection: Connection) -> Assistant:
            before = _get(connection, assistant_id, _LOCK, access)
            number = _number(connection.execute(_NEXT_VERSION, (assistant_id,)))
            after = patched(before, patch, number)
            _replace(connection, after)
            connection.execute(_INSERT_VERSION, _version_row(version_of(after)))
            return after

        return await self._database.write(work)

    async def delete(
        self,
        assistant_id: UUID,
        *,
        delete_threads: bool,
        access: Condition = EVERYTHING,
        threads_access: Condition = EVERYTHING,
    ) -> tuple[UUID, ...]:
        def work(connection: Connection) -> tuple[UUID, ...]:
            _get(connection, assistant_id, _LOCK, access)
            for statement in _DELETE:
                connection.execute(statement, (assistant_id,))
            return (
                _delete_threads(connection, assistant_id, threads_access) if delete_threads else ()
            )

        return await self._database.write(work)

    async def versions(
        self,
        assistant_id: UUID,
        *,
        metadata: JsonObject,
        limit: int,
        offset: int,
        access: Condition = EVERYTHING,
    ) -> Sequence[AssistantVersion]:
        def work(connection: Connection) -> Sequence[AssistantVersion]:
            _get(connection, assistant_id, access=access)
            values = (assistant_id, jsonb(metadata), limit, offset)
            return [_version(row) for row in connection.execute(_VERSIONS, values)]

        return await self._database.read(work)

    async def set_latest(
        self, assistant_id: UUID, version: int, now: datetime, *, access: Condition = EVERYTHING
    ) -> Assistant:
        def work(connection: Connection) -> Assistant:
            before = _get(connection, assistant_id, _LOCK, access)
            row = connection.execute(_GET_VERSION, (assistant_id, version)).fetchone()
            if row is None:
                raise AssistantVersionNotFound(assistant_id, version)
            after = restored(before, _version(row), now)
            _replace(connection, after)
            return after

        return await self._database.write(work)


def _insert(connection: Connection, assistant: Assistant) -> bool:
    """Insert an assistant unless it exists; return whether it was inserted."""
    inserted = connection.execute(_INSERT, _row(assistant)).fetchone() is not None
    if inserted:
        connection.execute(_INSERT_VERSION, _version_row(version_of(assistant)))
    return inserted


def _replace(connection: Connection, assistant: Assistant) -> None:
    connection.execute(_REPLACE, (*_row(assistant), assistant.assistant_id))


def _delete_threads(
    connection: Connection, assistant_id: UUID, access: Condition
) -> tuple[UUID, ...]:
    rows = connection.execute(_THREADS, (str(assistant_id),)).fetchall()
    return delete_threads(connection, [thread_id for (thread_id,) in rows], access).stopped


def _get(
    connection: Connection,
    assistant_id: UUID,
    statement: str = _GET,
    access: Condition = EVERYTHING,
) -> Assistant:
    row = connection.execute(statement, (assistant_id,)).fetchone()
    if row is None:
        raise AssistantNotFound(assistant_id)
    assistant = _assistant(row)
    if not meets(assistant.metadata, access):
        raise AssistantNotFound(assistant_id)
    return assistant


def _number(cursor: Cursor) -> int:
    ((number,),) = cursor.fetchall()
    return int(number)


def _values(where: AssistantFilter) -> dict[str, object]:
    return {
        "graph_id": None if where.graph_id is None else plain(where.graph_id),
        "name": plain(where.name.casefold()),
        "metadata": jsonb(where.metadata),
        "access": access_parameter(where.access),
    }


def _row(assistant: Assistant) -> tuple[object, ...]:
    return (
        assistant.assistant_id,
        plain(assistant.graph_id),
        plain(assistant.name),
        None if assistant.description is None else plain(assistant.description),
        jsonb(assistant.config),
        jsonb(assistant.context),
        jsonb(assistant.metadata),
        assistant.version,
        assistant.created_at,
        assistant.updated_at,
        plain(assistant.name.casefold()),
        plain(assistant.graph_id.casefold()),
    )


def _assistant(found: Iterable[Any]) -> Assistant:
    row = _Row(*found)
    return Assistant(
        assistant_id=row.assistant_id,
        graph_id=row.graph_id,
        name=row.name,
        description=row.description,
        config=obj(row.config),
        context=obj(row.context),
        metadata=obj(row.metadata),
        version=row.version,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def _version_row(version: AssistantVersion) -> tuple[object, ...]:
    return (
        version.assistant_id,
        version.version,
        plain(version.graph_id),
        plain(version.name),
        None if version.description is None else plain(version.description),
        jsonb(version.config),
        jsonb(version.context),
        jsonb(version.metadata),
        version.created_at,
    )


def _version(found: Iterable[Any]) -> AssistantVersion:
    row = _VersionRow(*found)
    return AssistantVersion(
        assistant_id=row.assistant_id,
        version=row.version,
        graph_id=row.graph_id,
        name=row.name,
        description=row.description,
        config=obj(row.config),
        context=obj(row.context),
        metadata=obj(row.metadata),
        created_at=row.created_at,
    )
