"""The thread protocol on every event log: what one process does, any other one can read."""

import asyncio
from contextlib import aclosing
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import orjson
import pytest
from tests.support import new_run, new_thread, open_storage, with_thread_events

from loomline.server.authz.authorizer import Authorizer
from loomline.server.authz.users import SERVER
from loomline.server.clock import SystemClock
from loomline.server.domain.errors import EncryptionFailed, EventsLost, StorageUnavailable
from loomline.server.domain.json import dump
from loomline.server.domain.protocol import (
    PROTOCOL,
    RUN_ENDS,
    Filter,
    Selection,
    Topic,
    logged,
    make_event,
    numbered,
)
from loomline.server.domain.retention import Retention
from loomline.server.domain.runs import LOST_NUMBERS, Stop
from loomline.server.events.memory import MemoryEventLog
from loomline.server.events.signals import MemorySignals
from loomline.server.graphs.loader import extend_path
from loomline.server.graphs.registry import Graphs
from loomline.server.graphs.spec import GraphSpec
from loomline.server.services.protocol_events import ProtocolEvents
from loomline.server.worker.execute import Assignment, ExecuteOptions, Executor
from loomline.server.worker.plan import ServerFacts

PROJECT = Path(__file__).parents[1] / "project"
KWARGS: dict[str, object] = {
    "input": {"messages": "hi", "tokens": 20}, "command": None, "context": {},
    "config": {"configurable": {}}, "interrupt_before": None, "interrupt_after": None,
    "durability": "async",
}  # fmt: skip


class HastyClock(SystemClock):
    async def sleep(self, seconds):
        await asyncio.sleep(0)


class Cluster:
    """A worker, and a server that reads what the worker does."""

    def __init__(self, storage, written, read, signals, other_signals):
        self.storage = storage
        self.log = written
        self.read = read
        clock = SystemClock()
        extend_path([PROJECT])
        self._signals = signals
        self._clock = clock
        self._graphs = Graphs.load(
            GraphSpec(name, f"./agents.py:{name}", name, path=PROJECT / "agents.py")
            for name in ("talker", "assistant")
        )
        self.events = ProtocolEvents(
            storage=storage,
            events=read,
            signals=other_signals,
            clock=clock,
            authz=Authorizer(),
            keep_seconds=60.0,
        )

    def executor(self, storage=None, events=None):
        return Executor(
            storage=storage or self.storage,
            events=events or self.log,
            signals=self._signals,
            graphs=self._graphs,
            clock=self._clock,
            options=ExecuteOptions(ServerFacts("0"), False, 60.0, Retention(60.0)),
        )

    async def claim(self, thread_id, graph="talker"):
        new = new_run(thread_id, graph_id=graph, kwargs=dump(KWARGS))
        await self.storage.runs.create(with_thread_events(new))
        (claim,) = await self.storage.runs.claim("worker", 1, 60.0)
        return claim

    async def execute(self, thread_id, graph="talker"):
        await self.executor().execute(Assignment(await self.claim(thread_id, graph)))

    async def until_end(self, thread_id, after=0, ends=1):
        found = []
        async with aclosing(await self.events.follow(SERVER, thread_id, after)) as batches:
            async for batch in batches:
                for event in batch:
                    found.append(event)
                    ends -= event.key == RUN_ENDS
                    if not ends:
                        return found
        raise AssertionError("the stream has ended")


@pytest.fixture
async def cluster(world, tmp_path):
    log, signals = await world.log(events=20_000), await world.signals()
    same = type(log).__name__ == "MemoryEventLog"
    read = log if same else await world.log(events=20_000)
    heard = signals if same else await world.signals()
    async with open_storage(tmp_path) as storage:
        yield Cluster(storage, log, read, signals, heard)


@pytest.fixture
async def thread(cluster):
    return (await cluster.storage.threads.create(new_thread())).thread_id


def words(events):
    found = [orjson.loads(event.data)["params"]["data"] for event in events]
    return [each["delta"]["text"] for each in found if each.get("event") == "content-block-delta"]


async def test_live_and_later_another_process_reads_the_same(cluster, thread):
    live = asyncio.create_task(cluster.until_end(thread))
    await cluster.execute(thread)
    whole = await live
    assert words(whole) == [f"w{number} " for number in range(20)]
    assert [event.number for event in whole] == list(range(1, len(whole) + 1))
    assert await cluster.until_end(thread) == whole
    for cut in range(0, len(whole) - 1, 5):
        assert await cluster.until_end(thread, cut) == whole[cut:]
    await cluster.execute(thread)
    both = await cluster.until_end(thread, ends=2)
    assert both[: len(whole)] == whole
    assert [event.number for event in both] == list(range(1, len(both) + 1))


def event(claim, number):
    data = dump({"n": number})
    return logged(make_event(str(claim.run.run_id), number, Topic("custom"), data, milliseconds=1))


async def test_events_of_a_worker_that_lost_its_run_are_left_out(cluster, thread):
    claim = await cluster.claim(thread)
    stream = str(claim.run.run_id)
    await cluster.log.append(stream, [event(claim, 1), event(claim, 2)])
    await cluster.log.append(stream, [event(claim, 1_000_001)])
    await cluster.log.append(stream, [event(claim, 3), event(claim, 1_000_002)])
    await cluster.log.flush(stream)
    found = [
        each.number
        async for batch in await cluster.events.past(SERVER, thread, 0)
        for each in batch
    ]
    assert found == [1, 2, 1_000_001, 1_000_002]


async def test_a_reader_ten_thousand_events_behind_loses_none(cluster, thread):
    claim = await cluster.claim(thread)
    stream = str(claim.run.run_id)
    batches = await cluster.events.follow(SERVER, thread, 0)
    await cluster.log.append(stream, [event(claim, 1)])
    first = await anext(batches)
    for start in range(2, 10_002, 500):
        numbers = range(start, start + 500)
        await cluster.log.append(stream, [event(claim, number) for number in numbers])
    found = [each.number for each in first]
    while found[-1] < 10_001:
        batch = await anext(batches)
        assert sum(len(each.data) for each in batch) < 2_000_000
        found += [each.number for each in batch]
    assert found == list(range(1, 10_002))
    await batches.aclose()


async def test_a_reader_that_is_too_far_behind_is_told(cluster, thread):
    claim = await cluster.claim(thread)
    stream = str(claim.run.run_id)
    batches = await cluster.events.follow(SERVER, thread, 0)
    await cluster.log.append(stream, [event(claim, 1)])
    await anext(batches)
    for start in range(2, 50_002, 1000):
        numbers = range(start, start + 1000)
        await cluster.log.append(stream, [event(claim, number) for number in numbers])
    await cluster.log.flush(stream)
    with pytest.raises(EventsLost):
        while True:
            await anext(batches)
    await batches.aclose()
    # Whoever comes back gets what is still there, with the numbers it always had.
    async with aclosing(await cluster.events.follow(SERVER, thread, 1)) as again:
        batch = await anext(again)
    assert batch[0].number > 20_000


class Died(BaseException):
    """The end of a process."""


class Dying:
    """An event log of a worker that dies when it comes to tell how a run has ended."""

    def __init__(self, log):
        self._log = log

    def __getattr__(self, name):
        return getattr(self._log, name)

    async def append(self, stream, events, fence=0):
        if any(numbered(each).key == RUN_ENDS for each in events if each.mode == PROTOCOL):
            raise Died
        await self._log.append(stream, events, fence)


def questions(events):
    found = [orjson.loads(each.data) for each in events if each.key.startswith("input.requested")]
    return {
        event["params"]["data"]["payload"]["question"]: (event["event_id"], event["params"])
        for event in found
    }


async def test_question_of_a_run_is_shown_although_its_worker_died(cluster, thread):
    claim = await cluster.claim(thread, "assistant")
    dying = cluster.executor(events=Dying(cluster.log))
    with pytest.raises(Died):
        await dying.execute(Assignment(claim))
    await cluster.log.flush(str(claim.run.run_id))
    one, other = await asyncio.gather(cluster.until_end(thread), cluster.until_end(thread))
    assert [event[:2] for event in one] == [event[:2] for event in other]
    assert [event.number for event in one] == list(range(1, len(one) + 1))
    asked = questions(one)
    assert set(asked) == {"Inside?", "Sure?"}
    assert asked["Sure?"][1]["namespace"] == []
    (segment,) = asked["Inside?"][1]["namespace"]
    assert segment.startswith("child:")
    stored = orjson.loads((await cluster.storage.threads.get(thread)).interrupts)
    ids = {each["id"] for task in stored.values() for each in task}
    assert {params["data"]["interrupt_id"] for _, params in asked.values()} == ids
    # Who has had a part of it gets the rest, and it is what the others got.
    rest = await cluster.until_end(thread, one[-2].number)
    assert [event[:2] for event in rest] == [one[-1][:2]]


async def queued_and_cancelled(cluster, thread):
    new = with_thread_events(new_run(thread, graph_id="talker", kwargs=dump(KWARGS)))
    run_id = (await cluster.storage.runs.create(new)).run.run_id
    await cluster.storage.runs.cancel(thread, [run_id], Stop("interrupt", "asked"))
    return run_id


@pytest.mark.parametrize("cancelled", [1, 2])
async def test_the_end_of_a_run_is_told_although_a_later_one_was_cancelled(
    cluster, thread, cancelled
):
    claim = await cluster.claim(thread)
    waiting = [await queued_and_cancelled(cluster, thread) for _ in range(cancelled)]
    runs = [claim.run.run_id, *waiting]
    with pytest.raises(Died):
        await cluster.executor(events=Dying(cluster.log)).execute(Assignment(claim))
    await cluster.log.flush(str(claim.run.run_id))
    events = await cluster.until_end(thread, ends=1 + cancelled)
    assert [event.number for event in events] == list(range(1, len(events) + 1))
    ends = [event for event in events if event.key == RUN_ENDS]
    told = [orjson.loads(end.data) for end in ends]
    assert [each["event_id"].split(":")[1] for each in told] == [str(each) for each in runs]
    statuses = [each["params"]["data"]["event"] for each in told]
    assert statuses == ["completed"] + ["interrupted"] * cancelled


@pytest.mark.parametrize("graph", ["talker", "assistant"])
async def test_the_end_of_a_run_is_told_although_another_one_waits(cluster, thread, graph):
    claim = await cluster.claim(thread, graph)
    waiting = with_thread_events(new_run(thread, graph_id="unknown", kwargs=dump(KWARGS)))
    await cluster.storage.runs.create(waiting)
    with pytest.raises(Died):
        await cluster.executor(events=Dying(cluster.log)).execute(Assignment(claim))
    await cluster.log.flush(str(claim.run.run_id))
    events = await cluster.until_end(thread)
    assert [event.number for event in events] == list(range(1, len(events) + 1))
    assert len(questions(events)) == (2 if graph == "assistant" else 0)


async def test_the_end_of_a_run_is_told_although_one_was_cancelled_before_it(cluster, thread):
    first = with_thread_events(new_run(thread, graph_id="talker", kwargs=dump(KWARGS)))
    await cluster.storage.runs.create(first)
    await queued_and_cancelled(cluster, thread)
    (claim,) = await cluster.storage.runs.claim("worker", 1, 60.0)
    assert claim.event_number == 2
    with pytest.raises(Died):
        await cluster.executor(events=Dying(cluster.log)).execute(Assignment(claim))
    await cluster.log.flush(str(claim.run.run_id))
    events = await cluster.until_end(thread, ends=2)
    assert [event.number for event in events] == list(range(1, len(events) + 1))
    assert [place for place, event in enumerate(events) if event.key == RUN_ENDS][0] == 1


class Finishing:
    """Runs whose end cannot be stored."""

    def __init__(self, runs, error=StorageUnavailable):
        self._runs = runs
        self._error = error

    def __getattr__(self, name):
        return getattr(self._runs, name)

    async def finish(self, claim, outcome):
        raise self._error("It is away.")


async def test_a_run_whose_end_cannot_be_encrypted_waits_and_loses_no_attempt(cluster, thread):
    claim = await cluster.claim(thread)
    locked = SimpleNamespace(
        runs=Finishing(cluster.storage.runs, EncryptionFailed),
        run_checkpointer=cluster.storage.run_checkpointer,
        store=cluster.storage.store,
    )
    await cluster.executor(storage=locked).execute(Assignment(claim))
    run = await cluster.storage.runs.get(thread, claim.run.run_id)
    assert (run.status, run.attempt) == ("pending", 0)
    assert await cluster.storage.runs.claim("another", 1, 60.0) == []


@pytest.mark.parametrize("late", [False, True])
async def test_a_run_that_is_handed_over_and_cancelled_before_it_goes_on(cluster, thread, late):
    claim = await cluster.claim(thread)
    run_id = claim.run.run_id
    begun = make_event(
        str(run_id), 1, Topic("lifecycle"), dump({"event": "running"}), milliseconds=0
    )
    await cluster.log.append(str(run_id), [logged(begun)], claim.number)
    await cluster.log.flush(str(run_id))
    following = asyncio.create_task(cluster.until_end(thread))
    if not late:
        async with aclosing(await cluster.events.follow(SERVER, thread, 0)) as batches:
            assert [each.number for each in await anext(batches)] == [1]
    await cluster.storage.runs.release(claim)
    await cluster.storage.runs.cancel(thread, [run_id], Stop("interrupt", "by the client"))
    await cluster.log.close(str(run_id), 60.0)
    if late:
        following.cancel()
        following = asyncio.create_task(cluster.until_end(thread))
    async with asyncio.timeout(150):
        events = await following
    assert [event.key for event in events] == [begun.key, begun.key, RUN_ENDS]
    numbers = [event.number for event in events]
    assert numbers == [1, LOST_NUMBERS + 1, LOST_NUMBERS + 2]


async def test_question_found_by_another_worker_is_shown_once(cluster, thread):
    claim = await cluster.claim(thread, "assistant")
    away = SimpleNamespace(
        runs=Finishing(cluster.storage.runs),
        run_checkpointer=cluster.storage.run_checkpointer,
        store=cluster.storage.store,
    )
    await cluster.executor(storage=away).execute(Assignment(claim))
    (again,) = await cluster.storage.runs.claim("another", 1, 60.0)
    await cluster.executor().execute(Assignment(again))
    events = await cluster.until_end(thread)
    asked = [event for event in events if event.key.startswith("input.requested")]
    assert len(asked) == 2
    assert set(questions(events)) == {"Inside?", "Sure?"}


class Away:
    """A part of a storage that cannot be reached the first and the third time."""

    def __init__(self, part):
        self._part = part
        self._calls = 0

    def __getattr__(self, name):
        self._calls += 1
        if self._calls in {1, 3}:
            raise StorageUnavailable("It is away.")
        return getattr(self._part, name)


async def test_a_database_that_is_away_for_a_moment_is_not_noticed(cluster, thread, world):
    await cluster.execute(thread)
    whole = await cluster.until_end(thread)
    runs = Away(cluster.storage.runs)
    cluster.events = ProtocolEvents(
        storage=SimpleNamespace(runs=runs, threads=Away(cluster.storage.threads)),
        events=cluster.read,
        signals=await world.signals(),
        clock=HastyClock(),
        authz=Authorizer(),
        keep_seconds=60.0,
    )
    assert await cluster.until_end(thread) == whole


@pytest.mark.parametrize(
    ("topic", "wanted"),
    [
        (Topic("values"), True),
        (Topic("values", ("child:1",)), False),
        (Topic("updates"), False),
        (Topic("input.requested"), True),
        (Topic("custom", (), "mine"), True),
        (Topic("custom", (), "other"), False),
    ],
)
def test_filter_selects_topics_by_method_name_and_namespace(topic, wanted):
    only_root = Filter(frozenset({"values", "input"}), frozenset({"mine"}), ((),), 0)
    selection = Selection([only_root])
    assert [selection.wants(topic.key) for _ in range(2)] == [wanted, wanted]
    assert Topic.of(topic.key) == topic


def test_an_event_comes_out_of_a_log_as_it_went_in():
    made = make_event("run", 7, Topic("values", ("a:1", "b:2")), dump({"x": 1}), milliseconds=5)
    assert numbered(logged(made)) == made


class DistantReader:
    """A reader whose log is far away: each answer takes longer than the end is awaited."""

    def __init__(self, reader):
        self._reader = reader

    def __aiter__(self):
        return self

    async def __anext__(self):
        await asyncio.sleep(0.05)
        return await anext(self._reader)

    def drain(self):
        self._reader.drain()

    async def aclose(self):
        await self._reader.aclose()


class DistantLog:
    def __init__(self, log):
        self._log = log

    def read(self, stream, after):
        return DistantReader(self._log.read(stream, after))


class LateClock(SystemClock):
    """A clock by which a run has ended almost two seconds ago, whenever it has."""

    ended = None

    def now(self):
        return super().now() if self.ended is None else self.ended + timedelta(seconds=1.999)


async def test_a_run_whose_log_takes_long_to_read_is_not_skipped(cluster, thread):
    await cluster.execute(thread)
    expected = [event.number for event in await cluster.until_end(thread)]
    (run,) = await cluster.storage.runs.list(thread, limit=1, offset=0, status=None)
    clock = LateClock()
    clock.ended = run.updated_at
    distant = ProtocolEvents(
        storage=cluster.storage, events=DistantLog(cluster.read), signals=cluster._signals,
        clock=clock, authz=Authorizer(), keep_seconds=60.0,
    )  # fmt: skip
    batches = await distant.follow(SERVER, thread, 0)
    found = []
    async with aclosing(batches), asyncio.timeout(30):
        async for batch in batches:
            found += [event.number for event in batch]
            if len(found) >= len(expected):
                break
    assert found == expected


async def test_plain_run_whose_input_has_the_marker_of_the_protocol_shows_all_its_events(
    cluster, thread
):
    given = {"messages": "hi", "tokens": 2, "meta": {"__event_streaming_v2": True}}
    kwargs = dump({**KWARGS, "input": given, "stream_mode": ["values"]})
    await cluster.storage.runs.create(new_run(thread, graph_id="talker", kwargs=kwargs))
    (claim,) = await cluster.storage.runs.claim("worker", 1, 60.0)
    await cluster.executor().execute(Assignment(claim))
    events = await cluster.until_end(thread)
    methods = [Topic.of(event.key).method for event in events]
    assert (methods[0], methods[-1], "values" in methods) == ("lifecycle", "lifecycle", True)


async def test_reader_of_a_log_that_is_gone_gets_the_questions_and_the_end_as_they_were_logged(
    cluster, thread
):
    await cluster.execute(thread, "assistant")
    whole = await cluster.until_end(thread)
    clock = SystemClock()
    cluster.events = ProtocolEvents(
        storage=cluster.storage,
        events=MemoryEventLog(clock),
        signals=MemorySignals(),
        clock=clock,
        authz=Authorizer(),
        keep_seconds=60.0,
    )
    asked = [event for event in whole if event.key.startswith("input.requested")]
    assert len(asked) == 2
    assert await cluster.until_end(thread) == [*asked, whole[-1]]
    assert await cluster.until_end(thread, asked[0].number) == [asked[1], whole[-1]]
