"""The results of runs: an empty one, a lost one and one of another user's are told apart."""

import asyncio

import pytest
from tests.conformance.acts import NOW
from tests.support import new_run, new_thread

from loomline.server.domain.access import Equal
from loomline.server.domain.errors import ResultLost, RunNotFound
from loomline.server.domain.events import DONE, RESULT, Event
from loomline.server.domain.json import Encoded
from loomline.server.domain.runs import Created, Outcome, Stop
from loomline.server.domain.threads import ThreadPatch
from loomline.server.events.memory import MemoryEventLog
from loomline.server.services.run_results import RunResults
from loomline.server.services.run_watch import WatchedEvents

BOB = Equal("owner", "bob")
VALUES = Encoded(b'{"secret":"of today"}')
FIRST = Encoded(b'{"answer":1}')


class Looks:
    """A clock whose sleepers go on when the test lets them."""

    def __init__(self, clock):
        self._clock = clock
        self._room = asyncio.Semaphore(0)
        self._asleep = asyncio.Event()

    def now(self):
        return self._clock.now()

    async def sleep(self, seconds):
        self._asleep.set()
        await self._room.acquire()

    async def pass_looks(self, count):
        async with asyncio.timeout(20):
            for _ in range(count):
                await self._asleep.wait()
                self._asleep.clear()
                self._room.release()
            await self._asleep.wait()


@pytest.fixture
def looks(clock):
    return Looks(clock)


@pytest.fixture
async def events(storage, clock, looks):
    watched = WatchedEvents(MemoryEventLog(clock), storage, looks)
    watched.start()
    yield watched
    await watched.stop()


@pytest.fixture
def results(storage, events, clock):
    return RunResults(storage, events, clock)


async def created(storage, **fields):
    """Create a run, by default a temporary one on a thread of its own."""
    if "thread_id" not in fields:
        fields = {"create_thread": True, "own_thread": True, "temporary": True} | fields
        fields["thread_id"] = new_thread().thread_id
    return await storage.runs.create(new_run(fields.pop("thread_id"), now=NOW, **fields))


async def finish(storage, outcome=None):
    (claim,) = await storage.runs.claim("worker", 1, 60)
    await storage.runs.finish(claim, outcome or Outcome("success", "idle", values=VALUES))


async def test_result_is_read_from_a_log_that_was_never_closed(storage, events, results, looks):
    run = await created(storage)
    waiting = asyncio.create_task(results.of_new(run))
    await looks.pass_looks(1)
    await events.append(str(run.run.run_id), [Event(RESULT, FIRST)])
    await finish(storage)
    # The worker is alive, and does not get to close the log for many seconds.
    await looks.pass_looks(2)
    async with asyncio.timeout(20):
        assert await waiting == FIRST


async def test_result_that_the_log_has_lost_is_an_error_where_no_thread_has_it(
    storage, results, looks
):
    run = await created(storage)
    waiting = asyncio.create_task(results.of_new(run))
    await looks.pass_looks(1)
    await finish(storage)
    await looks.pass_looks(2)
    with pytest.raises(ResultLost):
        await waiting


async def test_result_that_the_log_has_lost_is_the_state_of_the_thread(storage, results, looks):
    thread = new_thread()
    await storage.threads.create(thread)
    run = await created(storage, thread_id=thread.thread_id)
    waiting = asyncio.create_task(results.of_new(run))
    await looks.pass_looks(1)
    await finish(storage)
    await looks.pass_looks(2)
    assert await waiting == VALUES


async def test_result_of_a_log_that_is_closed_without_an_end_is_lost(storage, events, results):
    run = await created(storage)
    await events.append(str(run.run.run_id), [Event("values", FIRST)])
    await finish(storage)
    await events.close(str(run.run.run_id), 60)
    with pytest.raises(ResultLost):
        await results.of_new(run)


async def test_result_of_a_run_that_ended_without_one_is_empty(storage, events, results):
    run = await created(storage)
    await events.append(str(run.run.run_id), [Event(DONE, Encoded(b"{}"))])
    await finish(storage, Outcome("interrupted", "interrupted"))
    await events.close(str(run.run.run_id), 60)
    assert await results.of_new(run) == b"{}"


async def test_result_of_a_run_that_was_deleted_while_it_waited_is_not_found(
    storage, events, results, looks
):
    thread = new_thread()
    await storage.threads.create(thread)
    run = await created(storage, thread_id=thread.thread_id)
    waiting = asyncio.create_task(results.of_new(run))
    await looks.pass_looks(1)
    await storage.runs.delete(thread.thread_id, run.run.run_id)
    await events.close(str(run.run.run_id), 0)
    with pytest.raises(RunNotFound):
        await waiting


async def test_result_of_a_run_that_is_rolled_back_is_empty(storage, events, results):
    thread = new_thread()
    await storage.threads.create(thread)
    run = await created(storage, thread_id=thread.thread_id)
    await storage.runs.cancel(thread.thread_id, [run.run.run_id], Stop("rollback", "asked"))
    await events.append(str(run.run.run_id), [Event(DONE, Encoded(b"{}"))])
    await events.close(str(run.run.run_id), 60)
    assert await results.of_new(run) == b"{}"


class TestReplayAfterTheThreadWasLost:
    """Bob's old key, after the thread has become Ada's and its log is forgotten."""

    @pytest.fixture
    async def replayed(self, storage):
        thread = new_thread(metadata={"owner": "bob"})
        await storage.threads.create(thread)
        run = await created(storage, thread_id=thread.thread_id)
        await finish(storage)
        return Created(run.run, replayed=True, access=BOB)

    async def test_the_owner_gets_the_state_of_the_thread(self, results, replayed):
        assert await results.of_replayed(replayed) == VALUES

    async def test_a_former_owner_gets_nothing(self, storage, clock, results, replayed):
        given_away = ThreadPatch(clock.now(), {"owner": "ada"})
        await storage.threads.update(replayed.run.thread_id, given_away)
        with pytest.raises(RunNotFound):
            await results.of_replayed(replayed)
