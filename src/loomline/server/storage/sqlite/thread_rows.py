"""Rows of threads as domain objects."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple
from uuid import UUID

from loomline.schema import ThreadStatus
from loomline.server.domain.json import Encoded
from loomline.server.domain.threads import Thread, Ttl, TtlStrategy
from loomline.server.storage.sqlite.rows import encoded, moment, obj


class _Row(NamedTuple):
    """The columns of a thread. Without values, ``content`` is null."""

    thread_id: str
    status: ThreadStatus
    metadata: str
    config: str
    interrupts: str | None
    error: str | None
    created_at: int
    updated_at: int
    state_updated_at: int
    ttl_minutes: float | None
    ttl_strategy: TtlStrategy
    content: bytes | None


def thread_of_row(found: Iterable[Any]) -> Thread:
    """Return the thread of a row of ``sql.threads``."""
    row = _Row(*found)
    return Thread(
        thread_id=UUID(row.thread_id),
        status=row.status,
        metadata=obj(row.metadata),
        config=obj(row.config),
        interrupts=encoded(row.interrupts),
        error=encoded(row.error),
        created_at=moment(row.created_at),
        updated_at=moment(row.updated_at),
        state_updated_at=moment(row.state_updated_at),
        ttl=None if row.ttl_minutes is None else Ttl(row.ttl_minutes, row.ttl_strategy),
        values=None if row.content is None else Encoded(row.content),
    )
