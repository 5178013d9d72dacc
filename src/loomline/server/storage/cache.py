"""The cache of hosted code in the server's database, shared by all servers on it."""

from __future__ import annotations

import itertools
from datetime import timedelta
from hashlib import sha256
from typing import Final, Generic

import orjson

from loomline.server.ports.clock import Clock
from loomline.server.storage.checkpoints import Access, Connection
from loomline.server.storage.memory_cache import encoded_for_cache
from loomline.server.storage.tables import Dialect

ROWS_MOST: Final = 100_000
"""The most rows that are kept, which are the last to expire; checked from time to time."""

_CHECK_EVERY: Final = 256


class DatabaseCache(Generic[Connection]):
    """A backend of ``loomline.cache`` in a table. Keys and values are bytes in every database."""

    def __init__(
        self, access: Access[Connection], dialect: Dialect[Connection], clock: Clock
    ) -> None:
        self._access = access
        self._dialect = dialect
        self._clock = clock
        self._writes = itertools.count(1)
        name = f"{dialect.prefix}cache"
        self._get = f"SELECT value FROM {name} WHERE key = ? AND expires_at > ?"
        self._set = f"""
            INSERT INTO {name} (key, value, expires_at) VALUES (?, ?, ?)
            ON CONFLICT (key) DO UPDATE
            SET value = excluded.value, expires_at = excluded.expires_at
        """
        # Each new value removes some expired rows, so that no other act has to.
        self._expire = f"""
            DELETE FROM {name} WHERE key IN (
                SELECT key FROM {name} WHERE expires_at <= ? ORDER BY expires_at
                LIMIT 10{dialect.skip})
        """
        self._trim = f"""
            DELETE FROM {name} WHERE key IN (
                SELECT key FROM {name} ORDER BY expires_at DESC
                LIMIT {2**62} OFFSET {ROWS_MOST}{dialect.skip})
        """

    async def get(self, key: str) -> object | None:
        values = (_hashed(key), self._dialect.codecs.moment.write(self._clock.now()))
        row = await self._access.ask(
            lambda c: self._dialect.execute(c, self._get, values).fetchone()
        )
        return None if row is None else orjson.loads(row[0])

    async def set(self, key: str, value: object, ttl: timedelta) -> None:
        now, codec = self._clock.now(), self._dialect.codecs.moment
        row = (_hashed(key), encoded_for_cache(key, value), codec.write(now + ttl))
        trims = next(self._writes) % _CHECK_EVERY == 0

        def work(connection: Connection) -> None:
            self._dialect.execute(connection, self._set, row)
            self._dialect.execute(connection, self._expire, (codec.write(now),))
            if trims:
                self._dialect.execute(connection, self._trim, ())

        await self._access.write(work)


def _hashed(key: str) -> bytes:
    return sha256(key.encode("utf-8", "surrogatepass")).digest()
