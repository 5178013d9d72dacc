"""Runs that are added only if their thread is as it was when somebody decided on them."""

import asyncio

import pytest
from tests.conformance.acts import INTERRUPT, NOW, add, claim, started, thread_of
from tests.support import new_run

from loomline.server.domain.errors import ThreadMoved
from loomline.server.domain.runs import Outcome, Seen

pytestmark = pytest.mark.unsealed


async def look(storage, thread):
    runs = await storage.runs.list(thread, limit=100, offset=0, status=None)
    number = await storage.threads.event_number(thread)
    return Seen(frozenset(run.run_id for run in runs if run.active), number)


async def answer(storage, thread, seen):
    return await storage.runs.create(new_run(thread, now=NOW, seen=seen))


async def finish(storage, held, number):
    await storage.runs.finish(held, Outcome("success", "idle", event_number=number))


async def test_of_several_at_once_one_is_added(storage):
    thread = await thread_of(storage)
    await finish(storage, await started(storage, thread), 5)
    seen = await look(storage, thread)
    found = await asyncio.gather(
        *[answer(storage, thread, seen) for _ in range(8)], return_exceptions=True
    )
    assert sorted(type(each).__name__ for each in found) == ["Created"] + ["ThreadMoved"] * 7
    assert len(await storage.runs.list(thread, limit=100, offset=0, status="pending")) == 1


async def test_run_is_added_after_another_look_at_the_thread(storage):
    thread = await thread_of(storage)
    for _ in range(3):
        await answer(storage, thread, await look(storage, thread))
    assert len((await look(storage, thread)).active) == 3


async def test_a_run_that_has_come_and_gone_is_noticed(storage):
    thread = await thread_of(storage)
    seen = await look(storage, thread)
    await finish(storage, await started(storage, thread), 5)
    with pytest.raises(ThreadMoved):
        await answer(storage, thread, seen)


async def test_a_run_that_ends_is_noticed(storage):
    thread = await thread_of(storage)
    held = await started(storage, thread)
    seen = await look(storage, thread)
    await finish(storage, held, 5)
    with pytest.raises(ThreadMoved):
        await answer(storage, thread, seen)


async def test_a_run_that_waits_is_noticed_to_have_been_cancelled(storage):
    thread = await thread_of(storage)
    waiting = await add(storage, thread)
    seen = await look(storage, thread)
    await storage.runs.cancel(thread, [waiting], INTERRUPT)
    with pytest.raises(ThreadMoved):
        await answer(storage, thread, seen)


async def test_a_run_that_begins_changes_nothing(storage):
    thread = await thread_of(storage)
    await add(storage, thread)
    seen = await look(storage, thread)
    await claim(storage)
    await answer(storage, thread, seen)


async def test_refused_addition_changes_nothing_on_the_thread(storage):
    thread = await thread_of(storage)
    waiting = await add(storage, thread)
    seen = Seen(frozenset(), 0)
    with pytest.raises(ThreadMoved):
        await storage.runs.create(new_run(thread, now=NOW, seen=seen, strategy="interrupt"))
    (run,) = await storage.runs.list(thread, limit=100, offset=0, status=None)
    assert (run.run_id, run.status) == (waiting, "pending")
