"""Keys of requests for every database."""

from __future__ import annotations

from datetime import datetime
from typing import Generic
from uuid import UUID

from loomline.server.domain.idempotency import KEEP, IdempotencyKeyReused
from loomline.server.domain.runs import NewRun
from loomline.server.storage.checkpoints import Connection
from loomline.server.storage.tables import Dialect


class Keys(Generic[Connection]):
    """The table of keys, within the caller's transaction."""

    def __init__(self, dialect: Dialect[Connection]) -> None:
        name = f"{dialect.prefix}idempotency_keys"
        self._dialect = dialect
        # The second of two requests waits here for the first one, and then finds its row.
        self._take = f"""
            INSERT INTO {name} AS k (scope, name, fingerprint, thread_id, run_id, created_at)
            VALUES (?, ?, ?, ?, ?, ?)
            ON CONFLICT (scope, name) DO UPDATE
            SET fingerprint = excluded.fingerprint, thread_id = excluded.thread_id,
                run_id = excluded.run_id, created_at = excluded.created_at
            WHERE k.created_at <= ?
            RETURNING 1
        """
        self._find = (
            f"SELECT fingerprint, thread_id, run_id FROM {name} WHERE (scope, name) = (?, ?)"
        )
        self._forget = f"""
            DELETE FROM {name} WHERE (scope, name) IN (
                SELECT scope, name FROM {name} WHERE created_at <= ? ORDER BY created_at LIMIT ?)
            RETURNING 1
        """

    def claim(self, connection: Connection, new: NewRun) -> tuple[UUID, UUID] | None:
        """Take the key of a new run, or return the thread and the run that have the key.

        Raises:
            IdempotencyKeyReused: the key belongs to another request.
        """
        key = new.key
        if key is None:
            return None
        codecs, execute = self._dialect.codecs, self._dialect.execute
        place = (codecs.string.write(key.scope), codecs.string.write(key.name))
        ids = (codecs.id.write(new.thread_id), codecs.id.write(new.run_id))
        times = (codecs.moment.write(new.now), codecs.moment.write(new.now - KEEP))
        row = (*place, key.fingerprint, *ids, *times)
        if execute(connection, self._take, row).fetchone() is not None:
            return None
        ((fingerprint, thread_id, run_id),) = execute(connection, self._find, place).fetchall()
        if fingerprint != key.fingerprint:
            raise IdempotencyKeyReused
        return codecs.id.read(thread_id), codecs.id.read(run_id)

    def forget(self, connection: Connection, before: datetime, limit: int) -> int:
        """Delete keys of requests before a time; return their number."""
        values = (self._dialect.codecs.moment.write(before), limit)
        return len(self._dialect.execute(connection, self._forget, values).fetchall())
