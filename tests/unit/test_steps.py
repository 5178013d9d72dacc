"""Steps: one generator for coroutines and for threads."""

import asyncio

import pytest

from loomline.server.storage.steps import awaited, blocked, nothing, step


class Failed(Exception):
    pass


def given(value):
    async def in_loop():
        await asyncio.sleep(0)
        return value

    return step(in_loop, lambda: value)


def failing():
    async def in_loop():
        raise Failed

    def in_thread():
        raise Failed

    return step(in_loop, in_thread)


async def run_in_a_coroutine(steps):
    return await awaited(steps)


async def run_on_a_thread(steps):
    return await asyncio.to_thread(blocked, steps)


@pytest.fixture(params=[run_in_a_coroutine, run_on_a_thread])
def run(request):
    return request.param


async def test_results_of_steps_go_back_into_the_generator(run):
    def total():
        first = yield from given(1)
        second = yield from given(2)
        yield from nothing()
        return first + second

    assert await run(total()) == 3


async def test_an_error_of_a_step_is_raised_at_its_place_in_the_generator(run):
    def recovered():
        try:
            yield from failing()
        except Failed:
            return (yield from given("recovered"))

    assert await run(recovered()) == "recovered"


async def test_an_error_that_the_generator_does_not_handle_reaches_the_caller(run):
    with pytest.raises(Failed):
        await run(failing())


async def test_a_generator_without_steps_returns_at_once(run):
    assert await run(nothing()) is None


async def test_a_cancelled_caller_ends_the_generator():
    ended = []

    def waiting():
        try:
            yield from step(asyncio.Event().wait, lambda: None)
        finally:
            ended.append(True)

    task = asyncio.create_task(awaited(waiting()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == [True]
