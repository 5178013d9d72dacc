"""The sweeper and the workers clean up in a saver of the user."""

import dataclasses
from contextlib import asynccontextmanager

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from tests.conformance.acts import DONE, NOW, add, checkpoint, claim, root, started, thread_of
from tests.support import StandingClock, new_thread

from loomline.server.domain.errors import LeaseLost, ThreadNotFound
from loomline.server.domain.threads import Ttl
from loomline.server.storage.own_saver import OwnSaver
from loomline.server.storage.own_storage import OwnSaverStorage
from loomline.server.storage.sqlite import SqliteStorage


class HereCalls:
    """Calls on the loop of the test, which is the loop of the saver too."""

    async def call(self, _, work):
        return await work()


class Pruning(InMemorySaver):
    def __init__(self):
        super().__init__()
        self.pruned = []

    async def aprune(self, thread_ids, *, strategy="keep_latest"):
        self.pruned.append((list(thread_ids), strategy))


class Failing(InMemorySaver):
    async def adelete_thread(self, thread_id):
        raise ConnectionError(thread_id)


@pytest.fixture
def clock():
    return StandingClock()


@asynccontextmanager
async def opened(folder, clock, saver):
    inner = SqliteStorage(folder / "loomline.db", clock=clock)
    storage = OwnSaverStorage(inner, OwnSaver(lambda: saver, HereCalls()))
    await storage.open()
    try:
        yield storage
    finally:
        await storage.close()


@pytest.fixture
async def storage(tmp_path, clock):
    async with opened(tmp_path, clock, Pruning()) as storage:
        yield storage


async def with_checkpoint(storage, ttl=None):
    new = dataclasses.replace(new_thread(now=NOW), ttl=ttl)
    thread = (await storage.threads.create(new)).thread_id
    await checkpoint(storage.checkpointer(), thread, "run")
    return thread


async def has_checkpoint(storage, thread):
    return await storage.checkpointer().aget_tuple(root(thread)) is not None


async def test_an_expired_thread_loses_its_checkpoints_as_its_ttl_says(storage, clock):
    deleted = await with_checkpoint(storage, Ttl(1.0))
    cut = await with_checkpoint(storage, Ttl(1.0, "keep_latest"))
    kept = await with_checkpoint(storage, Ttl(5.0))
    clock.move(90)
    pruned = await storage.threads.expire(clock.now(), 10)
    assert set(pruned.threads) == {deleted, cut}
    found = [await has_checkpoint(storage, each) for each in (deleted, cut, kept)]
    assert found == [False, True, True]
    assert storage.checkpointer().pruned == [([str(cut)], "keep_latest")]


async def test_a_saver_that_fails_does_not_end_the_sweep(tmp_path, clock, caplog):
    async with opened(tmp_path, clock, Failing()) as storage:
        thread = await with_checkpoint(storage, Ttl(1.0))
        clock.move(90)
        assert (await storage.threads.expire(clock.now(), 10)).threads == (thread,)
        with pytest.raises(ThreadNotFound):
            await storage.threads.get(thread)
    left = [each for each in caplog.records if each.getMessage().endswith("are left")]
    assert left[0].threads == str(thread)


async def test_a_worker_that_lost_a_deleted_thread_deletes_its_late_checkpoints(storage):
    thread = await thread_of(storage)
    held = await started(storage, thread)
    await storage.threads.delete(thread)
    saver = storage.run_checkpointer(held, wait=True)
    await checkpoint(saver, thread, held.run.run_id)
    for end in (storage.runs.finish(held, DONE), storage.runs.release(held)):
        with pytest.raises(LeaseLost):
            await end
        assert not await has_checkpoint(storage, thread)


async def test_a_worker_that_lost_a_run_leaves_the_checkpoints_of_its_thread(storage, clock):
    thread = await thread_of(storage)
    held = await started(storage, thread)
    await checkpoint(storage.run_checkpointer(held, wait=True), thread, held.run.run_id)
    clock.move(60)
    await storage.runs.reclaim(max_attempts=3)
    assert await claim(storage)
    with pytest.raises(LeaseLost):
        await storage.runs.finish(held, DONE)
    assert await has_checkpoint(storage, thread)


async def test_the_end_of_a_temporary_run_deletes_its_checkpoints(storage):
    thread = await thread_of(storage)
    await add(storage, thread, temporary=True)
    (held,) = await claim(storage)
    await checkpoint(storage.run_checkpointer(held, wait=True), thread, held.run.run_id)
    await storage.runs.finish(held, DONE)
    assert not await has_checkpoint(storage, thread)
