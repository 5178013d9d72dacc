"""Items of the store as rows."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

import orjson

from loomline.server.ports.store import IndexOptions
from loomline.server.storage.items import (
    FoundItem,
    ItemPut,
    ItemSearch,
    StoredItem,
    end_of,
    item_record,
)
from loomline.server.storage.records import NUMBER, Rows
from loomline.server.storage.sqlite.dialect import CODECS
from loomline.server.storage.sqlite.rows import micros
from loomline.server.storage.sqlite.similarity import packed

ITEMS: Final[Rows[StoredItem[int]]] = Rows(item_record(NUMBER), CODECS)
COLUMNS: Final[str] = ", ".join(ITEMS.columns)

ALIVE = "(expires_at IS NULL OR expires_at > :now)"

LATEST_FIRST = "ORDER BY updated_at DESC, namespace, key LIMIT :limit OFFSET :offset"

_GET = f"""
    SELECT {COLUMNS} FROM store_items WHERE namespace = :namespace AND key = :key AND {ALIVE}
"""
# What has expired is no longer there: the item that comes in its place is new.
_PUT = """
    INSERT INTO store_items (namespace, key, value, created_at, updated_at, ttl_minutes, expires_at)
    VALUES (:namespace, :key, :value, :now, :now, :ttl, :expires_at)
    ON CONFLICT DO UPDATE SET
        value = excluded.value, updated_at = excluded.updated_at,
        ttl_minutes = excluded.ttl_minutes, expires_at = excluded.expires_at,
        created_at = CASE WHEN expires_at <= :now THEN excluded.created_at ELSE created_at END
    RETURNING item_id
"""
_DELETE = "DELETE FROM store_items WHERE namespace = ? AND key = ? RETURNING item_id"
_DELETE_BY_ID = "DELETE FROM store_items WHERE item_id = ?"
_DELETE_VECTORS = "DELETE FROM store_vectors WHERE item_id = ?"
_INSERT_VECTOR = "INSERT INTO store_vectors (item_id, number, vector) VALUES (?, ?, ?)"
_REFRESH = f"""
    UPDATE store_items SET expires_at = :now + CAST(ttl_minutes * 60000000 AS INTEGER)
    WHERE item_id = :item_id AND ttl_minutes IS NOT NULL AND {ALIVE}
"""
_EXPIRED = """
    SELECT item_id FROM store_items WHERE expires_at <= ? ORDER BY expires_at LIMIT ?
"""


class StoreRows:
    """The acts on items, as ``ItemStatements``, but for those that find many."""

    def __init__(self, index: IndexOptions | None) -> None:
        self._index = index

    def vector(self, numbers: Sequence[float]) -> bytes:
        assert self._index is not None
        return packed(numbers, self._index.dims)

    def get(
        self, connection: sqlite3.Connection, namespace: str, key: str, now: datetime
    ) -> FoundItem[int] | None:
        values = {"namespace": namespace, "key": key, "now": micros(now)}
        row = connection.execute(_GET, values).fetchone()
        return None if row is None else ITEMS.record(row).found()

    def put(self, connection: sqlite3.Connection, put: ItemPut[bytes]) -> None:
        values = {
            "namespace": put.namespace,
            "key": put.key,
            "value": put.value.decode(),
            "now": micros(put.now),
            "ttl": put.ttl_minutes,
            "expires_at": None if put.expires_at is None else micros(put.expires_at),
        }
        (item_id,) = connection.execute(_PUT, values).fetchone()
        connection.execute(_DELETE_VECTORS, (item_id,))
        rows = [(item_id, number, vector) for number, vector in enumerate(put.vectors)]
        connection.executemany(_INSERT_VECTOR, rows)

    def delete(self, connection: sqlite3.Connection, namespace: str, key: str) -> None:
        for item_id in connection.execute(_DELETE, (namespace, key)).fetchall():
            connection.execute(_DELETE_VECTORS, item_id)

    def refresh(
        self, connection: sqlite3.Connection, item_ids: Sequence[int], now: datetime
    ) -> None:
        rows = [{"item_id": item_id, "now": micros(now)} for item_id in item_ids]
        connection.executemany(_REFRESH, rows)

    def expire(self, connection: sqlite3.Connection, now: datetime, limit: int) -> int:
        expired = connection.execute(_EXPIRED, (micros(now), limit)).fetchall()
        for item_id in expired:
            connection.execute(_DELETE_BY_ID, item_id)
            connection.execute(_DELETE_VECTORS, item_id)
        return len(expired)

    def namespaces(
        self, connection: sqlite3.Connection, prefix: str, now: datetime
    ) -> Iterable[str]:
        condition, values = _below(prefix, now)
        statement = f"SELECT DISTINCT namespace FROM store_items WHERE {condition}"
        return (namespace for (namespace,) in connection.execute(statement, values))


def matching(search: ItemSearch[bytes]) -> tuple[str, dict[str, object]]:
    """Return the condition that an item lives, fits a filter and is at or below a namespace."""
    condition, values = _below(search.prefix, search.now)
    if not search.pattern:
        return condition, values
    values["filter"] = orjson.dumps(search.pattern).decode()
    return f"{condition} AND item_matches(value, :filter)", values


def _below(prefix: str, now: datetime) -> tuple[str, dict[str, object]]:
    values: dict[str, object] = {"now": micros(now)}
    if not prefix:
        return ALIVE, values
    values |= {"low": prefix, "high": end_of(prefix)}
    return f"{ALIVE} AND namespace >= :low AND namespace < :high", values
