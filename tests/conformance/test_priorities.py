"""Runs of urgent threads are claimed first."""

import pytest
from tests.conformance.acts import DONE, NOW, add, claim, started, thread_of
from tests.support import new_thread

from loomline.server.domain.errors import ThreadNotFound
from loomline.server.domain.ids import uuid7


async def on_new_thread(storage, priority, **fields):
    return await add(storage, await thread_of(storage), priority=priority, **fields)


async def claimed(storage, limit=1):
    return [each.run.run_id for each in await claim(storage, limit)]


async def test_runs_are_claimed_by_priority_and_then_by_age(storage):
    order = (0, 5, -5, None, 0, 2, -5, -1, 5)
    runs = [await on_new_thread(storage, each) for each in order]
    wanted = sorted(range(len(order)), key=lambda index: (order[index] or 0, index))
    found = [run for _ in order for run in await claimed(storage)]
    assert found == [runs[index] for index in wanted]


@pytest.mark.parametrize("limit", [2, 3, 100])
async def test_a_batch_of_claims_has_the_order_of_single_claims(storage, limit):
    order = (3, -2, 0, -2, 3)
    runs = [await on_new_thread(storage, each) for each in order]
    wanted = [runs[index] for index in (1, 3, 2, 0, 4)]
    assert await claimed(storage, limit) == wanted[:limit]


async def test_the_first_priority_of_a_thread_counts_for_its_later_runs(storage):
    thread = await thread_of(storage)
    assert await storage.threads.priority(thread) is None
    held = await started(storage, thread, priority=-3)
    assert await storage.threads.priority(thread) == -3
    await storage.runs.finish(held, DONE)
    await on_new_thread(storage, 0)
    second = await add(storage, thread, priority=5)
    assert await storage.threads.priority(thread) == -3
    assert await claimed(storage) == [second]


async def test_a_run_without_a_priority_leaves_the_thread_without_one(storage):
    thread = await thread_of(storage)
    await add(storage, thread)
    assert await storage.threads.priority(thread) is None
    await add(storage, thread, priority=4)
    assert await storage.threads.priority(thread) == 4


async def test_a_thread_that_a_run_creates_gets_the_priority(storage):
    thread = uuid7()
    await add(storage, thread, create_thread=True, priority=-5)
    assert await storage.threads.priority(thread) == -5


async def test_the_priority_of_an_unknown_thread_is_refused(storage):
    with pytest.raises(ThreadNotFound):
        await storage.threads.priority(uuid7())


async def test_runs_of_one_thread_are_claimed_by_age_whatever_their_priority(storage):
    thread = await thread_of(storage)
    first = await add(storage, thread)
    second = await add(storage, thread, priority=-5)
    between = await on_new_thread(storage, -1)
    assert await claimed(storage, 10) == [between, first]
    assert second not in await claimed(storage, 10)


async def test_an_urgent_run_that_is_not_due_holds_up_no_other_run(storage, clock):
    later = await on_new_thread(storage, -5, due=NOW.replace(hour=NOW.hour + 1))
    now = await on_new_thread(storage, 5)
    assert await claimed(storage, 10) == [now]
    clock.move(3600)
    assert await claimed(storage, 10) == [later]


async def test_a_run_that_is_put_back_keeps_its_priority(storage):
    urgent = await on_new_thread(storage, -5)
    (held,) = await claim(storage)
    await on_new_thread(storage, 0)
    await storage.runs.release(held)
    assert await claimed(storage) == [urgent]


async def test_a_copy_of_a_thread_has_no_priority_yet(storage):
    thread = (await storage.threads.create(new_thread(now=NOW))).thread_id
    await add(storage, thread, priority=-5)
    copy = await storage.threads.copy(thread, uuid7(), NOW)
    assert await storage.threads.priority(copy.thread_id) is None
