"""Brings the schema up to date: numbered scripts, each in a transaction of its own."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from importlib.resources import files

from loomline.server.domain.errors import StorageUnavailable


def look_at_version(connection: sqlite3.Connection) -> None:
    """Make sure that the database has exactly the scripts that are known here.

    Raises:
        StorageUnavailable: it has not.
    """
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version != len(_scripts()):
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
    scripts = _scripts()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > len(scripts):
        raise StorageUnavailable(
            "The data directory was last used by a newer version of Loomline. Upgrade Loomline, or"
            " start with another --data-dir."
        )
    for number, script in scripts:
        connection.execute("BEGIN IMMEDIATE")
        (done,) = connection.execute("PRAGMA user_version").fetchone()
        if number > done:
            for statement in _statements(script):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {number:d}")
        connection.execute("COMMIT")


def _scripts() -> list[tuple[int, str]]:
    folder = files("loomline.server.storage.sqlite").joinpath("migrations")
    return sorted(
        (int(script.name.partition("_")[0]), script.read_text(encoding="utf-8"))
        for script in folder.iterdir()
        if script.name.endswith(".sql")
    )


def _statements(script: str) -> Iterable[str]:
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
