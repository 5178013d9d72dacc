"""Brings the schema up to date: numbered scripts, all of them in one transaction."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from loomline.server.domain.errors import StorageUnavailable
from loomline.server.storage.migrations import due, read_scripts
from loomline.server.storage.postgres.connection import Connection

logger: logging.Logger = logging.getLogger("loomline.storage")

_PACKAGE: Final = "loomline.server.storage.postgres"

# Any number that nobody else in the database uses for its locks.
_LOCK = 0x77656674

_OLDEST = 14_00_00

_LAYOUT = 9
"""The last migration of the stock checkpoint tables that is known here."""

_DONE = "INSERT INTO loomline_migrations (version) VALUES (%s)"


def migrate(connection: Connection) -> None:
    """Apply the scripts that the database does not have yet; who comes second waits.

    Raises:
        StorageUnavailable: the server is too old, or a newer version of Loomline has been here.
    """
    if connection.info.server_version < _OLDEST:
        raise StorageUnavailable("The database server is older than PostgreSQL 14. Upgrade it.")
    scripts = read_scripts(_PACKAGE)
    with exclusive(connection):
        version = _version(connection)
        for script in due(scripts, version, database="database", option="--database-url"):
            connection.execute(script.text.encode())
            connection.execute(_DONE, (script.number,))
        _look_at_layout(connection)


@contextmanager
def exclusive(connection: Connection) -> Iterator[None]:
    """Open a transaction that changes the schema, one at a time."""
    with connection.transaction():
        connection.execute("SET LOCAL statement_timeout = 0")
        connection.execute("SET LOCAL lock_timeout = 0")
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        yield


def _version(connection: Connection) -> int:
    row = connection.execute("SELECT to_regclass('loomline_migrations') IS NOT NULL").fetchone()
    if row is None or not row[0]:
        connection.execute(
            "CREATE TABLE loomline_migrations ("
            " version integer PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())"
        )
    found = connection.execute(
        "SELECT coalesce(max(version), 0) FROM loomline_migrations"
    ).fetchone()
    assert found is not None
    version: int = found[0]
    return version


def _look_at_layout(connection: Connection) -> None:
    row = connection.execute("SELECT max(v) FROM checkpoint_migrations").fetchone()
    if row is not None and row[0] > _LAYOUT:
        logger.warning("the checkpoint tables were changed by a newer version of langgraph")
