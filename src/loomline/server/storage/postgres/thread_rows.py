"""Threads as rows."""

from __future__ import annotations

from typing import Any, TypeAlias

from loomline.server.domain.json import Encoded
from loomline.server.domain.threads import Thread, Ttl
from loomline.server.storage.postgres.rows import encoded, obj

ThreadRow: TypeAlias = tuple[Any, ...]

_COLUMNS = (
    "t.thread_id, t.status, t.metadata, t.config, t.interrupts, t.error, t.created_at,"
    " t.updated_at, t.state_updated_at, t.ttl_minutes, t.ttl_strategy"
)
_VALUES = "(SELECT v.content FROM loomline_thread_values v WHERE v.thread_id = t.thread_id)"


def columns(*, with_values: bool) -> str:
    """Return what makes a whole thread of a row ``t``; without values their place is null.

    They are looked up row by row: a join might read those of every thread.
    """
    return f"{_COLUMNS}, {_VALUES if with_values else 'NULL'}"


def thread_of_row(row: ThreadRow) -> Thread:
    """Return the thread of a row of ``columns``."""
    return Thread(
        thread_id=row[0],
        status=row[1],
        metadata=obj(row[2]),
        config=obj(row[3]),
        interrupts=encoded(row[4]),
        error=encoded(row[5]),
        created_at=row[6],
        updated_at=row[7],
        state_updated_at=row[8],
        ttl=None if row[9] is None else Ttl(row[9], row[10]),
        values=None if row[11] is None else Encoded(row[11]),
    )
