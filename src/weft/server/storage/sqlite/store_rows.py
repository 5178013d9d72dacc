"""The statements of the store, and what goes between rows and items."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import TypeAlias, cast

import orjson
from langgraph.store.base import InvalidNamespaceError, SearchItem

from weft.server.domain.items import Namespace
from weft.server.domain.json import JsonObject
from weft.server.storage.sqlite.rows import moment

COLUMNS = "namespace, key, value, created_at, updated_at, item_id, ttl_minutes"

ALIVE = "(expires_at IS NULL OR expires_at > :now)"

GET = f"""
    SELECT {COLUMNS} FROM store_items WHERE namespace = :namespace AND key = :key AND {ALIVE}
"""

BY_ID = f"SELECT {COLUMNS} FROM store_items WHERE item_id = ?"

# What has expired is no longer there: the item that comes in its place is new.
PUT = """
    INSERT INTO store_items (namespace, key, value, created_at, updated_at, ttl_minutes, expires_at)
    VALUES (:namespace, :key, :value, :now, :now, :ttl, :expires_at)
    ON CONFLICT DO UPDATE SET
        value = excluded.value, updated_at = excluded.updated_at,
        ttl_minutes = excluded.ttl_minutes, expires_at = excluded.expires_at,
        created_at = CASE WHEN expires_at <= :now THEN excluded.created_at ELSE created_at END
    RETURNING item_id
"""

DELETE = "DELETE FROM store_items WHERE namespace = ? AND key = ? RETURNING item_id"

DELETE_VECTORS = "DELETE FROM store_vectors WHERE item_id = ?"

INSERT_VECTOR = "INSERT INTO store_vectors (item_id, number, vector) VALUES (?, ?, ?)"

REFRESH = f"""
    UPDATE store_items SET expires_at = :now + CAST(ttl_minutes * 60000000 AS INTEGER)
    WHERE item_id = :item_id AND ttl_minutes IS NOT NULL AND {ALIVE}
"""

EXPIRED = """
    SELECT item_id FROM store_items WHERE expires_at <= ? ORDER BY expires_at LIMIT ?
"""

DELETE_BY_ID = "DELETE FROM store_items WHERE item_id = ?"

LATEST_FIRST = "ORDER BY updated_at DESC, namespace, key LIMIT :limit OFFSET :offset"

NAMESPACES = f"SELECT DISTINCT namespace FROM store_items WHERE {ALIVE}"

Row: TypeAlias = tuple[str, str, str, int, int, int, float | None]


def encoded_namespace(namespace: Sequence[object]) -> str:
    """Return the labels, each ended by a period.

    Raises:
        InvalidNamespaceError: a label is no text, empty, or contains a period.
    """
    for label in namespace:
        if not isinstance(label, str) or not label or "." in label:
            raise InvalidNamespaceError(
                f"Namespace label {label!r:.200} must be a non-empty string without periods."
            )
    return "".join(f"{label}." for label in namespace)


def decoded_namespace(text: str) -> Namespace:
    return tuple(text.split(".")[:-1])


def encoded_value(key: str, value: Mapping[str, object]) -> str:
    """Return the value of an item as JSON.

    Raises:
        TypeError: it has something that is no JSON.
    """
    try:
        return orjson.dumps(dict(value), option=orjson.OPT_NON_STR_KEYS).decode()
    except TypeError as error:
        raise TypeError(f"The value of the item '{key:.200}' is no JSON: {error}") from None


def item(row: Row, score: float | None = None) -> SearchItem:
    return SearchItem(
        namespace=decoded_namespace(row[0]),
        key=row[1],
        value=cast("JsonObject", orjson.loads(row[2])),
        created_at=moment(row[3]),
        updated_at=moment(row[4]),
        score=score,
    )


def matching(prefix: str, pattern: JsonObject | None, now: int) -> tuple[str, dict[str, object]]:
    """Return the condition that an item lives, fits a filter and is at or below a namespace."""
    conditions, values = [ALIVE], {"now": now}
    given: dict[str, object] = {}
    if prefix:
        conditions.append("namespace >= :low AND namespace < :high")
        given |= {"low": prefix, "high": f"{prefix[:-1]}/"}
    if pattern:
        conditions.append("item_matches(value, :filter)")
        given["filter"] = encoded_value("filter", pattern)
    return " AND ".join(conditions), given | values


def delete_item(connection: sqlite3.Connection, item_id: int) -> None:
    connection.execute(DELETE_BY_ID, (item_id,))
    connection.execute(DELETE_VECTORS, (item_id,))
