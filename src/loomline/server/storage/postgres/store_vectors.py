"""The vectors of items, in pgvector's type, which may be there or not."""

from __future__ import annotations

import psycopg
from psycopg.sql import Identifier

from loomline.server.domain.errors import StorageUnavailable
from loomline.server.ports.store import IndexOptions
from loomline.server.storage.postgres.connection import Connection
from loomline.server.storage.postgres.migrate import exclusive

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
