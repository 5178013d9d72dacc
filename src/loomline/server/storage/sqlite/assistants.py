"""Assistants in SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple
from uuid import UUID

from loomline.schema import OnConflictBehavior
from loomline.server.domain.access import EVERYTHING, Condition, encode, meets
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
from loomline.server.domain.json import JsonObject, dump
from loomline.server.storage.sqlite.connection import Readers, Writer
from loomline.server.storage.sqlite.rows import micros, moment, obj, text
from loomline.server.storage.sqlite.threads import delete_all

_COLUMNS = (
    "assistant_id, graph_id, name, description, config, context, metadata, version,"
    " created_at, updated_at"
)
_INSERT = f"INSERT OR IGNORE INTO assistants ({_COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?)"
_REPLACE = f"REPLACE INTO assistants ({_COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?)"
_GET = f"SELECT {_COLUMNS} FROM assistants WHERE assistant_id = ?"

_VERSION = (
    "assistant_id, version, graph_id, name, description, config, context, metadata, created_at"
)
_INSERT_VERSION = f"INSERT INTO assistant_versions ({_VERSION}) VALUES (?,?,?,?,?,?,?,?,?)"
_NEXT_VERSION = "SELECT max(version) + 1 FROM assistant_versions WHERE assistant_id = ?"
_GET_VERSION = f"""
    SELECT {_VERSION} FROM assistant_versions WHERE assistant_id = ? AND version = ?
"""
_VERSIONS = f"""
    SELECT {_VERSION} FROM assistant_versions
    WHERE assistant_id = :id AND (:metadata = '{{}}' OR json_contains(metadata, :metadata))
    ORDER BY version DESC LIMIT :limit OFFSET :offset
"""

_MATCHING = """
    FROM assistants
    WHERE (:graph_id IS NULL OR graph_id = :graph_id)
      AND (:name = '' OR instr(folded(name), :name) > 0)
      AND (:metadata = '{}' OR json_contains(metadata, :metadata))
      AND (:access IS NULL OR json_meets(metadata, :access))
"""
_COUNT = f"SELECT count(*) {_MATCHING}"
_SEARCH = f"SELECT {_COLUMNS} {_MATCHING}"
_SORT = {
    "assistant_id": "assistant_id",
    "created_at": "created_at",
    "updated_at": "updated_at",
    "name": "folded(name)",
    "graph_id": "folded(graph_id)",
}

_DELETE = tuple(
    f"DELETE FROM {table} WHERE assistant_id = ?"
    for table in ("assistants", "assistant_versions", "crons")
)
_THREADS = """
    SELECT thread_id FROM threads
    WHERE metadata ->> '$.assistant_id' = ? AND (? IS NULL OR json_meets(metadata, ?))
"""
_STILL = f"{_THREADS} AND thread_id IN (SELECT value FROM json_each(?))"
_THREAD_BATCH = 50


class _Row(NamedTuple):
    """The columns of an assistant."""

    assistant_id: str
    graph_id: str
    name: str
    description: str | None
    config: str
    context: str
    metadata: str
    version: int
    created_at: int
    updated_at: int


class _VersionRow(NamedTuple):
    """The columns of a version of an assistant."""

    assistant_id: str
    version: int
    graph_id: str
    name: str
    description: str | None
    config: str
    context: str
    metadata: str
    created_at: int


class SqliteAssistants:
    def __init__(self, writer: Writer, readers: Readers) -> None:
        self._writer = writer
        self._readers = readers

    async def ensure(self, assistants: Sequence[Assistant]) -> None:
        def work(connection: sqlite3.Connection) -> None:
            for assistant in assistants:
                _insert(connection, assistant)

        await self._writer.write(work)

    async def create(
        self, assistant: Assistant, if_exists: OnConflictBehavior, *, access: Condition = EVERYTHING
    ) -> Assistant:
        def work(connection: sqlite3.Connection) -> Assistant:
            inserted = _insert(connection, assistant)
            if not inserted and if_exists == "raise":
                raise AssistantExists(assistant.assistant_id)
            found = _get(connection, assistant.assistant_id)
            if not inserted and not meets(found.metadata, access):
                raise AssistantExists(assistant.assistant_id)
            return found

        return await self._writer.write(work)

    async def get(self, assistant_id: UUID, *, access: Condition = EVERYTHING) -> Assistant:
        return self._readers.point(lambda connection: _get(connection, assistant_id, access))

    async def search(self, query: AssistantQuery) -> Page[Assistant]:
        values = _values(query.where) | {"limit": query.limit, "offset": query.offset}
        order = "DESC" if query.descending else "ASC"
        sort = f"ORDER BY {_SORT[query.sort_by]} {order}, assistant_id {order}"
        statement = f"{_SEARCH} {sort} LIMIT :limit OFFSET :offset"

        def work(connection: sqlite3.Connection) -> Page[Assistant]:
            (total,) = connection.execute(_COUNT, values).fetchone()
            rows = [_assistant(row) for row in connection.execute(statement, values)]
            return Page(rows, more=query.offset + len(rows) < total and bool(rows), total=total)

        return await self._readers.read(work)

    async def count(self, where: AssistantFilter) -> int:
        values = _values(where)
        (count,) = await self._readers.read(lambda c: c.execute(_COUNT, values).fetchone())
        return int(count)

    async def update(
        self, assistant_id: UUID, patch: AssistantPatch, *, access: Condition = EVERYTHING
    ) -> Assistant:
        def work(connection: sqlite3.Connection) -> Assistant:
            before = _get(connection, assistant_id, access)
            (number,) = connection.execute(_NEXT_VERSION, (str(assistant_id),)).fetchone()
            after = patched(before, patch, number)
            connection.execute(_REPLACE, _row(after))
            connection.execute(_INSERT_VERSION, _version_row(version_of(after)))
            return after

        return await self._writer.write(work)

    async def delete(
        self,
        assistant_id: UUID,
        *,
        delete_threads: bool,
        access: Condition = EVERYTHING,
        threads_access: Condition = EVERYTHING,
    ) -> tuple[UUID, ...]:
        stopped: list[UUID] = []
        if delete_threads:
            found = await self._readers.read(
                partial(_threads, assistant_id=assistant_id, access=access, threads=threads_access)
            )
            for start in range(0, len(found), _THREAD_BATCH):
                batch = found[start : start + _THREAD_BATCH]
                delete = partial(
                    _delete_threads, batch=batch, key=_key(assistant_id, threads_access)
                )
                stopped += await self._writer.write(delete)
        await self._writer.write(partial(_delete, assistant_id=assistant_id, access=access))
        return tuple(stopped)

    async def versions(
        self,
        assistant_id: UUID,
        *,
        metadata: JsonObject,
        limit: int,
        offset: int,
        access: Condition = EVERYTHING,
    ) -> Sequence[AssistantVersion]:
        values = {"id": str(assistant_id), "metadata": text(metadata)}
        values |= {"limit": limit, "offset": offset}  # type: ignore[dict-item]

        def work(connection: sqlite3.Connection) -> Sequence[AssistantVersion]:
            _get(connection, assistant_id, access)
            return [_version(row) for row in connection.execute(_VERSIONS, values)]

        return await self._readers.read(work)

    async def set_latest(
        self, assistant_id: UUID, version: int, now: datetime, *, access: Condition = EVERYTHING
    ) -> Assistant:
        def work(connection: sqlite3.Connection) -> Assistant:
            before = _get(connection, assistant_id, access)
            row = connection.execute(_GET_VERSION, (str(assistant_id), version)).fetchone()
            if row is None:
                raise AssistantVersionNotFound(assistant_id, version)
            after = restored(before, _version(row), now)
            connection.execute(_REPLACE, _row(after))
            return after

        return await self._writer.write(work)


def _insert(connection: sqlite3.Connection, assistant: Assistant) -> bool:
    """Insert an assistant unless it exists; return whether it was inserted."""
    inserted = connection.execute(_INSERT, _row(assistant)).rowcount == 1
    if inserted:
        connection.execute(_INSERT_VERSION, _version_row(version_of(assistant)))
    return inserted


def _delete(connection: sqlite3.Connection, assistant_id: UUID, access: Condition) -> None:
    _get(connection, assistant_id, access)
    for statement in _DELETE:
        connection.execute(statement, (str(assistant_id),))


def _key(assistant_id: UUID, access: Condition) -> tuple[str, str | None, str | None]:
    condition = _access(access)
    return (str(assistant_id), condition, condition)


def _threads(
    connection: sqlite3.Connection, assistant_id: UUID, access: Condition, threads: Condition
) -> list[str]:
    """Return the ids of the threads that go with an assistant."""
    _get(connection, assistant_id, access)
    found = connection.execute(_THREADS, _key(assistant_id, threads))
    return [thread_id for (thread_id,) in found]


def _delete_threads(
    connection: sqlite3.Connection,
    batch: Sequence[str],
    key: tuple[str, str | None, str | None],
) -> tuple[UUID, ...]:
    """Delete those of some threads that still go with the assistant; return the active runs."""
    found = connection.execute(_STILL, (*key, dump(list(batch)).decode())).fetchall()
    return delete_all(connection, [UUID(thread_id) for (thread_id,) in found]).stopped


def _get(
    connection: sqlite3.Connection, assistant_id: UUID, access: Condition = EVERYTHING
) -> Assistant:
    row = connection.execute(_GET, (str(assistant_id),)).fetchone()
    if row is None:
        raise AssistantNotFound(assistant_id)
    assistant = _assistant(row)
    if not meets(assistant.metadata, access):
        raise AssistantNotFound(assistant_id)
    return assistant


def _access(access: Condition) -> str | None:
    return None if access == EVERYTHING else encode(access)


def _values(where: AssistantFilter) -> dict[str, object]:
    return {
        "graph_id": where.graph_id,
        "name": where.name.casefold(),
        "metadata": text(where.metadata),
        "access": _access(where.access),
    }


def _row(assistant: Assistant) -> tuple[object, ...]:
    return (
        str(assistant.assistant_id),
        assistant.graph_id,
        assistant.name,
        assistant.description,
        text(assistant.config),
        text(assistant.context),
        text(assistant.metadata),
        assistant.version,
        micros(assistant.created_at),
        micros(assistant.updated_at),
    )


def _assistant(found: Iterable[Any]) -> Assistant:
    row = _Row(*found)
    return Assistant(
        assistant_id=UUID(row.assistant_id),
        graph_id=row.graph_id,
        name=row.name,
        description=row.description,
        config=obj(row.config),
        context=obj(row.context),
        metadata=obj(row.metadata),
        version=row.version,
        created_at=moment(row.created_at),
        updated_at=moment(row.updated_at),
    )


def _version_row(version: AssistantVersion) -> tuple[object, ...]:
    return (
        str(version.assistant_id),
        version.version,
        version.graph_id,
        version.name,
        version.description,
        text(version.config),
        text(version.context),
        text(version.metadata),
        micros(version.created_at),
    )


def _version(found: Iterable[Any]) -> AssistantVersion:
    row = _VersionRow(*found)
    return AssistantVersion(
        assistant_id=UUID(row.assistant_id),
        version=row.version,
        graph_id=row.graph_id,
        name=row.name,
        description=row.description,
        config=obj(row.config),
        context=obj(row.context),
        metadata=obj(row.metadata),
        created_at=moment(row.created_at),
    )
