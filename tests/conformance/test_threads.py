"""What every database must do with threads."""

import asyncio

import pytest
from tests.conformance.acts import DONE, NOW, add, checkpoint, claim, thread_of
from tests.support import new_thread

from loomline.server.domain.errors import ThreadExists, ThreadNotFound
from loomline.server.domain.ids import uuid7


async def test_new_thread_is_returned_with_its_fields(storage):
    new = new_thread(metadata={"a": {"b": [1, None]}}, now=NOW)
    made = await storage.threads.create(new)
    assert made == await storage.threads.get(new.thread_id)
    assert (made.status, made.metadata, made.created_at) == ("idle", {"a": {"b": [1, None]}}, NOW)
    assert made.values is made.interrupts is made.error is None


async def test_a_thread_id_is_taken_once(storage):
    new = new_thread(metadata={"first": True})
    await storage.threads.create(new)
    with pytest.raises(ThreadExists):
        await storage.threads.create(new_thread(new.thread_id))
    again = await storage.threads.create(new_thread(new.thread_id, {"second": True}, "do_nothing"))
    assert again.metadata == {"first": True}


async def test_many_creators_of_one_thread(database, storage):
    thread_id = uuid7()
    made = await asyncio.gather(
        *(storage.threads.create(new_thread(thread_id)) for _ in range(20)), return_exceptions=True
    )
    assert sum(isinstance(each, ThreadExists) for each in made) == 19
    assert database.rows()["threads"] == 1


async def test_deleting_a_thread_leaves_no_row(database, storage):
    before = database.rows()
    thread = await thread_of(storage)
    run = await add(storage, thread)
    (held,) = await claim(storage)
    await checkpoint(storage.run_checkpointer(held, wait=False), thread, run)
    await storage.runs.finish(held, DONE)
    pending = await add(storage, thread)
    assert await storage.threads.delete(thread) == (pending,)
    assert database.rows() == before
    with pytest.raises(ThreadNotFound):
        await storage.threads.delete(thread)


async def test_a_thread_that_is_not_there(storage):
    with pytest.raises(ThreadNotFound):
        await storage.threads.get(uuid7())
