"""The cache that hosted code sees, on a backend in memory and a clock that stands."""

import asyncio
import gc
import inspect
import json
import logging
from datetime import timedelta

import pytest
from pydantic import BaseModel

from loomline import cache
from loomline.cache import cache_get, cache_set, swr

MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)


class Memory:
    """A real backend: JSON text with an expiry."""

    def __init__(self):
        self.time = 1_000_000.0
        self.kept = {}
        self.ttls = []

    def now(self):
        return self.time

    def pass_(self, duration):
        self.time += duration.total_seconds()

    async def get(self, key):
        text, until = self.kept.get(key, ("null", 0))
        return json.loads(text) if self.time < until else None

    async def set(self, key, value, ttl):
        self.ttls.append(ttl)
        self.kept[key] = json.dumps(value), self.time + ttl.total_seconds()


class Loader:
    """Returns 1, 2, 3 …; waits first if it is told to."""

    def __init__(self, *, failing=False):
        self.calls = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.failing = failing

    async def __call__(self):
        self.calls += 1
        number = self.calls
        await self.gate.wait()
        if self.failing:
            raise LookupError("no rates today")
        return {"number": number}


@pytest.fixture
def memory():
    backend = Memory()
    cache.bind(backend, backend.now)
    yield backend
    cache.bind(None)


async def settle():
    """Let every task that can run do so."""
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.mark.parametrize(
    "call", [lambda: cache_get("k"), lambda: cache_set("k", 1), lambda: swr("k", Loader())]
)
async def test_outside_a_server_there_is_no_cache(call):
    with pytest.raises(RuntimeError, match="only inside a server"):
        await call()


async def test_a_value_comes_back_until_its_time_is_over(memory):
    assert await cache_get("k") is None
    await cache_set("k", {"a": [1]}, ttl=MINUTE)
    assert await cache_get("k") == {"a": [1]}
    memory.pass_(MINUTE)
    assert await cache_get("k") is None


async def test_cached_objects_are_copied_for_each_reader(memory):
    value = {"a": 1}
    await cache_set("k", value)
    value["a"] = 2
    found = await cache_get("k")
    found["a"] = 3
    assert await cache_get("k") == {"a": 1}


@pytest.mark.parametrize("ttl", [None, timedelta(), DAY, 2 * DAY])
async def test_a_day_is_the_longest(memory, ttl):
    await cache_set("k", 1, ttl=ttl)
    assert memory.ttls == [DAY]


async def test_negative_durations_are_refused(memory):
    with pytest.raises(ValueError, match="ttl"):
        await cache_set("k", 1, ttl=-MINUTE)
    with pytest.raises(ValueError, match="max_age"):
        await swr("k", Loader(), max_age=-MINUTE)


async def test_the_four_ways_to_find_a_value(memory):
    loader = Loader()

    async def ask():
        result = await swr("k", loader, fresh_for=MINUTE, max_age=3 * MINUTE)
        return result.status, result.value["number"]

    assert await ask() == ("miss", 1)
    assert await ask() == ("fresh", 1)
    memory.pass_(MINUTE)
    assert await ask() == ("stale", 1)
    await settle()
    assert await ask() == ("fresh", 2)
    memory.pass_(3 * MINUTE)
    assert await ask() == ("expired", 3)
    assert await ask() == ("fresh", 3)


async def test_by_default_every_hit_is_stale_for_a_day(memory):
    loader = Loader()
    await swr("k", loader)
    memory.pass_(DAY - MINUTE)
    assert (await swr("k", loader)).status == "stale"
    await settle()
    assert loader.calls == 2


async def test_zero_is_no_age_at_all(memory):
    loader = Loader()
    await swr("k", loader)
    assert (await swr("k", loader, max_age=timedelta())).status == "expired"


async def test_stale_callers_do_not_wait_and_one_refreshes(memory):
    loader = Loader()
    await swr("k", loader)
    loader.gate.clear()
    results = [await swr("k", loader) for _ in range(5)]
    await settle()
    assert [(r.status, r.value["number"]) for r in results] == [("stale", 1)] * 5
    assert loader.calls == 2
    loader.gate.set()
    await settle()
    assert (await swr("k", loader)).value == {"number": 2}


async def test_a_refresh_is_not_collected(memory):
    loader = Loader()
    await swr("k", loader)
    loader.gate.clear()
    await swr("k", loader)
    await settle()
    gc.collect()
    loader.gate.set()
    await settle()
    assert (await swr("k", loader)).value == {"number": 2}


async def test_a_refresh_that_fails_is_logged_and_tried_again(memory, caplog):
    loader = Loader()
    await swr("k", loader)
    loader.failing = True
    with caplog.at_level(logging.WARNING, "loomline.cache"):
        assert (await swr("k", loader)).value == {"number": 1}
        await settle()
    assert [record.error for record in caplog.records] == ["LookupError"]
    assert "no rates today" not in caplog.text
    assert (await swr("k", loader)).status == "stale"
    await settle()
    assert loader.calls == 3


async def test_a_load_that_fails_is_the_callers(memory, caplog):
    with pytest.raises(LookupError):
        await swr("k", Loader(failing=True))
    assert (await swr("k", Loader())).status == "miss"
    assert not caplog.records


async def test_number_of_background_refreshes_is_bounded(memory):
    loader = Loader()
    keys = [f"k{number}" for number in range(150)]
    for key in keys:
        await swr(key, loader)
    loader.gate.clear()
    before = loader.calls
    for key in keys:
        assert (await swr(key, loader)).status == "stale"
    await settle()
    assert loader.calls - before == 100
    loader.gate.set()
    await settle()
    for key in keys:
        await swr(key, loader)
    await settle()
    assert loader.calls - before == 200


async def test_who_misses_together_loads_together(memory):
    loader = Loader()
    loader.gate.clear()
    callers = [asyncio.create_task(swr("k", loader)) for _ in range(5)]
    await settle()
    loader.gate.set()
    results = await asyncio.gather(*callers)
    assert loader.calls == 1
    assert {result.value["number"] for result in results} == {1}


async def test_one_who_leaves_does_not_take_the_load_along(memory):
    loader = Loader()
    loader.gate.clear()
    leaving, staying = (asyncio.create_task(swr("k", loader)) for _ in range(2))
    await settle()
    leaving.cancel()
    await settle()
    loader.gate.set()
    assert (await staying).value == {"number": 1}
    assert leaving.cancelled()


async def test_the_last_who_leaves_ends_the_load(memory):
    ended = asyncio.Event()

    async def endless():
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    caller = asyncio.create_task(swr("k", endless))
    await settle()
    caller.cancel()
    await settle()
    assert ended.is_set()
    assert (await swr("k", Loader())).status == "miss"


async def test_mutate_sets_or_loads(memory):
    loader = Loader()
    result = await swr("k", loader)
    assert await result.mutate({"number": 70}) == {"number": 70}
    assert (result.value, result.status) == ({"number": 70}, "fresh")
    assert (await swr("k", loader, fresh_for=MINUTE)).value == {"number": 70}
    assert await result.mutate() == {"number": 2}
    assert (await swr("k", loader, fresh_for=MINUTE)).value == {"number": 2}
    assert await result.mutate(None) is None


async def test_a_refresh_from_before_does_not_undo_a_mutation(memory):
    loader = Loader()
    result = await swr("k", loader)
    loader.gate.clear()
    await swr("k", loader)
    await settle()
    await result.mutate({"number": 70})
    loader.gate.set()
    await settle()
    assert (await swr("k", loader, fresh_for=MINUTE)).value == {"number": 70}


async def test_names_of_one_kind_are_not_those_of_the_other(memory):
    await swr("k", Loader())
    assert await cache_get("k") is None
    await cache_set("k2", {"value": 5, "at": memory.time})
    assert (await swr("k2", Loader())).status == "miss"


async def test_nothing_is_a_value_too(memory):
    async def nothing():
        return None

    assert (await swr("k", nothing)).status == "miss"
    assert (await swr("k", nothing, fresh_for=MINUTE)).status == "fresh"


class Rates(BaseModel):
    euro: float


class NewRates(BaseModel):
    euro: float
    yen: float


async def test_models_come_back_as_models(memory):
    async def load():
        return Rates(euro=1.5)

    await swr("k", load, model=Rates)
    found = await swr("k", load, model=Rates, fresh_for=MINUTE)
    assert (found.value, found.status) == (Rates(euro=1.5), "fresh")
    await found.mutate(Rates(euro=2))
    assert (await swr("k", load, model=Rates, fresh_for=MINUTE)).value == Rates(euro=2)


async def test_value_of_an_older_program_is_loaded_again(memory):
    async def old():
        return Rates(euro=1.5)

    async def new():
        return NewRates(euro=1.5, yen=160)

    await swr("k", old, model=Rates)
    found = await swr("k", new, model=NewRates, fresh_for=MINUTE)
    assert (found.value, found.status) == (NewRates(euro=1.5, yen=160), "miss")


async def test_a_model_is_a_class_of_pydantic(memory):
    with pytest.raises(TypeError, match="pydantic"):
        await swr("k", Loader(), model=dict)


def test_mutate_has_the_default_of_the_interface():
    assert inspect.signature(cache.SWRResult.mutate).parameters["value"].default is ...


async def test_without_its_cache_nothing_refreshes(memory):
    ended = asyncio.Event()

    async def endless():
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    await swr("k", Loader())
    await swr("k", endless)
    await settle()
    cache.bind(None)
    await settle()
    assert ended.is_set()
    with pytest.raises(RuntimeError):
        await cache_get("k")


def test_event_loops_load_for_themselves():
    async def load_once(loader):
        caller = asyncio.create_task(swr("k", loader, max_age=timedelta()))
        await settle()
        loader.gate.set()
        return (await caller).value

    async def with_gate_closed(other):
        loader = Loader()
        loader.gate.clear()
        waiting = asyncio.create_task(swr("k", loader))
        await settle()
        assert await asyncio.to_thread(asyncio.run, load_once(other)) == {"number": 1}
        loader.gate.set()
        return (await waiting).value

    backend = Memory()
    cache.bind(backend, backend.now)
    assert asyncio.run(with_gate_closed(Loader())) == {"number": 1}
    cache.bind(None)
