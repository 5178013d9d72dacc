"""The backend of the cache of hosted code: one suite for all storages."""

from datetime import timedelta

import pytest
from tests.support import StandingClock

from loomline.server.storage.memory_cache import VALUE_BYTES_MOST, MemoryCache

MINUTE = timedelta(minutes=1)


@pytest.mark.parametrize("key", ["k", "", "ключ", "nul\0", "long" * 5000, "\ud800"])
async def test_cached_value_is_read_back_unchanged(storage, key):
    assert await storage.cache.get(key) is None
    for value in ({"a": [1, 2.5, None, "x\0y"]}, "text", 0, False, [], None):
        await storage.cache.set(key, value, MINUTE)
        assert await storage.cache.get(key) == value
    assert await storage.cache.get(f"{key} other") is None


async def test_it_is_over_in_time(storage, clock):
    await storage.cache.set("short", 1, MINUTE)
    await storage.cache.set("long", 2, 3 * MINUTE)
    clock.move(59)
    assert await storage.cache.get("short") == 1
    clock.move(1)
    assert await storage.cache.get("short") is None
    assert await storage.cache.get("long") == 2
    await storage.cache.set("short", 3, MINUTE)
    assert await storage.cache.get("short") == 3


async def test_changed_value_does_not_change_the_cached_one(storage):
    value = {"list": [1]}
    await storage.cache.set("k", value, MINUTE)
    value["list"].append(2)
    first = await storage.cache.get("k")
    first["list"].append(3)
    assert await storage.cache.get("k") == {"list": [1]}


async def test_unencodable_and_oversized_values_are_refused(storage):
    with pytest.raises(TypeError):
        await storage.cache.set("k", object(), MINUTE)
    with pytest.raises(ValueError, match="too large for the cache"):
        await storage.cache.set("k", "x" * VALUE_BYTES_MOST, MINUTE)
    assert await storage.cache.get("k") is None


async def test_expired_cache_entries_are_deleted(storage, clock, database):
    for number in range(30):
        await storage.cache.set(str(number), number, MINUTE)
    clock.move(61)
    for number in range(3):
        await storage.cache.set(f"new {number}", number, MINUTE)
    assert database.rows().get("cache", 3) == 3


async def test_memory_cache_keeps_recently_used_entries_within_its_bound():
    cache = MemoryCache(StandingClock(), bytes_most=10_000)
    for number in range(1000):
        await cache.set(str(number), "x" * 100, MINUTE)
        await cache.get("0")  # used all the time
    assert await cache.get("0") is not None
    assert await cache.get("1") is None
    assert await cache.get("999") is not None
    found = [number for number in range(1000) if await cache.get(str(number)) is not None]
    assert 10 < len(found) < 40
