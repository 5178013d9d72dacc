"""Keys of requests in SQLite."""

from __future__ import annotations

import sqlite3
from uuid import UUID

from loomline.server.domain.idempotency import KEEP, IdempotencyKeyReused
from loomline.server.domain.runs import NewRun
from loomline.server.storage.sqlite.rows import micros

_FIND = """
    SELECT fingerprint, thread_id, run_id FROM idempotency_keys
    WHERE scope = ? AND name = ? AND created_at > ?
"""
_PUT = "REPLACE INTO idempotency_keys VALUES (?, ?, ?, ?, ?, ?)"
_FORGET = """
    DELETE FROM idempotency_keys WHERE (scope, name) IN (
        SELECT scope, name FROM idempotency_keys WHERE created_at <= ? LIMIT ?)
"""


def claim_key(connection: sqlite3.Connection, new: NewRun) -> tuple[UUID, UUID] | None:
    """Take the key of a run to be; return the thread and the run it stands for already, if any.

    Raises:
        IdempotencyKeyReused: it stands for another request.
    """
    key = new.key
    if key is None:
        return None
    since = micros(new.now - KEEP)
    row = connection.execute(_FIND, (key.scope, key.name, since)).fetchone()
    if row is None:
        ids = (str(new.thread_id), str(new.run_id))
        connection.execute(_PUT, (key.scope, key.name, key.fingerprint, *ids, micros(new.now)))
        return None
    if row[0] != key.fingerprint:
        raise IdempotencyKeyReused
    return UUID(row[1]), UUID(row[2])


def forget_keys(connection: sqlite3.Connection, before: int, limit: int) -> int:
    return connection.execute(_FORGET, (before, limit)).rowcount
