"""Rows of threads as domain objects."""

from __future__ import annotations

from typing import TypeAlias
from uuid import UUID

from loomline.schema import ThreadStatus
from loomline.server.domain.json import Encoded
from loomline.server.domain.threads import Thread, Ttl, TtlStrategy
from loomline.server.storage.sqlite.rows import encoded, moment, obj

ThreadRow: TypeAlias = tuple[
    str, ThreadStatus, str, str, str | None, str | None, int, int, int, float | None,
    TtlStrategy, bytes | None,
]  # fmt: skip


def thread_of_row(row: ThreadRow) -> Thread:
    """Return the thread of a row of ``sql.threads``."""
    return Thread(
        thread_id=UUID(row[0]),
        status=row[1],
        metadata=obj(row[2]),
        config=obj(row[3]),
        interrupts=encoded(row[4]),
        error=encoded(row[5]),
        created_at=moment(row[6]),
        updated_at=moment(row[7]),
        state_updated_at=moment(row[8]),
        ttl=None if row[9] is None else Ttl(row[9], row[10]),
        values=None if row[11] is None else Encoded(row[11]),
    )
