"""How the events of a thread go on being numbered from one run to the next."""

from dataclasses import replace

import pytest
from tests.conformance.acts import DONE, INTERRUPT, ROLLED_BACK, add, claim, started, thread_of

from loomline.server.domain.errors import ThreadNotFound
from loomline.server.domain.ids import uuid7
from loomline.server.domain.runs import ENDED_NUMBERS, LOST_NUMBERS

pytestmark = pytest.mark.unsealed


async def test_a_run_goes_on_after_the_one_before(storage):
    thread = await thread_of(storage)
    first = await started(storage, thread)
    assert first.event_number == 0
    await storage.runs.finish(first, replace(DONE, event_number=7))
    assert (await started(storage, thread)).event_number == 7
    assert await storage.threads.event_number(thread) == 7


async def test_a_thread_that_does_not_exist_has_none(storage):
    with pytest.raises(ThreadNotFound):
        await storage.threads.event_number(uuid7())


@pytest.mark.parametrize("outcome", [DONE, ROLLED_BACK], ids=["without events", "rolled back"])
async def test_numbers_never_go_back(storage, outcome):
    thread = await thread_of(storage)
    await storage.runs.finish(await started(storage, thread), replace(DONE, event_number=7))
    await storage.runs.finish(await started(storage, thread), replace(outcome, event_number=3))
    assert (await started(storage, thread)).event_number == 7


@pytest.mark.parametrize("how", ["cancelled", "superseded"])
async def test_a_run_that_ends_without_having_begun_has_numbers_of_its_own(storage, how):
    thread = await thread_of(storage)
    held = await started(storage, thread)
    waiting = await add(storage, thread)
    if how == "cancelled":
        await storage.runs.cancel(thread, [waiting], INTERRUPT)
    else:
        await add(storage, thread, strategy="interrupt")
    assert await storage.threads.event_number(thread) == ENDED_NUMBERS
    await storage.runs.finish(held, replace(DONE, event_number=7))
    assert await storage.threads.event_number(thread) == 7 + ENDED_NUMBERS


async def test_each_thread_has_its_own(storage):
    thread, other = await thread_of(storage), await thread_of(storage)
    await storage.runs.finish(await started(storage, thread), replace(DONE, event_number=7))
    assert (await started(storage, other)).event_number == 0


@pytest.mark.parametrize("attempts", [1, 3], ids=["given up", "again"])
async def test_an_execution_that_was_lost_may_have_used_numbers(storage, clock, attempts):
    thread = await thread_of(storage)
    await started(storage, thread)
    clock.move(60)
    await storage.runs.reclaim(max_attempts=attempts)
    await add(storage, thread)
    (held,) = await claim(storage)
    assert held.event_number == LOST_NUMBERS


async def test_a_run_that_is_given_back_may_have_used_numbers(storage):
    thread = await thread_of(storage)
    await storage.runs.release(await started(storage, thread))
    (held,) = await claim(storage)
    assert held.event_number == LOST_NUMBERS
