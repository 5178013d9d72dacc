"""Readers end when the database says so, whatever the log says."""

import asyncio

import pytest
from tests.redis_server import redis_server
from tests.support import StandingClock

from loomline.server.domain.errors import EventsLost, StorageUnavailable
from loomline.server.domain.events import START, Event
from loomline.server.domain.ids import uuid7
from loomline.server.domain.json import Encoded
from loomline.server.events.memory import MemoryEventLog
from loomline.server.events.redis import RedisEvents, RedisOptions
from loomline.server.services.run_watch import WatchedEvents


class Steps(StandingClock):
    """Lets whoever sleeps go on when the test says so."""

    def __init__(self):
        super().__init__()
        self.room = asyncio.Semaphore(0)
        self.asleep = asyncio.Event()

    async def sleep(self, seconds):
        self.asleep.set()
        await self.room.acquire()
        self.asleep.clear()

    async def pass_looks(self, count):
        for _ in range(count):
            await self.asleep.wait()
            self.room.release()
            await asyncio.sleep(0)
        await self.asleep.wait()


class Runs:
    """The one thing the watch asks a database."""

    def __init__(self):
        self.done = set()
        self.asked = []
        self.away = False

    async def over(self, run_ids):
        self.asked.append(list(run_ids))
        if self.away:
            raise StorageUnavailable("away")
        return self.done & set(run_ids)


class Storage:
    def __init__(self):
        self.runs = Runs()


@pytest.fixture
def clock():
    return Steps()


@pytest.fixture
def runs(storage):
    return storage.runs


@pytest.fixture
def storage():
    return Storage()


@pytest.fixture
async def watch(storage, clock):
    watched = WatchedEvents(MemoryEventLog(clock), storage, clock)
    watched.start()
    yield watched
    await watched.stop()


async def test_who_waits_for_the_end_is_sent_to_the_database(watch, runs, clock):
    run = uuid7()
    waiting = asyncio.create_task(watch.read(str(run), START).last())
    await clock.pass_looks(3)
    assert not waiting.done()
    assert watch.readers == 1
    runs.done.add(run)
    await clock.pass_looks(1)
    assert not waiting.done()
    await clock.pass_looks(1)
    with pytest.raises(EventsLost):
        await waiting
    assert watch.readers == 0
    asked = len(runs.asked)
    await clock.pass_looks(3)
    assert len(runs.asked) == asked


async def test_who_reads_events_gets_the_late_ones_and_then_the_end(watch, runs, clock):
    run = uuid7()
    reading = asyncio.create_task(_names(watch.read(str(run), START)))
    await asyncio.sleep(0)
    runs.done.add(run)
    await clock.pass_looks(5)
    await watch.append(str(run), [Event("late", Encoded(b"1"))])
    await clock.pass_looks(12)
    assert await reading == ["late"]


async def _names(reader):
    return [stored.event.name async for batch in reader for stored in batch]


async def test_a_database_that_is_away_ends_nothing(watch, runs, clock):
    run = uuid7()
    waiting = asyncio.create_task(watch.read(str(run), START).last())
    await asyncio.sleep(0)
    runs.away = True
    await clock.pass_looks(3)
    runs.away = False
    await watch.append(str(run), [Event("end", Encoded(b"1"))])
    await watch.close(str(run), 60)
    assert (await waiting).event.name == "end"


async def test_a_log_that_is_away_is_asked_again(tmp_path, storage, clock):
    with redis_server(tmp_path, keep_data=True) as server:
        events = RedisEvents(server.url, RedisOptions("loomline:"))
        await events.open()
        watch = WatchedEvents(events.log, storage, clock)
        run = str(uuid7())
        await watch.append(run, [Event("begin", Encoded(b"1"))])
        await watch.flush(run)
        await asyncio.to_thread(server.kill)
        waiting = asyncio.create_task(watch.read(run, START).last())
        await watch.append(run, [Event("middle", Encoded(b"1"))])
        assert not await watch.flush(run)
        await asyncio.to_thread(server.start)
        await watch.append(run, [Event("end", Encoded(b"1"))])
        await watch.close(run, 60)
        assert (await waiting).event.name == "end"
        assert watch.readers == 0
        await events.aclose()


async def test_other_streams_are_not_watched(watch, runs, clock):
    reading = asyncio.create_task(_names(watch.read("something else", START)))
    await clock.pass_looks(2)
    assert (watch.readers, any(runs.asked)) == (0, False)
    await watch.discard("something else")
    assert await reading == []
    await watch.reopen("something else")
    assert await watch.flush("something else")
