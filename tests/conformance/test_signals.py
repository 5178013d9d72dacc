"""What all signals must do."""

import asyncio

import pytest

from loomline.server.events.hints import PENDING


@pytest.fixture
async def signals(world):
    return await world.signals()


async def test_a_listener_gets_its_topics_only(signals):
    async with signals.listen("a", "b") as listener:
        await signals.publish("a", "1")
        await signals.publish("c", "2")
        await signals.publish("b")
        assert await listener.wait(150) == [("a", "1"), ("b", "")]


async def test_repeated_hints_are_one(signals):
    async with signals.listen("a") as listener:
        for _ in range(1000):
            await signals.publish("a")
        assert await listener.wait(150) == [("a", "")]


async def test_nothing_comes_when_nothing_was_said(signals):
    async with signals.listen("a") as listener:
        assert await listener.wait(0.001) == []


async def test_a_hint_from_another_thread_wakes_the_listener(signals):
    async with signals.listen("a") as listener:
        waiting = asyncio.create_task(listener.wait(150))
        await asyncio.to_thread(lambda: asyncio.run(signals.publish("a", "x")))
        assert await waiting == [("a", "x")]
        waiting = asyncio.create_task(listener.wait(150))
        await asyncio.sleep(0)
        await signals.publish("a", "y")
        assert await waiting == [("a", "y")]


async def test_hints_are_bounded_and_the_newest_stay(signals):
    async with signals.listen("a") as listener:
        for number in range(PENDING + 5):
            await signals.publish("a", str(number))
        hints = await listener.wait(150)
        assert len(hints) == PENDING
        assert hints[-1] == ("a", str(PENDING + 4))


async def test_who_has_stopped_listening_gets_nothing(signals):
    async with signals.listen("a") as listener:
        pass
    await signals.publish("a")
    assert await listener.wait(0.001) == []
