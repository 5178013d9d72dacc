"""The databases that the suites run on. Another driver is another entry of ``DATABASES``."""

import sqlite3
from contextlib import closing

import psycopg
import pytest
from tests.postgres import new_schema
from tests.support import StandingClock, open_postgres, open_storage


class SqliteDatabase:
    """An empty database, and a look into it from outside."""

    def __init__(self, folder):
        self._folder = folder

    def open(self, clock=None, store=None):
        return open_storage(self._folder, clock, store)

    def rows(self):
        """Count the rows of every table."""
        with closing(sqlite3.connect(self._folder / "weft.db")) as connection:
            tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            return {
                name: connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0]
                for (name,) in tables.fetchall()
            }


class PostgresDatabase:
    """A schema of its own."""

    def __init__(self, _folder):
        self._url = new_schema()
        self._statement = None

    def open(self, clock=None, store=None):
        # Tables that are made for vectors are counted as well.
        self._statement = None
        return open_postgres(self._url, clock, store=store)

    def rows(self):
        with psycopg.connect(self._url, autocommit=True) as connection:
            return dict(connection.execute(self._counts(connection)).fetchall())

    def _counts(self, connection):
        if self._statement is None:
            tables = connection.execute(
                "SELECT relname FROM pg_class"
                " WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace"
            )
            self._statement = " UNION ALL ".join(
                f"SELECT '{name.removeprefix('weft_')}', count(*) FROM {name}"
                for (name,) in tables.fetchall()
            )
        return self._statement


DATABASES = {"sqlite": SqliteDatabase, "postgres": PostgresDatabase}


@pytest.fixture(params=DATABASES)
def database(request, tmp_path):
    return DATABASES[request.param](tmp_path)


@pytest.fixture
def clock():
    return StandingClock()


@pytest.fixture
async def storage(database, clock):
    async with database.open(clock) as opened:
        yield opened
