"""Listing the checkpoints of a long thread."""

import asyncio

from langgraph.checkpoint.base import create_checkpoint, empty_checkpoint
from tests.conformance.acts import root, thread_of

COUNT = 1100


async def filled(storage):
    """Return a saver and a thread with many checkpoints, and their ids, newest first."""
    saver, thread = storage.checkpointer(), await thread_of(storage)
    made = [create_checkpoint(empty_checkpoint(), None, 1) for _ in range(COUNT)]
    await asyncio.gather(
        *(
            saver.aput(
                root(thread), each, {"source": "loop", "step": number, "odd": number % 2}, {}
            )
            for number, each in enumerate(made)
        )
    )
    return saver, thread, [each["id"] for each in made][::-1]


async def listed(saver, thread, wanted=None, limit=None, before=None):
    last = None if before is None else {"configurable": {"checkpoint_id": before}}
    found = saver.alist(root(thread), filter=wanted, limit=limit, before=last)
    return [each.checkpoint["id"] async for each in found]


async def test_a_long_list(storage):
    saver, thread, ids = await filled(storage)
    assert await listed(saver, thread) == ids
    assert await listed(saver, thread, limit=70) == ids[:70]
    assert await listed(saver, thread, limit=60, before=ids[100]) == ids[101:161]
    assert await listed(saver, thread, {"odd": 1}) == ids[::2]
    assert await listed(saver, thread, {"odd": 0}, limit=70) == ids[1:141:2]
    assert await listed(saver, thread, {"step": 3}) == [ids[-4]]
    assert await listed(saver, thread, {"step": 3, "odd": 0}) == []
    assert await listed(saver, thread, {"odd": 1.0}, limit=3, before=ids[1000]) == ids[1002:1008:2]
    assert await listed(saver, thread, {"odd": True}) == []
    again = await asyncio.to_thread(
        lambda: [each.checkpoint["id"] for each in saver.list(root(thread), filter={"odd": 1})]
    )
    assert again == ids[::2]
