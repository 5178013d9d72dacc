"""Calls of graph code on runners."""

import asyncio
import threading
import time

import pytest

from loomline.server.domain.errors import GraphTooSlow
from loomline.server.worker.calls import CallOptions, RunnerCalls
from loomline.server.worker.runners import RunnerOptions, RunnerPool


@pytest.fixture
async def pool():
    made = RunnerPool(RunnerOptions(least=2), asyncio.new_event_loop)
    made.start()
    watching = asyncio.create_task(made.watch())
    yield made
    watching.cancel()
    await made.stop()


async def test_a_call_is_made_elsewhere(pool):
    async def work():
        await asyncio.sleep(0)
        return threading.current_thread().name

    assert (await RunnerCalls(pool).call("name", work)).startswith("loomline-runner-")


async def test_what_it_raises_is_raised_here(pool):
    async def fail():
        raise ValueError("boom")

    async def leave():
        raise SystemExit(3)

    with pytest.raises(ValueError, match="boom"):
        await RunnerCalls(pool).call("fail", fail)
    with pytest.raises(RuntimeError, match="SystemExit"):
        await RunnerCalls(pool).call("leave", leave)


async def test_a_call_that_blocks_blocks_nobody_else(pool):
    home = asyncio.get_running_loop()
    began, release = asyncio.Event(), threading.Event()

    async def block():
        home.call_soon_threadsafe(began.set)
        release.wait(150)
        return "released"

    async def quick():
        return "quick"

    calls = RunnerCalls(pool)
    blocked = asyncio.create_task(calls.call("block", block))
    await began.wait()
    assert await asyncio.gather(*(calls.call("quick", quick) for _ in range(10))) == ["quick"] * 10
    assert not blocked.done()
    release.set()
    assert await blocked == "released"


async def test_cancelling_the_caller_cancels_the_call(pool):
    home = asyncio.get_running_loop()
    began, ended = asyncio.Event(), asyncio.Event()

    async def wait():
        home.call_soon_threadsafe(began.set)
        try:
            await asyncio.sleep(60)
        finally:
            home.call_soon_threadsafe(ended.set)

    task = asyncio.create_task(RunnerCalls(pool).call("wait", wait))
    await began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await ended.wait()


async def test_a_call_has_an_end(pool):
    async def wait():
        await asyncio.sleep(60)

    calls = RunnerCalls(pool, CallOptions(seconds=0.05))
    began = time.monotonic()
    with pytest.raises(GraphTooSlow, match=r"within 0\.05 seconds"):
        await calls.call("wait", wait)
    assert time.monotonic() - began < 5


async def test_a_timeout_of_the_graph_is_its_own(pool):
    async def own():
        raise TimeoutError("mine")

    with pytest.raises(TimeoutError, match="mine"):
        await RunnerCalls(pool).call("own", own)


async def test_so_many_at_a_time(pool):
    active, most = 0, 0
    lock = threading.Lock()

    async def work():
        nonlocal active, most
        with lock:
            active += 1
            most = max(most, active)
        for _ in range(5):
            await asyncio.sleep(0)
        with lock:
            active -= 1

    calls = RunnerCalls(pool, CallOptions(most=3))
    await asyncio.gather(*(calls.call("work", work) for _ in range(30)))
    assert most <= 3
