"""Calls of graph code on the runner."""

import asyncio
import threading
import time

import pytest

from loomline.server.domain.errors import GraphsBlocked, GraphTooSlow
from loomline.server.worker.calls import CallOptions, RunnerCalls
from loomline.server.worker.runners import Runner, RunnerOptions


@pytest.fixture
async def runner():
    made = Runner(RunnerOptions(blocked_seconds=0.1), asyncio.new_event_loop)
    made.start()
    yield made
    await made.stop()


async def test_a_call_is_made_elsewhere(runner):
    async def work():
        await asyncio.sleep(0)
        return threading.current_thread().name

    assert (await RunnerCalls(runner).call("name", work)).startswith("loomline-runner")


async def test_error_of_a_call_is_raised_in_the_caller(runner):
    async def fail():
        raise ValueError("boom")

    async def leave():
        raise SystemExit(3)

    with pytest.raises(ValueError, match="boom"):
        await RunnerCalls(runner).call("fail", fail)
    with pytest.raises(RuntimeError, match="SystemExit"):
        await RunnerCalls(runner).call("leave", leave)


async def blocked(runner):
    """Block the runner's loop; return the function that ends the block."""
    home, began, release = asyncio.get_running_loop(), asyncio.Event(), threading.Event()

    async def block():
        home.call_soon_threadsafe(began.set)
        release.wait(150)

    task = asyncio.create_task(RunnerCalls(runner).call("block", block))
    await began.wait()
    return release, task


async def test_a_call_on_a_blocked_loop_ends_with_a_sentence_about_the_node(runner):
    release, blocking = await blocked(runner)
    calls = RunnerCalls(runner, CallOptions(seconds=1))
    began = asyncio.Event()

    async def read():
        began.set()

    with pytest.raises(GraphsBlocked, match="a node of another run blocks the event loop"):
        await calls.call("read", read)
    release.set()
    await blocking
    assert await calls.call("next", threading_name) == "loomline-runner"
    assert not began.is_set()


async def threading_name():
    return threading.current_thread().name


async def test_a_call_on_a_blocked_loop_can_be_cancelled(runner):
    release, blocking = await blocked(runner)
    waiting = asyncio.create_task(RunnerCalls(runner).call("read", threading_name))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert not blocking.done()
    release.set()
    await blocking


async def test_cancelling_the_caller_cancels_the_call(runner):
    home = asyncio.get_running_loop()
    began, ended = asyncio.Event(), asyncio.Event()

    async def wait():
        home.call_soon_threadsafe(began.set)
        try:
            await asyncio.sleep(60)
        finally:
            home.call_soon_threadsafe(ended.set)

    task = asyncio.create_task(RunnerCalls(runner).call("wait", wait))
    await began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await ended.wait()


async def test_a_call_has_an_end(runner):
    async def wait():
        await asyncio.sleep(60)

    calls = RunnerCalls(runner, CallOptions(seconds=0.05))
    began = time.monotonic()
    with pytest.raises(GraphTooSlow, match=r"within 0\.05 seconds"):
        await calls.call("wait", wait)
    assert time.monotonic() - began < 5


async def test_a_timeout_of_the_graph_is_its_own(runner):
    async def own():
        raise TimeoutError("mine")

    with pytest.raises(TimeoutError, match="mine"):
        await RunnerCalls(runner).call("own", own)


async def test_so_many_at_a_time(runner):
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

    calls = RunnerCalls(runner, CallOptions(most=3))
    await asyncio.gather(*(calls.call("work", work) for _ in range(30)))
    assert most <= 3
