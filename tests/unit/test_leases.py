"""Leases that are taken and renewed late: no run is executed twice at once."""

import asyncio
import sqlite3
import threading
from contextlib import asynccontextmanager, closing, suppress

import psycopg
import pytest
from tests.postgres import new_schema
from tests.support import (
    StandingClock,
    new_run,
    new_thread,
    open_postgres,
    open_storage,
    worker_of,
)

from loomline.server.clock import SystemClock
from loomline.server.ports.signals import WORK
from loomline.server.worker.execute import Release

LEASE = 4.0

WAITING = "SELECT 1 FROM pg_locks WHERE relation = 'loomline_runs'::regclass AND NOT granted"


@pytest.fixture
def clock():
    return StandingClock()


@pytest.fixture
async def storage(tmp_path, clock):
    async with open_storage(tmp_path, clock) as opened:
        yield opened


async def queued(storage, clock):
    thread = await storage.threads.create(new_thread(now=clock.time))
    await storage.runs.create(new_run(thread.thread_id, now=clock.time))


async def claimed(storage, clock):
    await queued(storage, clock)
    (claim,) = await storage.runs.claim("w", 1, LEASE)
    return claim


@asynccontextmanager
async def locked(path, clock):
    """Keep every write waiting while the time of three leases passes."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        yield
        for _ in range(3):
            await asyncio.sleep(0)
        clock.move(3 * LEASE)
        connection.execute("ROLLBACK")


async def test_a_lease_that_waited_for_the_file_begins_when_it_is_written(storage, clock, tmp_path):
    await queued(storage, clock)
    async with locked(tmp_path / "loomline.db", clock):
        claiming = asyncio.create_task(storage.runs.claim("w", 1, LEASE))
    assert len(await claiming) == 1
    assert not (await storage.runs.reclaim(max_attempts=3)).requeued
    clock.move(LEASE + 1)
    assert len((await storage.runs.reclaim(max_attempts=3)).requeued) == 1


async def test_a_renewal_that_waited_for_the_file_counts_from_when_it_is_written(
    storage, clock, tmp_path
):
    claim = await claimed(storage, clock)
    async with locked(tmp_path / "loomline.db", clock):
        renewing = asyncio.create_task(storage.runs.renew("w", [claim], LEASE))
    assert not (await renewing).lost
    assert not (await storage.runs.reclaim(max_attempts=3)).requeued


async def test_a_lease_of_postgres_does_not_run_out_while_its_statement_waits(clock):
    url = new_schema()
    async with open_postgres(url, clock) as storage:
        await queued(storage, clock)
        with psycopg.connect(url) as other:
            other.execute("LOCK TABLE loomline_runs IN SHARE ROW EXCLUSIVE MODE")
            claiming = asyncio.create_task(storage.runs.claim("w", 1, 0.1))
            while not other.execute(WAITING).fetchone():
                await asyncio.sleep(0.01)
            other.execute("SELECT pg_sleep(0.5)")  # as long as five leases
        assert len(await claiming) == 1
        clock.move(0.3)
        assert not (await storage.runs.reclaim(max_attempts=3)).requeued


class Steps:
    """An executor that only notes when executions begin and end; the ends take a while."""

    def __init__(self):
        self.notes = []
        self.began = threading.Event()
        self.second = threading.Event()

    async def execute(self, assignment):
        attempt = assignment.claim.run.attempt
        self.notes.append(("begin", attempt))
        (self.began if attempt == 1 else self.second).set()
        try:
            if attempt == 1:
                await asyncio.Event().wait()
        finally:
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(0.05)
            self.notes.append(("end", attempt))


@asynccontextmanager
async def working(worker):
    """Have the runs that a worker takes executed."""
    worker._runner.start()
    try:
        yield worker
    finally:
        await worker._runner.stop()


class Blocking:
    """An executor that lets its first run block the loop of the graphs."""

    def __init__(self, storage):
        self._storage = storage
        self.began, self.release = threading.Event(), threading.Event()
        self.executed = []

    async def execute(self, assignment):
        self.executed.append(assignment.claim.run.run_id)
        self.began.set()
        self.release.wait(150)

    async def give_back(self, assignment):
        await self._storage.runs.release(assignment.claim)


async def test_a_stop_while_the_loop_is_blocked_gives_back_the_runs_that_have_not_begun(
    storage, clock
):
    executor = Blocking(storage)
    worker = worker_of(
        storage, clock, executor, lease_seconds=LEASE, grace_seconds=0, release_seconds=0.1
    )
    async with working(worker):
        for _ in range(2):
            await queued(storage, clock)
        await worker._claim()
        assert await asyncio.to_thread(executor.began.wait, 60)
        (waiting,) = set(worker._active) - set(executor.executed)
        worker._order(list(worker._active), Release())
        await worker._give_back()
        run = await storage.runs.get(None, waiting)
        assert (run.status, run.attempt) == ("pending", 0)
        executor.release.set()


async def test_no_run_is_claimed_while_the_loop_is_blocked(storage, clock):
    executor = Blocking(storage)
    worker = worker_of(storage, clock, executor, lease_seconds=LEASE, poll_seconds=0.01)
    async with working(worker):
        claims = worker._duty("claims", worker._dispatch, 0.0, within=worker._listening)
        claims.start()
        await queued(storage, clock)
        await worker._signals.publish(WORK)
        assert await asyncio.to_thread(executor.began.wait, 60)
        while worker._runner.responsive.is_set():
            await asyncio.sleep(0.01)
        await queued(storage, clock)
        await worker._signals.publish(WORK)
        for _ in range(20):
            await asyncio.sleep(0.01)
        assert worker.active == 1
        executor.release.set()
        await worker._wait_idle(60)
        while len(executor.executed) < 2:
            await asyncio.sleep(0.01)
        await claims.stop()


async def test_a_run_that_comes_back_begins_when_its_former_execution_has_ended(storage, clock):
    steps = Steps()
    async with working(worker_of(storage, clock, steps, lease_seconds=LEASE)) as worker:
        await queued(storage, clock)
        await worker._claim()
        assert await asyncio.to_thread(steps.began.wait, 60)
        clock.move(LEASE + 1)
        await storage.runs.reclaim(max_attempts=3)
        await worker._claim()
        assert await asyncio.to_thread(steps.second.wait, 60)
        await worker._wait_idle(60)
    assert steps.notes == [("begin", 1), ("end", 1), ("begin", 2), ("end", 2)]


async def test_a_claim_that_comes_after_its_lease_is_handed_back_where_others_may_have_it(
    storage, clock
):
    claim = await claimed(storage, clock)
    past = asyncio.get_running_loop().time() - 1
    orders = {}
    for shared in (True, False):
        async with working(
            worker_of(storage, clock, Steps(), lease_seconds=LEASE, shared=shared)
        ) as worker:
            worker._begin(claim, past)
            orders[shared] = worker._active[claim.run.run_id][0].order
    assert isinstance(orders[True], Release)
    assert orders[False] is None


async def test_nothing_is_taken_for_lost_while_its_claim_is_on_the_way(tmp_path):
    lease = 0.2
    async with open_storage(tmp_path) as storage:
        clock = SystemClock()
        thread = await storage.threads.create(new_thread(now=clock.now()))
        await storage.runs.create(new_run(thread.thread_id, now=clock.now()))
        worker = worker_of(storage, clock, Steps(), lease_seconds=lease, look_seconds=0.01)
        arrived = asyncio.Event()
        claim = storage.runs.claim

        async def late(*args, **options):
            claims = await claim(*args, **options)
            arrived.set()
            await asyncio.sleep(2 * lease)
            return claims

        storage.runs.claim = late
        async with working(worker):
            claiming = asyncio.create_task(worker._claim())
            await arrived.wait()
            looking = asyncio.create_task(worker._look_for_lost())
            await asyncio.gather(claiming, looking)
            await storage.runs.forget_keys(clock.now(), 1)  # after every write before
            (held,) = worker._active
        run = await storage.runs.get(None, held)
        assert (run.status, run.attempt) == ("running", 1)
