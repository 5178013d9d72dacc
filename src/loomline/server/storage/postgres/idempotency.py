"""Keys of requests in PostgreSQL."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from loomline.server.domain.idempotency import KEEP, IdempotencyKeyReused
from loomline.server.domain.runs import NewRun
from loomline.server.storage.postgres.connection import Connection, Cursor
from loomline.server.storage.postgres.rows import plain

# Who comes second waits here until the first is done, and then finds its row.
_TAKE = """
    INSERT INTO loomline_idempotency_keys AS k
           (scope, name, fingerprint, thread_id, run_id, created_at)
    VALUES (%(scope)s, %(name)s, %(fingerprint)s, %(thread)s, %(run)s, %(now)s)
    ON CONFLICT (scope, name) DO UPDATE
    SET fingerprint = excluded.fingerprint, thread_id = excluded.thread_id,
        run_id = excluded.run_id, created_at = excluded.created_at
    WHERE k.created_at <= %(since)s
    RETURNING 1
"""
_FIND = """
    SELECT fingerprint, thread_id, run_id FROM loomline_idempotency_keys
    WHERE scope = %(scope)s AND name = %(name)s
"""
_FORGET = """
    DELETE FROM loomline_idempotency_keys WHERE (scope, name) IN (
        SELECT scope, name FROM loomline_idempotency_keys WHERE created_at <= %s
        ORDER BY created_at LIMIT %s)
"""


def claim_key(connection: Connection, new: NewRun) -> tuple[UUID, UUID] | None:
    """Take the key of a run to be; return the thread and the run it stands for already, if any.

    Raises:
        IdempotencyKeyReused: it stands for another request.
    """
    key = new.key
    if key is None:
        return None
    values = {
        "scope": plain(key.scope),
        "name": key.name,
        "fingerprint": key.fingerprint,
        "thread": new.thread_id,
        "run": new.run_id,
        "now": new.now,
        "since": new.now - KEEP,
    }
    if connection.execute(_TAKE, values).fetchone() is not None:
        return None
    row = connection.execute(_FIND, values).fetchone()
    assert row is not None, "the transaction that has just taken it cannot have removed it"
    if row[0] != key.fingerprint:
        raise IdempotencyKeyReused
    return row[1], row[2]


def forget_keys(connection: Connection, before: datetime, limit: int) -> Cursor:
    return connection.execute(_FORGET, (before, limit))
