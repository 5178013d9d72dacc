"""Who may use a database at the same time."""

import asyncio
import logging

import psycopg
import pytest
from tests.postgres import new_schema
from tests.redis_server import until

from loomline.server.clock import SystemClock
from loomline.server.domain.errors import StorageUnavailable
from loomline.server.storage.postgres import PostgresStorage, Use
from loomline.server.storage.postgres.connection import parameters
from loomline.server.storage.postgres.occupancy import Occupancy

ALONE = Use(shared=False, patience_seconds=0.0)
SHARED = Use(shared=True, patience_seconds=0.0)


@pytest.fixture
def url():
    return new_schema()


@pytest.fixture
def occupy(url):
    """Take the database as another process would."""
    taken = []

    def occupy(use):
        occupancy = Occupancy(parameters(url), use)
        occupancy.take()
        taken.append(occupancy)
        return occupancy

    yield occupy
    for each in taken:
        each.close()


def test_one_alone_keeps_all_others_out(occupy):
    first = occupy(ALONE)
    with pytest.raises(StorageUnavailable, match="uses this database already"):
        occupy(ALONE)
    with pytest.raises(StorageUnavailable, match="has no Redis"):
        occupy(SHARED)
    first.close()
    occupy(SHARED)


def test_several_that_share_keep_one_out_that_does_not(occupy):
    occupy(SHARED)
    occupy(SHARED)
    with pytest.raises(StorageUnavailable):
        occupy(ALONE)


def test_one_who_is_going_is_waited_for(occupy):
    first = occupy(ALONE)
    waiting = Use(shared=False, patience_seconds=10.0)

    async def both():
        await asyncio.gather(asyncio.to_thread(occupy, waiting), asyncio.to_thread(first.close))

    asyncio.run(both())


def cut(url):
    """Cut the connections that hold the lock, as a restart of the database would."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'"
            " AND objsubid = 2 AND objid = (hashtext(current_schema())::bigint & 4294967295)::oid"
        )


def holders(url):
    with psycopg.connect(url, autocommit=True) as connection:
        return connection.execute(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted"
            " AND objsubid = 2 AND objid = (hashtext(current_schema())::bigint & 4294967295)::oid"
        ).fetchone()[0]


def test_a_lock_that_was_lost_is_taken_again(occupy, url):
    occupy(ALONE)
    cut(url)
    until(lambda: holders(url) == 1)
    with pytest.raises(StorageUnavailable):
        occupy(ALONE)


def test_lost_race_for_the_database_is_logged(occupy, url, caplog):
    occupy(ALONE)
    with caplog.at_level(logging.ERROR, "loomline.storage"):
        cut(url)
        second = occupy(Use(shared=False, patience_seconds=5.0))
        until(lambda: "uses this database already" in caplog.text)
        second.close()
        until(lambda: holders(url) == 1)
    assert caplog.text.count("uses this database already") == 1


async def test_storage_that_does_not_serve_takes_no_lock(occupy, url):
    occupy(ALONE)
    storage = PostgresStorage(url, clock=SystemClock(), connections=4)
    await storage.open()
    await storage.close()
    refused = PostgresStorage(url, clock=SystemClock(), connections=4, use=SHARED)
    with pytest.raises(StorageUnavailable):
        await refused.open()
    await refused.close()


async def test_clocks_that_differ_are_said(url, caplog):
    class Slow(SystemClock):
        def now(self):
            return super().now().replace(year=2025)

    storage = PostgresStorage(url, clock=Slow(), connections=4, use=SHARED)
    with caplog.at_level(logging.WARNING, "loomline.storage"):
        await storage.open()
        await storage.close()
    assert "clock of this machine" in caplog.text
