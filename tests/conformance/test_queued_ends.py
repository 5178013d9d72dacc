"""Followers of a thread hear of the end of every run, also of runs that were ended in the queue."""

import asyncio
import random
from contextlib import aclosing
from itertools import permutations

import orjson
import pytest
from tests.conformance.acts import DONE, INTERRUPT, claim, thread_of
from tests.support import new_run, with_thread_events

from loomline.server.authz.authorizer import Authorizer
from loomline.server.authz.users import SERVER
from loomline.server.domain.json import dump
from loomline.server.domain.protocol import (
    END,
    RUN_ENDS,
    Topic,
    ending,
    logged,
    make_event,
)
from loomline.server.domain.runs import Outcome
from loomline.server.events.memory import MemoryEventLog
from loomline.server.events.signals import MemorySignals
from loomline.server.ports.signals import THREAD
from loomline.server.services.protocol_events import ProtocolEvents

EVER = 1_000_000_000.0
KWARGS = dump({"config": {"configurable": {}}})


class Site:
    """The runs of one thread, executed by hand, and those who follow them."""

    def __init__(self, storage, clock):
        self.storage = storage
        self.clock = clock
        self.log = MemoryEventLog(clock)
        self.signals = MemorySignals()
        self.events = ProtocolEvents(
            storage=storage, events=self.log, signals=self.signals, clock=clock, authz=Authorizer(),
            keep_seconds=EVER,
        )  # fmt: skip
        self.thread = None
        self.waiting = []
        self.held = None
        self.number = 0

    async def open(self):
        self.thread = await thread_of(self.storage)
        return self

    async def queue(self, strategy="enqueue"):
        new = new_run(self.thread, kwargs=KWARGS, now=self.clock.now(), strategy=strategy)
        created = await self.storage.runs.create(with_thread_events(new))
        for run_id in created.ended:
            await self._left(run_id)
        self.waiting.append(new.run_id)
        await self._hint()
        return new.run_id

    async def cancel(self, *run_ids):
        self.clock.move(0.001)
        await self.storage.runs.cancel(self.thread, run_ids, INTERRUPT)
        for run_id in run_ids:
            await self._left(run_id)
        await self._hint()

    async def begin(self):
        (self.held,) = await claim(self.storage, seconds=15.0)
        self.waiting.remove(self.held.run.run_id)
        self.number = self.held.event_number
        await self.log.reopen(self.stream)
        await self.work(Topic("lifecycle"), {"event": "running"})
        await self._hint()

    async def work(self, topic=None, data=None):
        self.number += 1
        topic, data = topic or Topic("custom"), dump(data or {})
        event = make_event(self.stream, self.number, topic, data, milliseconds=self.number)
        await self.log.append(self.stream, [logged(event)], self.held.number)

    async def finish(self):
        outcome = Outcome(**{**fields(DONE), "event_number": self.number + 1})
        await self.storage.runs.finish(self.held, outcome)
        await self.work(Topic("lifecycle", name=END), ending("completed", "graph", None))
        await self.log.close(self.stream, EVER)
        self.held = None
        await self._hint()

    async def hand_over(self):
        await self.storage.runs.release(self.held)
        self._put_back()

    async def lose(self):
        self.clock.move(20)
        await self.storage.runs.reclaim(max_attempts=100)
        self._put_back()

    @property
    def stream(self):
        return str(self.held.run.run_id)

    def _put_back(self):
        self.waiting.insert(0, self.held.run.run_id)
        self.held = None

    async def _left(self, run_id):
        self.waiting.remove(run_id)
        await self.log.close(str(run_id), EVER)

    async def _hint(self):
        await self.signals.publish(THREAD, str(self.thread))

    async def ended(self):
        runs = await self.storage.runs.list(self.thread, limit=1000, offset=0, status=None)
        return {run.run_id for run in runs if not run.active}

    async def follow(self, after=0, *, ends):
        """Return the number, run and topic of each event until so many runs have ended."""
        found = []
        async with aclosing(await self.events.follow(SERVER, self.thread, after)) as batches:
            while sum(key == RUN_ENDS for _, _, key in found) < ends:
                found += [seen(event) for event in await anext(batches)]
        return found


def fields(outcome):
    return {name: getattr(outcome, name) for name in outcome.__slots__}


def seen(event):
    told = orjson.loads(event.data)
    return event.number, told["event_id"].split(":")[1], event.key


@pytest.fixture
async def site(storage, clock):
    return await Site(storage, clock).open()


def ends(events):
    return [run_id for _, run_id, key in events if key == RUN_ENDS]


def numbers(events):
    return [number for number, _, _ in events]


@pytest.mark.parametrize("order", [*permutations(range(3))])
async def test_runs_cancelled_before_any_began_are_told_in_the_order_of_their_ends(site, order):
    live = asyncio.create_task(site.follow(ends=3))
    runs = [await site.queue() for _ in range(3)]
    for place in order:
        await site.cancel(runs[place])
    told = await live
    assert ends(told) == [str(runs[place]) for place in order]
    assert numbers(told) == [1, 2, 3, 4, 5, 6]
    assert await site.follow(ends=3) == told
    assert await site.follow(after=2, ends=2) == told[2:]
    await site.queue()
    await site.begin()
    assert site.number == 7


@pytest.mark.parametrize("break_off", [None, "hand_over", "lose"])
@pytest.mark.parametrize("order", [*permutations(range(2))])
async def test_runs_cancelled_behind_a_run_are_told_after_its_end(site, order, break_off):
    first = await site.queue()
    await site.begin()
    live = asyncio.create_task(site.follow(ends=3))
    runs = [await site.queue() for _ in range(2)]
    await site.cancel(runs[order[0]])
    await site.work()
    if break_off is not None:
        await getattr(site, break_off)()
        await site.begin()
    await site.cancel(runs[order[1]])
    await site.work()
    await site.finish()
    told = await live
    assert ends(told) == [str(each) for each in (first, *(runs[place] for place in order))]
    assert numbers(told) == sorted(set(numbers(told)))
    assert await site.follow(ends=3) == told


async def test_the_number_of_a_thread_grows_when_a_run_behind_another_is_cancelled(site):
    await site.queue()
    await site.begin()
    number = await site.storage.threads.event_number(site.thread)
    await site.cancel(await site.queue())
    assert await site.storage.threads.event_number(site.thread) > number


async def test_a_removed_run_that_had_begun_leaves_the_numbers_to_the_ends_behind_it(site):
    run_id = await site.queue()
    await site.begin()
    await site.work()
    waiting = await site.queue()
    await site.cancel(waiting)
    await site.storage.runs.delete(site.thread, run_id)
    told = await site.follow(after=site.number, ends=1)
    assert ends(told) == [str(waiting)]


async def act(site, chance):
    """Do one of the things that can happen to the runs of a thread now."""
    acts = [site.queue, site.queue]
    if site.waiting:
        acts += [lambda: site.cancel(chance.choice(site.waiting)), lambda: site.queue("interrupt")]
        acts += [] if site.held else [site.begin, site.begin]
    if site.held:
        acts += [site.work, site.finish, site.hand_over, site.lose]
    await chance.choice(acts)()
    if chance.random() < 0.5:
        await asyncio.sleep(0)


@pytest.mark.parametrize("seed", range(15))
async def test_every_end_is_told_once_whatever_happens_to_the_runs(site, seed):
    chance = random.Random(seed)
    found = []
    live = asyncio.create_task(collect(site, found))
    for _ in range(40):
        await act(site, chance)
    if site.held:
        await site.finish()
    while site.waiting:
        await site.cancel(chance.choice(site.waiting))
    ended = await site.ended()
    late = await site.follow(ends=len(ended))
    while len(ends(found)) < len(ended):
        await asyncio.sleep(0.01)
    live.cancel()
    assert sorted(ends(late)) == sorted(map(str, ended))
    assert numbers(late) == sorted(set(numbers(late)))
    assert sorted(ends(found)) == sorted(map(str, ended))
    assert numbers(found) == sorted(set(numbers(found)))


async def collect(site, found):
    async with aclosing(await site.events.follow(SERVER, site.thread, 0)) as batches:
        async for batch in batches:
            found.extend(seen(event) for event in batch)
