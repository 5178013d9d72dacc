"""The metadata that the checkpoints of a run share is stored once, and older rows still work."""

from datetime import UTC, datetime

import pytest
from langgraph.checkpoint.base import empty_checkpoint
from tests.conformance.acts import DONE, ROLLED_BACK, checkpoint, root, started, thread_of

from loomline.server.domain.ids import uuid7

NOW = datetime(2026, 1, 1, tzinfo=UTC)
TABLES = ("checkpoints", "checkpoint_blobs", "checkpoint_writes", "checkpoint_facts")


async def chain(saver, thread, count=3, parent=None, **metadata):
    """Put checkpoints of which each is the child of the one before; return the last config."""
    for step in range(count):
        config = root(thread)
        if parent is not None:
            config["configurable"]["checkpoint_id"] = parent["configurable"]["checkpoint_id"]
        saved = empty_checkpoint()
        version = saver.get_next_version(None, None)
        saved["channel_values"] = {"big": "x" * 1000, "small": step}
        saved["channel_versions"] = {"big": version, "small": version}
        given = {"source": "loop", "step": step, "parents": {}, **metadata}
        parent = await saver.aput(config, saved, given, {"big": version, "small": version})
        await saver.aput_writes(parent, [("big", step)], str(uuid7()))
    return parent


async def executed(storage, thread, outcome=DONE, parent=None, **metadata):
    """Execute a run that puts three checkpoints."""
    held = await started(storage, thread)
    saver = storage.run_checkpointer(held, wait=False)
    last = await chain(saver, thread, parent=parent, run_id=str(held.run.run_id), **metadata)
    await storage.runs.finish(held, outcome)
    return held.run.run_id, last


async def listed(storage, thread, **given):
    return [each async for each in storage.checkpointer().alist(root(thread), **given)]


@pytest.fixture
async def old(database):
    """A thread of which an older version has written the checkpoints of a run."""
    async with database.open() as storage:
        thread = await thread_of(storage)
        run, last = await executed(storage, thread, user_id="u")
        history = await listed(storage, thread)
    database.age()
    return thread, run, last, history


async def test_facts_of_a_run_have_one_row_and_every_checkpoint_shows_them(storage, database):
    thread = await thread_of(storage)
    run, _ = await executed(storage, thread, user_id="u", topic={"a": [1]})
    assert database.rows()["checkpoint_facts"] == 1
    for number, found in enumerate(reversed(await listed(storage, thread))):
        assert found.metadata == {
            "source": "loop", "step": number, "parents": {}, "run_id": str(run), "user_id": "u",
            "topic": {"a": [1]},
        }  # fmt: skip


async def test_facts_of_two_runs_on_one_thread_are_told_apart(storage, database):
    thread = await thread_of(storage)
    runs = [(await executed(storage, thread, topic=topic))[0] for topic in ("a", "b")]
    assert database.rows()["checkpoint_facts"] == 2
    for run, topic in zip(runs, ("a", "b"), strict=True):
        for wanted in ({"run_id": str(run)}, {"topic": topic}, {"topic": topic, "step": 1}):
            found = await listed(storage, thread, filter=wanted)
            assert {each.metadata["run_id"] for each in found} == {str(run)}
            assert len(found) == (1 if "step" in wanted else 3)


async def test_facts_that_change_within_a_run_are_those_of_each_checkpoint(storage, database):
    thread = await thread_of(storage)
    held = await started(storage, thread)
    saver = storage.run_checkpointer(held, wait=False)
    for attempt in (1, 2, 1):
        await chain(saver, thread, 1, run_attempt=attempt)
    await storage.runs.finish(held, DONE)
    found = await listed(storage, thread)
    assert [each.metadata["run_attempt"] for each in found] == [1, 2, 1]
    assert database.rows()["checkpoint_facts"] == 2


async def test_facts_go_with_the_run_that_is_rolled_back(storage, database):
    thread = await thread_of(storage)
    _, last = await executed(storage, thread)
    before = await listed(storage, thread)
    await executed(storage, thread, ROLLED_BACK, last)
    assert await listed(storage, thread) == before
    assert database.rows()["checkpoint_facts"] == 1


async def test_facts_of_checkpoints_that_are_pruned_are_deleted(storage, database):
    thread = await thread_of(storage)
    _, last = await executed(storage, thread)
    await executed(storage, thread, parent=last)
    latest = (await listed(storage, thread))[0]
    await storage.threads.prune([thread], "keep_latest")
    assert await listed(storage, thread) == [latest._replace(parent_config=latest.parent_config)]
    assert database.rows()["checkpoint_facts"] == 1


async def test_deleting_a_thread_leaves_no_row_of_its_checkpoints(storage, database):
    other = await thread_of(storage)
    await executed(storage, other)
    kept = database.rows()
    thread = await thread_of(storage)
    await executed(storage, thread)
    await storage.threads.delete(thread)
    assert database.rows() == kept
    assert len(await listed(storage, other)) == 3


async def test_old_checkpoints_are_listed_as_before(database, old):
    thread, run, _, history = old
    async with database.open() as storage:
        assert database.rows()["checkpoint_facts"] == 0
        assert await listed(storage, thread) == history
        assert await listed(storage, thread, filter={"run_id": str(run)}) == history
        assert await listed(storage, thread, before=history[0].config) == history[1:]
        assert await storage.checkpointer().aget_tuple(history[1].config) == history[1]


async def test_a_run_on_an_old_thread_adds_checkpoints_to_the_old_ones(database, old):
    thread, _, last, history = old
    async with database.open() as storage:
        run, _ = await executed(storage, thread, parent=last)
        found = await listed(storage, thread)
        assert found[3:] == history
        assert found[2].parent_config == history[0].config
        assert await listed(storage, thread, before=found[1].config) == found[2:]
        assert await listed(storage, thread, filter={"run_id": str(run)}) == found[:3]


async def test_rolling_back_on_an_old_thread_restores_it(database, old):
    thread, _, last, history = old
    async with database.open() as storage:
        await executed(storage, thread, ROLLED_BACK, last)
        assert await listed(storage, thread) == history


async def test_deleting_the_checkpoints_of_an_old_run_leaves_those_of_a_new_one(database, old):
    thread, run, last, _ = old
    async with database.open() as storage:
        await executed(storage, thread, parent=last)
        kept = (await listed(storage, thread))[:3]
        await storage.checkpointer().adelete_for_runs([str(run)])
        assert await listed(storage, thread) == kept


async def test_a_copy_of_an_old_thread_has_its_history_and_goes_on(database, old):
    thread, _, last, history = old
    target = uuid7()
    async with database.open() as storage:
        await storage.threads.copy(thread, target, NOW)
        copied = await listed(storage, target)
        assert [each.checkpoint for each in copied] == [each.checkpoint for each in history]
        assert [each.pending_writes for each in copied] == [each.pending_writes for each in history]
        await executed(storage, target, parent=last)
        found = await listed(storage, target)
        assert found[3:] == copied
        assert found[2].parent_config == copied[0].config


async def test_pruning_an_old_thread_keeps_its_latest_checkpoint(database, old):
    thread, _, last, _ = old
    async with database.open() as storage:
        await executed(storage, thread, parent=last)
        latest = (await listed(storage, thread))[0]
        await storage.threads.prune([thread], "keep_latest")
        assert await listed(storage, thread) == [latest]


async def test_deleting_an_old_thread_leaves_no_row(database, old):
    thread, _, last, _ = old
    async with database.open() as storage:
        await executed(storage, thread, parent=last)
        await storage.threads.delete(thread)
        counted = database.rows()
        assert {table: counted[table] for table in TABLES} == dict.fromkeys(TABLES, 0)


async def test_a_listing_of_all_threads_has_old_and_new_ones(database, old):
    _, _, _, history = old
    async with database.open() as storage:
        saver = storage.checkpointer()
        await executed(storage, await thread_of(storage))
        found = [each async for each in saver.alist(None)]
        assert len(found) == 6
        assert found[3:] == history
        assert [each async for each in saver.alist(None, before=found[1].config)] == found[2:]
        # A filter makes the database look at all of them, page by page.
        picked = saver.alist(None, filter={"step": 1}, limit=2)
        assert [each async for each in picked] == [found[1], found[4]]


async def test_versions_keep_the_form_that_they_have_on_their_thread(storage):
    saver = storage.checkpointer()
    assert saver.get_next_version("0000000000000009.8c9a6577d3b0", None) > "0000000000000009.9"
    stock = f"{9:032}.0.25"
    assert saver.get_next_version(stock, None).startswith(f"{10:032}.")
    versions = [saver.get_next_version(None, None)]
    for _ in range(12):
        versions.append(saver.get_next_version(versions[-1], None))
    assert versions == sorted(versions)
    assert len({len(each) for each in versions}) == 1
    # langgraph's own saver parses the number, and its versions come after all of these.
    assert int(versions[-1].partition(".")[0]) == len(versions)
    assert f"{1:032}.0.25" > versions[-1]


@pytest.mark.parametrize(
    ("value", "rows"),
    [
        ({"x": 1}, 0),
        ({"role": "user", "content": "hi"}, 0),
        ({"content": "hi", "role": "user"}, 1),  # jsonb would sort the keys
        ([{"a": [None, True, -1, "ä"]}], 0),
        ({1: "a"}, 1),
        ({"a": 1.5}, 1),
        ({"a": "x" * 200}, 1),
        (list(range(100)), 1),
    ],
)
async def test_small_containers_that_json_gives_back_need_no_row(storage, database, value, rows):
    saver = storage.checkpointer()
    saved = await checkpoint(saver, "t", "r", value)
    found = (await saver.aget_tuple(saved)).checkpoint["channel_values"]["big"]
    assert repr(found) == repr(value)
    assert database.rows()["checkpoint_blobs"] == rows
