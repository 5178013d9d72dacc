"""Assistants in SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from uuid import UUID

from weft.server.domain.assistants import Assistant
from weft.server.domain.errors import AssistantNotFound
from weft.server.storage.sqlite.connection import Readers, Writer
from weft.server.storage.sqlite.rows import micros, moment, obj, text

_COLUMNS = (
    "assistant_id, graph_id, name, description, config, context, metadata, version,"
    " created_at, updated_at"
)
_ENSURE = f"INSERT OR IGNORE INTO assistants ({_COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?)"
_GET = f"SELECT {_COLUMNS} FROM assistants WHERE assistant_id = ?"


class SqliteAssistants:
    def __init__(self, writer: Writer, readers: Readers) -> None:
        self._writer = writer
        self._readers = readers

    async def ensure(self, assistants: Sequence[Assistant]) -> None:
        rows = [_row(assistant) for assistant in assistants]

        def work(connection: sqlite3.Connection) -> None:
            connection.executemany(_ENSURE, rows)

        await self._writer.write(work)

    async def get(self, assistant_id: UUID) -> Assistant:
        row = self._readers.point(lambda c: c.execute(_GET, (str(assistant_id),)).fetchone())
        if row is None:
            raise AssistantNotFound(assistant_id)
        return _assistant(row)


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


def _assistant(row: tuple[str, str, str, str | None, str, str, str, int, int, int]) -> Assistant:
    return Assistant(
        assistant_id=UUID(row[0]),
        graph_id=row[1],
        name=row[2],
        description=row[3],
        config=obj(row[4]),
        context=obj(row[5]),
        metadata=obj(row[6]),
        version=row[7],
        created_at=moment(row[8]),
        updated_at=moment(row[9]),
    )
