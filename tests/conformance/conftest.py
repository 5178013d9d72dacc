"""The databases that the suites run on. Another driver is another entry of ``DATABASES``."""

import sqlite3
from contextlib import closing

import pytest
from tests.support import StandingClock, open_storage


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


DATABASES = {"sqlite": SqliteDatabase}


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
