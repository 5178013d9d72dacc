"""Assistants in PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from weft.server.domain.assistants import Assistant
from weft.server.domain.errors import AssistantNotFound
from weft.server.storage.postgres.connection import Connection, Database
from weft.server.storage.postgres.rows import jsonb, obj

_COLUMNS = (
    "assistant_id, graph_id, name, description, config, context, metadata, version,"
    " created_at, updated_at"
)
_ENSURE = f"""
    INSERT INTO weft_assistants ({_COLUMNS}) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
    ON CONFLICT DO NOTHING
"""
_GET = f"SELECT {_COLUMNS} FROM weft_assistants WHERE assistant_id = %s"


class PostgresAssistants:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def ensure(self, assistants: Sequence[Assistant]) -> None:
        # In one order, so that processes that start together do not wait in a circle.
        rows = sorted((_row(assistant) for assistant in assistants), key=lambda row: str(row[0]))

        def work(connection: Connection) -> None:
            connection.cursor().executemany(_ENSURE, rows)

        await self._database.write(work)

    async def get(self, assistant_id: UUID) -> Assistant:
        row = await self._database.ask(lambda c: c.execute(_GET, (assistant_id,)).fetchone())
        if row is None:
            raise AssistantNotFound(assistant_id)
        return _assistant(row)


def _row(assistant: Assistant) -> tuple[object, ...]:
    return (
        assistant.assistant_id,
        assistant.graph_id,
        assistant.name,
        assistant.description,
        jsonb(assistant.config),
        jsonb(assistant.context),
        jsonb(assistant.metadata),
        assistant.version,
        assistant.created_at,
        assistant.updated_at,
    )


def _assistant(row: tuple[Any, ...]) -> Assistant:
    return Assistant(
        assistant_id=row[0],
        graph_id=row[1],
        name=row[2],
        description=row[3],
        config=obj(row[4]),
        context=obj(row[5]),
        metadata=obj(row[6]),
        version=row[7],
        created_at=row[8],
        updated_at=row[9],
    )
