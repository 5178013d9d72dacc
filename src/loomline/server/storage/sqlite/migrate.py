"""Brings the schema up to date: numbered scripts, each in a transaction of its own."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Final

from loomline.server.domain.errors import StorageUnavailable
from loomline.server.storage.migrations import due, read_scripts

APPLICATION_ID: Final = 0x4C4F4F4D
"""The number by which a file says that it is a database of Loomline."""

_PACKAGE: Final = "loomline.server.storage.sqlite"

_CONDITION: Final = "-- Only where this finds nothing: "

_FIRST_TABLES: Final = frozenset({"assistants", "threads", "thread_values"})


def look_at_owner(path: Path) -> None:
    """Make sure that the database is empty or has been made by Loomline.

    The connection is one of its own, as the usual one changes the settings of the file.

    Raises:
        StorageUnavailable: another program has made the database.
        sqlite3.Error: it cannot be read.
    """
    with closing(sqlite3.connect(path)) as connection:
        (owner,) = connection.execute("PRAGMA application_id").fetchone()
        names = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema")}
    # The first databases of Loomline have no number.
    if owner == APPLICATION_ID or (owner == 0 and (not names or names >= _FIRST_TABLES)):
        return
    raise StorageUnavailable(
        f"The file '{path}' is a database of another program. Choose another --data-dir."
    )


def look_at_version(connection: sqlite3.Connection) -> None:
    """Make sure that the database has exactly the scripts that are known here.

    Raises:
        StorageUnavailable: it has not.
    """
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version != read_scripts(_PACKAGE)[-1].number:
        raise StorageUnavailable(
            "The data directory was last used by another version of Loomline. Use the version that"
            " its server has."
        )


def migrate(connection: sqlite3.Connection) -> None:
    """Apply the scripts that the database does not have yet.

    ``user_version`` holds the number of the last one, and is part of its transaction.

    Raises:
        StorageUnavailable: a newer version of Loomline has been here.
    """
    scripts = read_scripts(_PACKAGE)
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    found = due(scripts, version, database="data directory", option="--data-dir")
    (owner,) = connection.execute("PRAGMA application_id").fetchone()
    if owner != APPLICATION_ID:
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID:d}")
    for script in found:
        connection.execute("BEGIN IMMEDIATE")
        (done,) = connection.execute("PRAGMA user_version").fetchone()
        if script.number > done:
            for statement in _statements(script.text) if _applies(connection, script.text) else ():
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {script.number:d}")
        connection.execute("COMMIT")


def _applies(connection: sqlite3.Connection, script: str) -> bool:
    """Return whether to execute a script. The first line of some names a query that finds nothing.

    SQLite has no statement that changes a table under a condition.
    """
    first, _, _ = script.partition("\n")
    if not first.startswith(_CONDITION):
        return True
    query = first.removeprefix(_CONDITION)
    (found,) = connection.execute(f"SELECT EXISTS ({query})").fetchone()
    return not found


def _statements(script: str) -> Iterable[str]:
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
