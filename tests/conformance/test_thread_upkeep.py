"""Changing, copying, cutting down and expiring threads."""

import asyncio
import dataclasses
from datetime import timedelta

import pytest
from langgraph.checkpoint.base import create_checkpoint, empty_checkpoint
from tests.conformance.acts import (
    DONE,
    NOW,
    ROLLED_BACK,
    add,
    checkpoint,
    claim,
    root,
    started,
    thread_of,
)
from tests.support import new_run, new_thread

from loomline.server.domain.errors import StateChanged, ThreadExists, ThreadInFlight, ThreadNotFound
from loomline.server.domain.ids import uuid7
from loomline.server.domain.json import Encoded
from loomline.server.domain.runs import Outcome
from loomline.server.domain.threads import ThreadPatch, ThreadState, Ttl

LATER = NOW + timedelta(hours=1)
STATE = ThreadState("interrupted", Encoded(b'{"v":1}'), Encoded(b'{"t":[]}'), LATER)


async def put(saver, thread, namespace="", parent=None, value="x" * 1000, **metadata):
    config = root(thread)
    config["configurable"] |= {"checkpoint_ns": namespace}
    if parent is not None:
        config["configurable"]["checkpoint_id"] = parent["configurable"]["checkpoint_id"]
    made = create_checkpoint(empty_checkpoint(), None, 1)
    version = saver.get_next_version(None, None)
    made["channel_values"] = {"big": value, "small": 1}
    made["channel_versions"] = {"big": version, "small": version}
    return await saver.aput(
        config, made, {"source": "loop", "step": 1, **metadata}, made["channel_versions"]
    )


async def checkpoints(storage, thread):
    config = {"configurable": {"thread_id": str(thread)}}
    return [each async for each in storage.checkpointer().alist(config)]


async def test_update_merges_metadata_and_changes_updated_at(storage):
    thread = await thread_of(storage, metadata={"a": {"x": 1}, "b": 1})
    patch = ThreadPatch(LATER, {"a": {"y": None}, "c": None})
    changed = await storage.threads.update(thread, patch)
    assert changed.metadata == {"a": {"y": None}, "b": 1, "c": None}
    assert (changed.created_at, changed.updated_at, changed.state_updated_at) == (NOW, LATER, NOW)
    again = await storage.threads.update(thread, ThreadPatch(NOW))
    assert (again.metadata, again.updated_at, again.ttl) == (changed.metadata, NOW, None)
    with pytest.raises(ThreadNotFound):
        await storage.threads.update(uuid7(), patch)


async def test_updates_at_the_same_time_lose_nothing(storage):
    thread = await thread_of(storage)
    await asyncio.gather(
        *(storage.threads.update(thread, ThreadPatch(NOW, {str(n): n})) for n in range(20))
    )
    assert len((await storage.threads.get(thread)).metadata) == 20


async def test_a_ttl_is_kept_and_replaced(storage):
    new = new_thread(now=NOW)
    made = await storage.threads.create(
        type(new)(new.thread_id, {}, "raise", NOW, Ttl(1.5, "keep_latest"))
    )
    assert (made.ttl, made.expires_at) == (Ttl(1.5, "keep_latest"), NOW + timedelta(seconds=90))
    await storage.threads.update(new.thread_id, ThreadPatch(NOW, {"a": 1}))
    assert (await storage.threads.get(new.thread_id)).ttl == Ttl(1.5, "keep_latest")
    changed = await storage.threads.update(new.thread_id, ThreadPatch(LATER, ttl=Ttl(3)))
    assert (changed.ttl, changed.expires_at) == (Ttl(3, "delete"), LATER + timedelta(minutes=3))


async def test_a_copy_has_everything_but_the_runs(storage):
    source = await thread_of(storage, metadata={"a": 1})
    await storage.threads.update(source, ThreadPatch(NOW, ttl=Ttl(5)))
    held = await started(storage, source)
    saver = storage.run_checkpointer(held, wait=True)
    first = await put(saver, source, thread_id=str(source), run_id=str(held.run.run_id))
    await put(saver, source, parent=first, value="y" * 1000)
    await put(saver, source, namespace="child:1")
    await saver.aput_writes(first, [("big", 2)], "task")
    error = Encoded(b'{"error":"E","message":"m"}')
    outcome = Outcome("error", "error", Encoded(b'{"v":1}'), Encoded(b'{"t":[]}'), error)
    await storage.runs.finish(held, outcome)
    target = uuid7()
    copied = await storage.threads.copy(source, target, LATER)
    original = await storage.threads.get(source)
    assert copied == await storage.threads.get(target)
    assert copied.thread_id == target
    for name in ("status", "metadata", "config", "values", "interrupts", "error", "ttl"):
        assert getattr(copied, name) == getattr(original, name), name
    assert copied.created_at == copied.updated_at == copied.state_updated_at == LATER
    assert await storage.runs.list(target, limit=10, offset=0, status=None) == []
    before, after = await checkpoints(storage, source), await checkpoints(storage, target)
    assert [each.checkpoint for each in after] == [each.checkpoint for each in before]
    assert [each.pending_writes for each in after] == [each.pending_writes for each in before]
    assert {each.config["configurable"]["thread_id"] for each in after} == {str(target)}
    assert [each.metadata.get("thread_id") for each in after] == [
        str(target) if each.metadata.get("thread_id") else None for each in before
    ]
    assert [each.metadata.get("run_id") for each in after] == [
        each.metadata.get("run_id") for each in before
    ]
    # What happens to the source and its runs is nothing to the copy.
    await storage.runs.delete(source, held.run.run_id)
    await storage.threads.delete(source)
    assert [each.checkpoint for each in await checkpoints(storage, target)] == [
        each.checkpoint for each in before
    ]


async def test_a_copy_of_a_busy_thread_is_settled(storage):
    source = await thread_of(storage)
    await add(storage, source)
    copied = await storage.threads.copy(source, uuid7(), NOW)
    assert copied.status == "idle"
    with pytest.raises(ThreadNotFound):
        await storage.threads.copy(uuid7(), uuid7(), NOW)


async def test_a_copy_survives_the_rollback_of_the_source(storage):
    source = await thread_of(storage)
    held = await started(storage, source)
    await put(storage.run_checkpointer(held, wait=True), source)
    copied = (await storage.threads.copy(source, uuid7(), NOW)).thread_id
    await storage.runs.finish(held, ROLLED_BACK)
    assert await checkpoints(storage, source) == []
    assert len(await checkpoints(storage, copied)) == 1


async def test_pruning_to_the_latest(storage):
    saver = storage.checkpointer()
    thread, other = await thread_of(storage), await thread_of(storage)
    latest = {}
    for namespace in ("", "child:1", "child:1|deep:2"):
        parent = None
        for number in range(3):
            parent = await put(saver, thread, namespace, parent, value=str(number) * 1000)
        latest[namespace] = parent
        await saver.aput_writes(parent, [("big", namespace)], "task")
    await put(saver, other)
    found = await storage.threads.prune([thread, uuid7(), thread], "keep_latest")
    assert (found.threads, found.stopped) == ((thread,), ())
    kept = await checkpoints(storage, thread)
    assert {each.config["configurable"]["checkpoint_ns"]: each.config for each in kept} == latest
    assert len(kept) == 3
    assert all(each.checkpoint["channel_values"]["big"] == "2" * 1000 for each in kept)
    assert all(len(each.pending_writes) == 1 for each in kept)
    assert (await storage.threads.get(thread)).updated_at == NOW
    assert len(await checkpoints(storage, other)) == 1


async def test_pruning_keeps_the_state_before_a_running_run(storage):
    thread = await thread_of(storage)
    before = await put(storage.checkpointer(), thread)
    held = await started(storage, thread)
    await put(storage.run_checkpointer(held, wait=True), thread, parent=before)
    assert (await storage.threads.prune([thread], "keep_latest")).threads == ()
    await storage.runs.finish(held, ROLLED_BACK)
    assert [each.config for each in await checkpoints(storage, thread)] == [before]


async def test_pruned_threads_leave_no_rows(database, storage):
    before = database.rows()
    threads = [await thread_of(storage, metadata={"a": [1, {"b": 2}]}) for _ in range(3)]
    held = await started(storage, threads[0])
    await put(storage.run_checkpointer(held, wait=True), threads[0])
    waiting = await add(storage, threads[1])
    found = await storage.threads.prune([*threads, uuid7(), threads[0]], "delete")
    assert found.threads == tuple(threads)
    assert set(found.stopped) == {held.run.run_id, waiting}
    assert database.rows() == before


async def test_size_of_a_thread_counts_its_rows(storage):
    thread = await thread_of(storage)
    empty = await storage.threads.size(thread)
    assert (empty.checkpoints.count, empty.checkpoints.bytes, empty.channels) == (0, 0, {})
    saver = storage.checkpointer()
    first = await put(saver, thread, value="ä" * 5000)
    await put(saver, thread, parent=first, value="y" * 7000)
    await saver.aput_writes(first, [("big", "z" * 3000), ("small", 1)], "task")
    size = await storage.threads.size(thread)
    assert size.checkpoints.count == 2
    assert 0 < size.checkpoints.bytes < 5000
    assert size.channels["big"].count == 2
    assert 17_000 <= size.channels["big"].bytes < 18_000
    assert size.channels["small"].count == 2
    assert size.pending_writes.count == 2
    assert 3000 <= size.pending_writes.bytes < 4000
    with pytest.raises(ThreadNotFound):
        await storage.threads.size(uuid7())


@pytest.fixture
def expiring(storage):
    async def make(minutes, strategy="delete", now=NOW):
        new = new_thread(now=now)
        ttl = Ttl(minutes, strategy)
        return (
            await storage.threads.create(type(new)(new.thread_id, {"a": 1}, "raise", now, ttl))
        ).thread_id

    return make


def minutes(number):
    return NOW + timedelta(minutes=number)


async def test_expired_threads_are_deleted_or_pruned_by_their_strategy(database, storage, expiring):
    forever = await thread_of(storage)
    before = database.rows()
    long, short, middle = await expiring(30), await expiring(0.5), await expiring(10)
    assert (await storage.threads.expire(minutes(0.4), 10)).threads == ()
    assert (await storage.threads.expire(minutes(20), 1)).threads == (short,)
    assert (await storage.threads.expire(minutes(20), 10)).threads == (middle,)
    assert (await storage.threads.expire(minutes(20), 10)).threads == ()
    assert (await storage.threads.expire(minutes(30), 10)).threads == (long,)
    assert database.rows() == before
    assert (await storage.threads.get(forever)).expires_at is None


async def test_whatever_changes_a_thread_puts_its_end_off(storage, expiring, clock):
    thread = await expiring(10)
    await storage.threads.update(thread, ThreadPatch(minutes(5)))
    assert (await storage.threads.expire(minutes(11), 10)).threads == ()
    clock.time = minutes(12)
    run = await storage.runs.create(new_run(thread, now=clock.now()))
    (held,) = await claim(storage)
    assert held.run.run_id == run.run.run_id
    assert (await storage.threads.expire(minutes(1000), 10)).threads == ()
    clock.time = minutes(100)
    await storage.runs.finish(held, DONE)
    assert (await storage.threads.expire(minutes(109), 10)).threads == ()
    assert (await storage.threads.expire(minutes(110), 10)).threads == (thread,)


async def test_cutting_down_when_expired(storage, expiring):
    thread = await expiring(10, "keep_latest")
    saver = storage.checkpointer()
    first = await put(saver, thread)
    last = await put(saver, thread, parent=first)
    assert (await storage.threads.expire(minutes(10), 10)).threads == (thread,)
    assert [each.config for each in await checkpoints(storage, thread)] == [last]
    assert (await storage.threads.get(thread)).updated_at == NOW
    assert (await storage.threads.expire(minutes(1000), 10)).threads == ()
    await storage.threads.update(thread, ThreadPatch(minutes(2000)))
    assert (await storage.threads.expire(minutes(2009), 10)).threads == ()
    assert (await storage.threads.expire(minutes(2010), 10)).threads == (thread,)


async def test_edit_is_invisible_until_it_is_committed(storage):
    thread = await thread_of(storage, metadata={"a": 1})
    stored = await put(storage.checkpointer(), thread)
    edit = storage.edit(thread)
    saver = edit.checkpointer
    assert (await saver.aget_tuple(root(thread))).config == stored
    await saver.aput_writes(stored, [("big", [1])], "task")
    written = await put(saver, thread, parent=stored, value={"k": "z" * 1000}, run_id="r")
    await saver.aput_writes(written, [("small", 2)], "task")
    found = await saver.aget_tuple(root(thread))
    assert (found.config, found.parent_config) == (written, stored)
    assert found.checkpoint["channel_values"] == {"big": {"k": "z" * 1000}, "small": 1}
    assert found.metadata["run_id"] == "r"
    assert found.pending_writes == [("task", "small", 2)]
    assert (await saver.aget_tuple(stored)).pending_writes == [("task", "big", [1])]
    other = root(thread)
    other["configurable"]["checkpoint_ns"] = "child"
    assert await saver.aget_tuple(other) is None
    (alone,) = await checkpoints(storage, thread)
    assert (alone.config, alone.pending_writes) == (stored, [])
    changed = await edit.commit(STATE)
    assert changed == await storage.threads.get(thread)
    assert (changed.status, changed.values, changed.interrupts) == (
        "interrupted", STATE.values, STATE.interrupts,
    )  # fmt: skip
    assert (changed.metadata, changed.updated_at, changed.state_updated_at, changed.error) == (
        {"a": 1}, LATER, LATER, None,
    )  # fmt: skip
    after = await checkpoints(storage, thread)
    assert [each.config for each in after] == [written, stored]
    assert [each.pending_writes for each in after] == [
        [("task", "small", 2)],
        [("task", "big", [1])],
    ]


async def test_a_thread_without_its_values(storage):
    thread = await thread_of(storage)
    whole = await storage.edit(thread).commit(STATE)
    found = await storage.threads.get(thread, with_values=False)
    assert (found.values, whole.values) == (None, STATE.values)
    assert dataclasses.replace(found, values=whole.values) == whole
    patch = ThreadPatch(whole.updated_at)
    assert await storage.threads.update(thread, patch, with_values=False) == found
    assert await storage.threads.update(thread, patch) == whole
    with pytest.raises(ThreadNotFound):
        await storage.threads.get(uuid7(), with_values=False)


async def test_an_edit_repairs_a_failed_thread(storage):
    thread = await thread_of(storage)
    held = await started(storage, thread)
    failed = Outcome("error", "error", error=Encoded(b'{"error":"E","message":"m"}'))
    await storage.runs.finish(held, failed)
    changed = await storage.edit(thread).commit(STATE)
    assert (changed.status, changed.error) == ("interrupted", None)
    # And it is what the thread returns to.
    await add(storage, thread)
    assert (await storage.threads.copy(thread, uuid7(), NOW)).status == "interrupted"


async def test_an_edit_gives_way_to_runs(storage):
    thread = await thread_of(storage)
    edit = storage.edit(thread)
    await put(edit.checkpointer, thread)
    await add(storage, thread)
    with pytest.raises(ThreadInFlight):
        await edit.commit(STATE)
    assert await checkpoints(storage, thread) == []
    assert (await storage.threads.get(thread)).values is None


async def test_edit_fails_when_the_thread_changed_after_its_read(storage):
    thread = await thread_of(storage)
    first, second, third = (storage.edit(thread) for _ in range(3))
    for edit in (first, second):
        assert await edit.checkpointer.aget_tuple(root(thread)) is None
    written = await put(first.checkpointer, thread)
    await put(second.checkpointer, thread)
    await first.commit(STATE)
    with pytest.raises(StateChanged):
        await second.commit(STATE)
    assert [each.config for each in await checkpoints(storage, thread)] == [written]
    # A fork rests on a checkpoint that does not change, wherever the newest is.
    assert (await third.checkpointer.aget_tuple(written)).config == written
    await put(storage.checkpointer(), thread)
    await put(third.checkpointer, thread, parent=written)
    await third.commit(STATE)
    assert len(await checkpoints(storage, thread)) == 3


async def test_an_edit_of_a_thread_that_is_gone(database, storage):
    before = database.rows()
    thread = await thread_of(storage)
    edit = storage.edit(thread)
    await put(edit.checkpointer, thread)
    await storage.threads.delete(thread)
    with pytest.raises(ThreadNotFound):
        await edit.commit(STATE)
    assert database.rows() == before


async def test_an_edit_that_makes_its_thread(storage):
    new = new_thread(metadata={"a": 1}, now=NOW)
    edit = storage.edit(new.thread_id)
    written = await put(edit.checkpointer, new.thread_id)
    made = await edit.commit(STATE, new)
    assert (made.metadata, made.created_at, made.values) == ({"a": 1}, NOW, STATE.values)
    assert [each.config for each in await checkpoints(storage, new.thread_id)] == [written]
    with pytest.raises(ThreadExists):
        await storage.edit(new.thread_id).commit(STATE, new)
    again = storage.edit(new.thread_id)
    await put(again.checkpointer, new.thread_id)
    same = new_thread(new.thread_id, {"b": 1}, "do_nothing", NOW)
    assert await again.commit(STATE, same) == made
    assert len(await checkpoints(storage, new.thread_id)) == 1


async def test_deleting_leaves_nothing_of_a_copy_or_an_edit(database, storage):
    before = database.rows()
    thread = await thread_of(storage, metadata={"a": [1, 2]})
    run = await add(storage, thread)
    (held,) = await claim(storage)
    await checkpoint(storage.run_checkpointer(held, wait=True), thread, run)
    await storage.runs.finish(held, DONE)
    copied = (await storage.threads.copy(thread, uuid7(), NOW)).thread_id
    edit = storage.edit(copied)
    await put(edit.checkpointer, copied)
    await edit.commit(STATE)
    await storage.threads.delete(thread)
    await storage.threads.delete(copied)
    assert database.rows() == before
