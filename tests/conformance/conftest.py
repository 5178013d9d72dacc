"""What the suites run on. Another driver is another entry of ``DATABASES`` or ``EVENTS``."""

import sqlite3
from contextlib import closing

import psycopg
import pytest
import redis
from tests.conformance.old_rows import age_postgres, age_sqlite
from tests.postgres import borrow_schema, return_schema
from tests.redis_server import new_prefix, shared_redis
from tests.support import StandingClock, open_encrypted, open_postgres, open_storage

from loomline.server.events.memory import Bounds, MemoryEventLog
from loomline.server.events.redis import RedisEvents, RedisOptions
from loomline.server.events.signals import MemorySignals


def pytest_collection_modifyitems(config, items):
    """Repeat with encryption only the tests of what is encrypted."""

    def repeated(item):
        call = getattr(item, "callspec", None)
        encrypted = call is not None and call.params.get("database") == "encrypted"
        return encrypted and item.get_closest_marker("unsealed") is not None

    left = [item for item in items if repeated(item)]
    config.hook.pytest_deselected(items=left)
    items[:] = [item for item in items if not repeated(item)]


class SqliteDatabase:
    """An empty database, and a look into it from outside."""

    def __init__(self, folder):
        self._folder = folder

    def open(self, clock=None, store=None):
        return open_storage(self._folder, clock, store)

    def close(self):
        pass

    def execute(self, statement):
        """Change the database from outside."""
        with closing(sqlite3.connect(self._folder / "loomline.db")) as connection, connection:
            connection.execute(statement)

    def age(self):
        """Make the rows of checkpoints those of an older version."""
        age_sqlite(self._folder / "loomline.db")

    def rows(self):
        """Count the rows of every table."""
        with closing(sqlite3.connect(self._folder / "loomline.db")) as connection:
            tables = connection.execute(
                "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
            )
            return {
                name: connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0]
                for (name,) in tables.fetchall()
            }


class EncryptedDatabase(SqliteDatabase):
    """The same, encrypted: nobody notices."""

    def open(self, clock=None, store=None):
        return open_encrypted(self._folder, clock, store)


class PostgresDatabase:
    """A schema of its own."""

    def __init__(self, _folder):
        self._url = borrow_schema()
        self._statement = None

    def close(self):
        return_schema(self._url)

    def open(self, clock=None, store=None):
        # Tables that are made for vectors are counted as well.
        self._statement = None
        return open_postgres(self._url, clock, store=store)

    def execute(self, statement):
        with psycopg.connect(self._url, autocommit=True) as connection:
            connection.execute(statement)

    def age(self):
        age_postgres(self._url)

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
                f"SELECT '{name.removeprefix('loomline_')}', count(*) FROM {name}"
                for (name,) in tables.fetchall()
            )
        return self._statement


DATABASES = {
    "sqlite": SqliteDatabase,
    "encrypted": EncryptedDatabase,
    "postgres": PostgresDatabase,
}


@pytest.fixture(params=DATABASES)
def database(request, tmp_path):
    made = DATABASES[request.param](tmp_path)
    yield made
    made.close()


@pytest.fixture
def clock():
    return StandingClock()


@pytest.fixture
async def storage(database, clock):
    async with database.open(clock) as opened:
        yield opened


class MemoryEvents:
    """Event logs and signals of one process, and the time they live in."""

    def __init__(self, _url):
        self._clock = StandingClock()

    async def log(self, **bounds):
        return MemoryEventLog(self._clock, Bounds(**bounds))

    async def signals(self):
        return MemorySignals()

    def pass_time(self, seconds):
        self._clock.move(seconds)

    def set_clock_back(self, seconds):
        self._clock.move(-seconds)

    async def aclose(self):
        pass


class RedisEventsOfTest:
    """The same on a Redis server. Its time cannot be moved, but what it has planned can be."""

    def __init__(self, url):
        self._url = url
        self._prefix = new_prefix()
        self._client = redis.Redis.from_url(url)
        self._opened = []

    async def _open(self, **bounds):
        events = RedisEvents(self._url, RedisOptions(prefix=self._prefix, **bounds))
        await events.open()
        self._opened.append(events)
        return events

    async def log(self, **bounds):
        return (await self._open(**bounds)).log

    async def signals(self):
        return (await self._open()).signals

    def pass_time(self, seconds):
        for key in self._keys():
            rest = self._client.pttl(key)
            if rest >= 0:
                self._client.pexpire(key, rest - int(seconds * 1000))

    def set_clock_back(self, seconds):
        """Let the last id be one of later: to the log that is the same."""
        milliseconds, _ = self._client.hget(f"{self._prefix}clock", "id").split(b"-")
        later = f"{int(milliseconds) + int(seconds * 1000)}-0"
        self._client.hset(f"{self._prefix}clock", "id", later)

    def _keys(self):
        return list(self._client.scan_iter(f"{self._prefix}*", count=1000))

    async def aclose(self):
        for events in self._opened:
            await events.aclose()
        if keys := self._keys():
            self._client.delete(*keys)
        self._client.close()


EVENTS = {"memory": MemoryEvents, "redis": RedisEventsOfTest}


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory):
    with shared_redis(tmp_path_factory.mktemp("redis")) as url:
        yield url


@pytest.fixture(params=EVENTS)
async def world(request):
    """Where events and signals live."""
    url = request.getfixturevalue("redis_url") if request.param == "redis" else None
    world = EVENTS[request.param](url)
    yield world
    await world.aclose()
