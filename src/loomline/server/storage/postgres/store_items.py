"""Items of the store in PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from hashlib import blake2b
from uuid import UUID

from loomline.server.ports.store import IndexOptions
from loomline.server.storage.indexing import unit
from loomline.server.storage.items import (
    FoundItem,
    ItemPut,
    ItemSearch,
    end_of,
    item_record,
)
from loomline.server.storage.postgres.connection import Connection
from loomline.server.storage.postgres.dialect import CODECS
from loomline.server.storage.postgres.rows import plain, searchable
from loomline.server.storage.postgres.store_filters import Filter
from loomline.server.storage.records import ID, Rows

_ITEMS = Rows(item_record(ID), CODECS)
_COLUMNS = ", ".join(f"i.{column}" for column in _ITEMS.columns)

_ALIVE = "(i.expires_at IS NULL OR i.expires_at > %(now)s)"

_GET = f"SELECT {_COLUMNS} FROM loomline_store_items i WHERE i.item_id = %(id)s AND {_ALIVE}"

# What has expired is no longer there: the item that comes in its place is new.
_PUT = """
    INSERT INTO loomline_store_items AS i
        (item_id, namespace, key, value, created_at, updated_at, ttl_minutes, expires_at)
    VALUES (%(id)s, %(namespace)s, %(key)s, %(value)s, %(now)s, %(now)s, %(ttl)s, %(expires_at)s)
    ON CONFLICT (item_id) DO UPDATE SET
        value = excluded.value, updated_at = excluded.updated_at,
        ttl_minutes = excluded.ttl_minutes, expires_at = excluded.expires_at,
        created_at = CASE WHEN i.expires_at <= %(now)s THEN excluded.created_at
                          ELSE i.created_at END
"""
_DELETE = "DELETE FROM loomline_store_items WHERE item_id = %s"
_DELETE_VECTORS = "DELETE FROM loomline_store_vectors WHERE item_id = %s"
_INSERT_VECTORS = """
    INSERT INTO loomline_store_vectors (item_id, number, dims, vector)
    SELECT %s, g.number - 1, {schema}.vector_dims(g.vector), g.vector
    FROM unnest(%s::{schema}.vector[]) WITH ORDINALITY g (vector, number)
"""
_REFRESH = f"""
    UPDATE loomline_store_items i SET expires_at = %(now)s + i.ttl_minutes * interval '1 minute'
    WHERE i.item_id = ANY(%(ids)s) AND i.ttl_minutes IS NOT NULL AND {_ALIVE}
"""
# What another process is about to write or to delete is passed over.
_EXPIRE = """
    DELETE FROM loomline_store_items WHERE item_id IN (
        SELECT item_id FROM loomline_store_items WHERE expires_at <= %s
        ORDER BY expires_at LIMIT %s FOR UPDATE SKIP LOCKED)
    RETURNING 1
"""
_BELOW = """
    left(i.namespace, 500) BETWEEN left(%(low)s, 500) AND left(%(high)s, 500)
    AND i.namespace >= %(low)s AND i.namespace < %(high)s
"""
_NAMESPACES = "SELECT DISTINCT i.namespace FROM loomline_store_items i WHERE {}"
_LATEST = f"""
    SELECT {_COLUMNS}, NULL FROM loomline_store_items i WHERE {{condition}}
    ORDER BY i.updated_at DESC, i.namespace, i.key LIMIT %(limit)s OFFSET %(offset)s
"""
# Those without vectors come last, as if there was no query.
_NEAREST = f"""
    SELECT {_COLUMNS}, b.score FROM loomline_store_items i
    CROSS JOIN LATERAL (
        SELECT max(-(v.vector OPERATOR({{schema}}.<#>) %(query)s::{{schema}}.vector)) AS score
        FROM loomline_store_vectors v WHERE v.item_id = i.item_id AND v.dims = %(dims)s) b
    WHERE {{condition}}
    ORDER BY b.score DESC NULLS LAST, CASE WHEN b.score IS NULL THEN i.updated_at END DESC,
             i.namespace, i.key
    LIMIT %(limit)s OFFSET %(offset)s
"""


class PostgresItems:
    """The acts on items, as ``ItemStatements``.

    ``schema`` is where pgvector is; None: the database has no vectors.
    """

    def __init__(self, index: IndexOptions | None, schema: str | None) -> None:
        self._dims = 0 if index is None else index.dims
        self._schema = schema

    def vector(self, numbers: Sequence[float]) -> str:
        return f"[{','.join(map(repr, unit(numbers, self._dims)))}]"

    def get(
        self, connection: Connection, namespace: str, key: str, now: datetime
    ) -> FoundItem[UUID] | None:
        values = {"id": _item_id(namespace, key), "now": now}
        row = connection.execute(_GET, values).fetchone()
        return None if row is None else _ITEMS.record(row).found()

    def search(self, connection: Connection, search: ItemSearch[str]) -> list[FoundItem[UUID]]:
        below, values = _below(search.prefix, search.now)
        filters = Filter(search.pattern)
        values |= {**filters.parameters, "limit": search.limit, "offset": search.offset}
        values |= {"query": search.query, "dims": self._dims}
        statement = _LATEST if search.query is None else _NEAREST
        condition = f"{below} AND {filters.condition}" if search.pattern else below
        completed = statement.format(schema=self._schema, condition=condition)
        rows = connection.execute(completed, values)
        return [_ITEMS.record(row).found(score) for *row, score in rows]

    def namespaces(self, connection: Connection, prefix: str, now: datetime) -> Iterable[str]:
        condition, values = _below(prefix, now)
        rows = connection.execute(_NAMESPACES.format(condition), values)
        return (namespace for (namespace,) in rows)

    def put(self, connection: Connection, put: ItemPut[str]) -> None:
        item_id = _item_id(put.namespace, put.key)
        values = {
            "id": item_id,
            "namespace": plain(put.namespace),
            "key": plain(put.key),
            "value": searchable(put.value).decode(),
            "now": put.now,
            "ttl": put.ttl_minutes,
            "expires_at": put.expires_at,
        }
        connection.execute(_PUT, values)
        if self._schema is not None:
            connection.execute(_DELETE_VECTORS, (item_id,))
        if put.vectors:
            statement = _INSERT_VECTORS.format(schema=self._schema)
            connection.execute(statement, (item_id, list(put.vectors)))

    def delete(self, connection: Connection, namespace: str, key: str) -> None:
        connection.execute(_DELETE, (_item_id(namespace, key),))

    def refresh(self, connection: Connection, item_ids: Sequence[UUID], now: datetime) -> None:
        connection.execute(_REFRESH, {"ids": list(item_ids), "now": now})

    def expire(self, connection: Connection, now: datetime, limit: int) -> int:
        return len(connection.execute(_EXPIRE, (now, limit)).fetchall())


def _item_id(namespace: str, key: str) -> UUID:
    place = f"{len(namespace)}:{namespace}{key}".encode("utf-8", "surrogatepass")
    return UUID(bytes=blake2b(place, digest_size=16).digest())


def _below(prefix: str, now: datetime) -> tuple[str, dict[str, object]]:
    values: dict[str, object] = {"now": now}
    if not prefix:
        return _ALIVE, values
    low = plain(prefix)
    return f"{_ALIVE} AND {_BELOW}", values | {"low": low, "high": end_of(low)}
