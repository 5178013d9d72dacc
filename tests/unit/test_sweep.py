"""The sweeper: when it acts, how much at a time, and what it survives."""

import asyncio
import json
from datetime import timedelta

import httpx
import pytest
from langgraph.store.base import PutOp
from tests.serving import serving_here
from tests.support import StandingClock, new_run, new_thread, open_storage

from loomline.server.domain.errors import StorageUnavailable
from loomline.server.domain.threads import NewThread, ThreadFilter, Ttl
from loomline.server.worker.sweep import (
    ITEM_BATCH,
    RETRY_SECONDS,
    THREAD_BATCH,
    Sweep,
    Sweeper,
    store_sweep,
    thread_sweep,
)


class AlarmClock(StandingClock):
    """A clock that shows who sleeps, and lets them sleep until it is told."""

    def __init__(self):
        super().__init__()
        self.sleepers = asyncio.Queue()

    async def sleep(self, seconds):
        woken = asyncio.Event()
        self.sleepers.put_nowait((seconds, woken))
        await woken.wait()
        self.move(seconds)


async def next_sleep(clock, seconds):
    asked, woken = await clock.sleepers.get()
    assert asked == seconds
    return woken


@pytest.fixture
async def clock():
    return AlarmClock()


@pytest.fixture
async def storage(tmp_path, clock):
    async with open_storage(tmp_path, clock) as opened:
        yield opened


async def fill(storage, clock, count, minutes=10):
    for _ in range(count):
        new = new_thread(now=clock.now())
        ttl = Ttl(minutes)
        await storage.threads.create(NewThread(new.thread_id, {}, "raise", new.now, ttl))


async def test_threads_expire_while_the_sweeper_runs(storage, clock):
    await fill(storage, clock, 1, minutes=2)
    await fill(storage, clock, 1, minutes=9)
    sweep = thread_sweep(storage, clock, interval_seconds=300, limit=10)
    sweeper = Sweeper(clock, [sweep])
    sweeper.start()
    left = []
    for _ in range(3):
        woken = await next_sleep(clock, 300)
        left.append(await storage.threads.count(ThreadFilter()))
        woken.set()
    assert left == [2, 1, 0]
    await sweeper.stop()


async def test_a_sweep_has_a_limit(storage, clock):
    await fill(storage, clock, 2 * THREAD_BATCH + 10)
    clock.time += timedelta(minutes=10)
    assert await thread_sweep(storage, clock, interval_seconds=1, limit=7).act() == 7
    whole = thread_sweep(storage, clock, interval_seconds=1, limit=1000)
    assert await whole.act() == 2 * THREAD_BATCH + 3
    assert await whole.act() == 0


async def test_items_of_the_store_are_swept_in_batches(storage, clock):
    ops = [PutOp(("a",), str(number), {}, ttl=1) for number in range(ITEM_BATCH + 5)]
    await storage.store.abatch([*ops, PutOp(("b",), "ever", {})])
    sweep = store_sweep(storage, clock, interval_seconds=60)
    assert await sweep.act() == 0
    clock.move(60)
    assert await sweep.act() == ITEM_BATCH + 5
    assert await storage.store.alist_namespaces() == [("b",)]


async def test_a_sweep_that_fails_is_tried_again(clock, caplog):
    outcomes = [StorageUnavailable("away"), ZeroDivisionError("bug"), 5]

    async def act():
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    sweeper = Sweeper(clock, [Sweep("things", 60, act)])
    with caplog.at_level("INFO", logger="loomline.worker"):
        sweeper.start()
        (await next_sleep(clock, 60)).set()
        for most in (RETRY_SECONDS, 2 * RETRY_SECONDS):
            asked, woken = await clock.sleepers.get()
            assert most / 2 <= asked <= most
            woken.set()
        await next_sleep(clock, 60)
        await sweeper.stop()
    assert [record.message for record in caplog.records] == [
        "the database is unavailable: away",
        "a duty failed",
        "swept",
        "a duty works again",
    ]


async def test_threads_made_by_runs_have_the_ttl_too(storage, clock):
    new = new_run(new_thread().thread_id, now=clock.now(), create_thread=True, thread_ttl=Ttl(3))
    await storage.runs.create(new)
    assert (await storage.threads.get(new.thread_id)).ttl == Ttl(3)


def test_the_whole_of_it(tmp_path):
    config = tmp_path / "langgraph.json"
    (tmp_path / "g.py").write_text(
        "from langgraph.graph import START, MessagesState, StateGraph\n"
        "b = StateGraph(MessagesState)\n"
        "b.add_node('n', lambda _: {})\n"
        "b.add_edge(START, 'n')\n"
    )
    ttl = {"default_ttl": 0.002, "sweep_interval_minutes": 0.0005, "strategy": "delete"}
    document = {"graphs": {"swept": "./g.py:b"}, "checkpointer": {"ttl": ttl}}
    config.write_text(json.dumps(document))
    with (
        serving_here(tmp_path / "data", config=config) as address,
        httpx.Client(base_url=address) as http,
    ):
        long = {"ttl": {"ttl": 60}}
        kept = http.post("/threads", json=long).json()["thread_id"]
        gone = http.post("/threads", json={}).json()["thread_id"]
        body = {"assistant_id": "swept", "input": {}, "on_completion": "keep"}
        place = http.post("/runs/wait", json=body).headers["content-location"]
        assert http.get(f"/threads/{kept}?include=ttl").json()["ttl"]["ttl_minutes"] == 60
        while http.get(f"/threads/{gone}").status_code == 200:
            pass
        while http.get(place.partition("/runs")[0]).status_code == 200:
            pass
        assert http.get(f"/threads/{kept}").status_code == 200
