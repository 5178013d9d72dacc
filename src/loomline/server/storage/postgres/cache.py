"""The cache of hosted code, shared by all servers on one database."""

from __future__ import annotations

import itertools
from datetime import timedelta
from hashlib import sha256
from typing import Final

import orjson

from loomline.server.ports.clock import Clock
from loomline.server.storage.memory_cache import encoded_for_cache
from loomline.server.storage.postgres.connection import Connection, Database, itself

ROWS_MOST: Final = 100_000
"""What is kept at most, those that expire last; looked at every so often."""

_LOOK_EVERY: Final = 256

_GET = "SELECT value FROM loomline_cache WHERE key = %s AND expires_at > %s"
_SET = """
    INSERT INTO loomline_cache (key, value, expires_at) VALUES (%s, %s, %s)
    ON CONFLICT (key) DO UPDATE SET value = excluded.value, expires_at = excluded.expires_at
"""
# Each new value takes some old ones along, so that nothing else has to.
_EXPIRE = """
    DELETE FROM loomline_cache WHERE key IN (
        SELECT key FROM loomline_cache WHERE expires_at <= %s ORDER BY expires_at
        LIMIT 10 FOR UPDATE SKIP LOCKED)
"""
_TRIM = """
    DELETE FROM loomline_cache WHERE key IN (
        SELECT key FROM loomline_cache ORDER BY expires_at DESC OFFSET %s FOR UPDATE SKIP LOCKED)
"""


class PostgresCache:
    """A backend of ``loomline.cache`` in a table."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._writes = itertools.count(1)

    async def get(self, key: str) -> object | None:
        values = (_hashed(key), self._clock.now())
        row = await self._database.ask(lambda c: c.execute(_GET, values).fetchone())
        return None if row is None else orjson.loads(row[0])

    async def set(self, key: str, value: object, ttl: timedelta) -> None:
        now = self._clock.now()
        row = (_hashed(key), encoded_for_cache(key, value), now + ttl)
        trims = next(self._writes) % _LOOK_EVERY == 0

        def work(connection: Connection) -> None:
            connection.execute(_SET, row)
            connection.execute(_EXPIRE, (now,))
            if trims:
                connection.execute(_TRIM, (ROWS_MOST,))

        await self._database.send(work, itself)


def _hashed(key: str) -> bytes:
    return sha256(key.encode("utf-8", "surrogatepass")).digest()
