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


async def test_long_list_is_returned_in_pages_without_gaps(storage):
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


async def test_heads_equal_the_list_without_its_values(storage):
    saver, thread, ids = await filled(storage)
    last = {"configurable": {"checkpoint_id": ids[5]}}
    found = await saver.heads(root(thread), filter={"odd": 1}, before=last, limit=70)
    listed = saver.alist(root(thread), filter={"odd": 1}, before=last, limit=70)
    assert [each.config for each in found] == [each.config async for each in listed]
    assert [each.checkpoint["id"] for each in found] == ids[6:146:2]
    assert found[0].metadata["odd"] == 1


async def test_heads_are_read_without_reading_values(database, storage):
    saver, thread = storage.checkpointer(), await thread_of(storage)
    made = create_checkpoint(empty_checkpoint(), None, 1)
    version = saver.get_next_version(None, None)
    made["channel_values"], made["channel_versions"] = {"big": "x" * 1000}, {"big": version}
    await saver.aput(root(thread), made, {"source": "loop", "step": 1}, {"big": version})
    # A value that no reader can decode shows that no reader has looked at it.
    database.execute("UPDATE checkpoint_blobs SET type = 'unknown'")
    (head,) = await saver.heads(root(thread), limit=10)
    assert head.config["configurable"]["checkpoint_id"] == made["id"]
    assert head.checkpoint["channel_values"] == {}
    assert (head.metadata["step"], head.checkpoint["ts"]) == (1, made["ts"])
