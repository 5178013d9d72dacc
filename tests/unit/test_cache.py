"""The cache that code in a server sees, over one that is a dictionary."""

import asyncio
import logging
from datetime import timedelta

import pytest
from pydantic import BaseModel

from weft import cache


class Memory:
    def __init__(self):
        self.kept, self.lives = {}, {}

    async def get(self, key):
        return self.kept.get(key)

    async def set(self, key, value, ttl):
        self.kept[key], self.lives[key] = value, ttl


class Time:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def time():
    return Time()


@pytest.fixture
def memory(time):
    backend = Memory()
    cache.bind(backend, time)
    yield backend
    cache.bind(None)


class Loader:
    """Counts, and waits where it is told to."""

    def __init__(self):
        self.calls = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self):
        self.calls += 1
        call = self.calls
        await self.gate.wait()
        return call


async def test_outside_a_server_there_is_none():
    for call in (cache.cache_get("k"), cache.cache_set("k", 1), cache.swr("k", Loader())):
        with pytest.raises(RuntimeError, match="only inside a server"):
            await call


async def test_values_are_kept(memory):
    assert await cache.cache_get("k") is None
    await cache.cache_set("k", {"a": 1}, ttl=timedelta(seconds=5))
    assert await cache.cache_get("k") == {"a": 1}
    assert memory.lives["k"] == timedelta(seconds=5)


@pytest.mark.parametrize("ttl", [None, timedelta(), timedelta(days=2)])
async def test_nothing_is_kept_for_longer_than_a_day(memory, ttl):
    await cache.cache_set("k", 1, ttl=ttl)
    assert memory.lives["k"] == timedelta(days=1)


async def refreshed():
    await asyncio.gather(*cache._SERVER.refreshing.values())


async def test_fresh_stale_expired(memory, time):
    loader = Loader()
    options = {"fresh_for": timedelta(seconds=10), "max_age": timedelta(seconds=60)}

    async def ask():
        result = await cache.swr("k", loader, **options)
        return result.value, result.status

    assert await ask() == (1, "miss")
    time.now += 9
    assert await ask() == (1, "fresh")
    time.now += 1
    assert await ask() == (1, "stale")
    await refreshed()
    assert await ask() == (2, "fresh")
    time.now += 60
    assert await ask() == (3, "expired")
    assert loader.calls == 3


async def test_without_limits_a_value_is_stale_at_once(memory):
    loader = Loader()
    await cache.swr("k", loader)
    assert (await cache.swr("k", loader)).status == "stale"
    await refreshed()


async def test_one_refresh_at_a_time(memory):
    loader = Loader()
    await cache.swr("k", loader)
    loader.gate.clear()
    for _ in range(5):
        assert (await cache.swr("k", loader)).value == 1
    assert len(cache._SERVER.refreshing) == 1
    loader.gate.set()
    await refreshed()
    assert loader.calls == 2
    assert cache._SERVER.refreshing == {}


async def test_refreshes_are_bounded(memory):
    loader = Loader()
    for number in range(150):
        await cache.swr(str(number), loader)
    loader.gate.clear()
    for number in range(150):
        await cache.swr(str(number), loader)
    assert len(cache._SERVER.refreshing) == 100
    loader.gate.set()
    await refreshed()


async def test_a_refresh_that_fails_is_logged_and_leaves_the_value(memory, caplog):
    async def broken():
        raise ValueError("secret")

    await cache.swr("k", Loader())
    with caplog.at_level(logging.WARNING, "weft.cache"):
        assert (await cache.swr("k", broken)).value == 1
        await refreshed()
    assert [record.error for record in caplog.records] == ["ValueError"]
    assert "secret" not in caplog.text
    assert (await cache.swr("k", Loader(), fresh_for=timedelta(hours=1))).value == 1


async def test_a_first_load_that_fails_raises(memory):
    async def broken():
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await cache.swr("k", broken)
    assert memory.kept == {}


async def test_values_can_be_replaced(memory):
    loader = Loader()
    result = await cache.swr("k", loader, fresh_for=timedelta(hours=1))
    assert await result.mutate(7) == 7
    assert (await cache.swr("k", loader, fresh_for=timedelta(hours=1))).value == 7
    assert await result.mutate() == result.value == 2
    assert await result.mutate(None) is None


class Rate(BaseModel):
    value: float


async def test_models_are_kept_as_json(memory):
    async def load():
        return Rate(value=1.5)

    await cache.swr("k", load, model=Rate)
    assert memory.kept["k"]["value"] == {"value": 1.5}
    found = await cache.swr("k", load, model=Rate, fresh_for=timedelta(hours=1))
    assert (found.value, found.status) == (Rate(value=1.5), "fresh")


async def test_what_others_keep_under_the_key_is_no_value(memory):
    await cache.cache_set("k", [1])
    assert (await cache.swr("k", Loader())).status == "miss"
