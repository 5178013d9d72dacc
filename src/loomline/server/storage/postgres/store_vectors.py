"""The vectors of items, in pgvector's type, which may be there or not."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import psycopg
from psycopg.sql import Identifier

from loomline.server.domain.errors import StorageUnavailable
from loomline.server.ports.store import IndexOptions
from loomline.server.storage.indexing import unit
from loomline.server.storage.item_tables import COLUMNS, ItemRow
from loomline.server.storage.items import FoundItem, ItemSearch
from loomline.server.storage.postgres.connection import Connection
from loomline.server.storage.postgres.dialect import DIALECT
from loomline.server.storage.postgres.migrate import exclusive
from loomline.server.storage.tables import Where

_MOST_DIMS = 16_000

_SCHEMA = """
    SELECT n.nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
    WHERE e.extname = 'vector'
"""
_TABLE = "SELECT to_regclass('loomline_store_vectors') IS NOT NULL"

# One for each text that an item is found by, of length one. "dims" tells those that are left from
# another configuration.
_CREATE = """
    CREATE TABLE IF NOT EXISTS loomline_store_vectors (
        item_id uuid    NOT NULL REFERENCES loomline_store_items ON DELETE CASCADE,
        number  integer NOT NULL,
        dims    integer NOT NULL,
        vector  {}      NOT NULL,
        PRIMARY KEY (item_id, number)
    )
"""
_DELETE = "DELETE FROM loomline_store_vectors WHERE item_id = %s"
_INSERT = """
    INSERT INTO loomline_store_vectors (item_id, number, dims, vector)
    SELECT %s, g.number - 1, {schema}.vector_dims(g.vector), g.vector
    FROM unnest(%s::{schema}.vector[]) WITH ORDINALITY g (vector, number)
"""
# Items without vectors come last, in the order of a search without a query.
_NEAREST = f"""
    SELECT {COLUMNS}, b.score FROM loomline_store_items i
    CROSS JOIN LATERAL (
        SELECT max(-(v.vector OPERATOR({{schema}}.<#>) ?::{{schema}}.vector)) AS score
        FROM loomline_store_vectors v WHERE v.item_id = i.item_id AND v.dims = ?) b
"""
_NEAREST_FIRST = """
    ORDER BY b.score DESC NULLS LAST, CASE WHEN b.score IS NULL THEN i.updated_at END DESC,
             i.namespace, i.key
    LIMIT ? OFFSET ?
"""


class PostgresVectors:
    """``ItemVectors`` in pgvector's type.

    ``schema`` is the schema that has pgvector; None: the database has no vectors.
    """

    def __init__(self, index: IndexOptions | None, schema: str | None) -> None:
        self._dims = 0 if index is None else index.dims
        self._schema = schema

    def vector(self, numbers: Sequence[float]) -> str:
        return f"[{','.join(map(repr, unit(numbers, self._dims)))}]"

    def replace(self, connection: Connection, item_id: UUID, vectors: Sequence[str]) -> None:
        if self._schema is None:
            return
        self.delete(connection, [item_id])
        if vectors:
            statement = _INSERT.format(schema=self._schema)
            connection.execute(statement, (item_id, list(vectors)))

    def delete(self, connection: Connection, item_ids: Sequence[UUID]) -> None:
        for item_id in item_ids:
            connection.execute(_DELETE, (item_id,))

    def nearest(
        self, connection: Connection, search: ItemSearch[str], query: str, where: Where
    ) -> list[FoundItem[UUID]]:
        head = _NEAREST.format(schema=self._schema)
        values = (query, self._dims, *where.values, search.limit, search.offset)
        statement = f"{head}{where.clause()}{_NEAREST_FIRST}"
        rows = DIALECT.execute(connection, statement, values).fetchall()
        return [ItemRow(*row).found(DIALECT.codecs) for row in rows]


def open_vectors(connection: Connection, index: IndexOptions | None) -> str | None:
    """Prepare the database for vectors if they are wanted.

    Returns:
        The quoted schema that has pgvector; None: there are no vectors.

    Raises:
        StorageUnavailable: they are wanted, and pgvector is not there or too small for them.
    """
    if index is None:
        return _schema(connection) if _has_table(connection) else None
    if index.dims > _MOST_DIMS:
        raise StorageUnavailable(
            f"PostgreSQL stores vectors of {_MOST_DIMS} numbers at most, and 'store.index.dims'"
            f" is {index.dims}. Choose embeddings with fewer."
        )
    with exclusive(connection):
        schema = _schema(connection) or _created(connection)
        connection.execute(_CREATE.format(f"{schema}.vector"))
    return schema


def _schema(connection: Connection) -> str | None:
    row = connection.execute(_SCHEMA).fetchone()
    return None if row is None else Identifier(row[0]).as_string(connection)


def _has_table(connection: Connection) -> bool:
    row = connection.execute(_TABLE).fetchone()
    return row is not None and row[0]


def _created(connection: Connection) -> str:
    # In a schema that all others can share: a database has an extension only once.
    public = connection.execute("SELECT to_regnamespace('public') IS NOT NULL").fetchone()
    place = "SCHEMA public" if public is not None and public[0] else ""
    try:
        connection.execute(f"CREATE EXTENSION vector {place}")
    except psycopg.DatabaseError as error:
        raise StorageUnavailable(
            "The store is to find items by meaning ('store.index'), which needs the extension"
            " pgvector in the database. Install it and let an administrator of the database execute"
            " CREATE EXTENSION vector, or remove 'store.index' from the configuration."
        ) from error
    schema = _schema(connection)
    assert schema is not None
    return schema
