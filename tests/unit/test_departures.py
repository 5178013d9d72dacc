"""Clients that leave while the database is away."""

import asyncio
from types import SimpleNamespace

import pytest
from tests.support import new_run, new_thread, open_storage

from loomline.server.authz.authorizer import Authorizer
from loomline.server.authz.users import SERVER
from loomline.server.clock import SystemClock
from loomline.server.domain.errors import StorageUnavailable
from loomline.server.events.memory import MemoryEventLog
from loomline.server.events.signals import MemorySignals
from loomline.server.services.departures import Departures
from loomline.server.services.runs import RunService


class Tide:
    """Runs of a database that is away, or hangs, for some time."""

    def __init__(self, runs):
        self._runs = runs
        self.away = True
        self.hangs = False
        self.asked = asyncio.Semaphore(0)

    def __getattr__(self, name):
        return getattr(self._runs, name)

    async def cancel(self, *args, **options):
        self.asked.release()
        if self.hangs:
            await asyncio.Event().wait()
        if self.away:
            raise StorageUnavailable("It is away.")
        return await self._runs.cancel(*args, **options)


class QuickClock(SystemClock):
    async def sleep(self, seconds):
        await asyncio.sleep(seconds / 1000)


@pytest.fixture
async def world(tmp_path):
    async with open_storage(tmp_path) as storage:
        clock, tide = QuickClock(), Tide(storage.runs)
        runs = RunService(
            storage=SimpleNamespace(runs=tide),
            events=MemoryEventLog(clock),
            signals=MemorySignals(),
            assistants=None,
            clock=clock,
            authz=Authorizer(),
            admission=None,
        )
        yield SimpleNamespace(storage=storage, tide=tide, departures=Departures(runs, clock))


async def some_run(world):
    thread = (await world.storage.threads.create(new_thread())).thread_id
    run = (await world.storage.runs.create(new_run(thread))).run
    return thread, run.run_id


async def leave(world, thread, run_id):
    await world.departures.leave(SERVER, thread, run_id, reason="left")


async def status(world, run_id):
    return (await world.storage.runs.get(None, run_id)).status


@pytest.mark.parametrize("named", [True, False])
async def test_it_is_said_when_the_database_is_back(world, named):
    places = [await some_run(world) for _ in range(3)]
    world.departures.start()
    for thread, run_id in places:
        await leave(world, thread if named else None, run_id)
    for _ in range(10):
        await world.tide.asked.acquire()
    assert {await status(world, run_id) for _, run_id in places} == {"pending"}
    world.tide.away = False
    async with asyncio.timeout(150):
        while {await status(world, run_id) for _, run_id in places} != {"interrupted"}:
            await asyncio.sleep(0.005)
    await world.departures.stop()


async def test_it_is_tried_once_more_at_the_end(world):
    thread, run_id = await some_run(world)
    await leave(world, thread, run_id)
    world.tide.away = False
    await world.departures.stop()
    assert await status(world, run_id) == "interrupted"


async def test_a_database_that_stays_away_does_not_hold_up_the_end(world, caplog):
    for _ in range(3):
        await leave(world, *await some_run(world))
    async with asyncio.timeout(150):
        await world.departures.stop()
    assert "runs go on although their clients have left" in caplog.messages


async def test_cancelled_departure_is_recorded_later(world):
    thread, run_id = await some_run(world)
    world.tide.hangs, world.tide.away = True, False
    leaving = asyncio.create_task(leave(world, thread, run_id))
    await world.tide.asked.acquire()
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    world.tide.hangs = False
    await world.departures.stop()
    assert await status(world, run_id) == "interrupted"


async def test_a_run_that_is_over_is_left_alone(world):
    thread, run_id = await some_run(world)
    world.tide.away = False
    await leave(world, thread, run_id)
    await leave(world, thread, run_id)
    tried = world.tide.asked._value
    await world.departures.stop()
    assert world.tide.asked._value == tried == 2
