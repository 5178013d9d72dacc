"""Keys of requests in SQLite."""

from __future__ import annotations

import sqlite3
from typing import Final

from loomline.server.storage.idempotency import Keys
from loomline.server.storage.sqlite.dialect import DIALECT
from loomline.server.storage.sqlite.rows import moment

_KEYS: Final = Keys(DIALECT)

claim_key = _KEYS.claim


def forget_keys(connection: sqlite3.Connection, before: int, limit: int) -> int:
    return _KEYS.forget(connection, moment(before), limit).rowcount
