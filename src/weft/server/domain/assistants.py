"""Assistants: named configurations of a graph."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from weft.server.domain.ids import default_assistant_id
from weft.server.domain.json import JsonObject


@dataclass(frozen=True, slots=True)
class Assistant:
    assistant_id: UUID
    graph_id: str
    name: str
    description: str | None
    config: JsonObject
    context: JsonObject
    metadata: JsonObject
    version: int
    created_at: datetime
    updated_at: datetime


def default_assistant(
    graph_id: str, name: str, description: str | None, now: datetime
) -> Assistant:
    """Return the assistant that a graph has without anybody creating it."""
    return Assistant(
        assistant_id=default_assistant_id(graph_id),
        graph_id=graph_id,
        name=name,
        description=description,
        config={},
        context={},
        metadata={"created_by": "system"},
        version=1,
        created_at=now,
        updated_at=now,
    )
