"""Threads as rows."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple, TypeAlias
from uuid import UUID

from loomline.schema import ThreadStatus
from loomline.server.domain.json import Encoded
from loomline.server.domain.threads import Thread, Ttl, TtlStrategy
from loomline.server.storage.postgres.rows import encoded, obj

ThreadRow: TypeAlias = tuple[Any, ...]

_COLUMNS = (
    "t.thread_id, t.status, t.metadata, t.config, t.interrupts, t.error, t.created_at,"
    " t.updated_at, t.state_updated_at, t.ttl_minutes, t.ttl_strategy"
)
_VALUES = "(SELECT v.content FROM loomline_thread_values v WHERE v.thread_id = t.thread_id)"


class _Row(NamedTuple):
    """The columns of a thread. Without values, ``content`` is null."""

    thread_id: UUID
    status: ThreadStatus
    metadata: bytes
    config: bytes
    interrupts: bytes | None
    error: bytes | None
    created_at: datetime
    updated_at: datetime
    state_updated_at: datetime
    ttl_minutes: float | None
    ttl_strategy: TtlStrategy
    content: bytes | None


def columns(*, with_values: bool) -> str:
    """Return what makes a whole thread of a row ``t``; without values their place is null.

    They are looked up row by row: a join might read those of every thread.
    """
    return f"{_COLUMNS}, {_VALUES if with_values else 'NULL'}"


def thread_of_row(found: ThreadRow) -> Thread:
    """Return the thread of a row of ``columns``."""
    row = _Row(*found)
    return Thread(
        thread_id=row.thread_id,
        status=row.status,
        metadata=obj(row.metadata),
        config=obj(row.config),
        interrupts=encoded(row.interrupts),
        error=encoded(row.error),
        created_at=row.created_at,
        updated_at=row.updated_at,
        state_updated_at=row.state_updated_at,
        ttl=None if row.ttl_minutes is None else Ttl(row.ttl_minutes, row.ttl_strategy),
        values=None if row.content is None else Encoded(row.content),
    )
