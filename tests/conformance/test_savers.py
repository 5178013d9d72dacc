"""What every database must do with checkpoints, besides what langgraph's own kit asks."""

import asyncio
from typing import TypedDict

import pytest
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.graph import StateGraph
from langgraph.types import Command, interrupt
from tests.conformance.acts import (
    DONE,
    ROLLED_BACK,
    add,
    checkpoint,
    claim,
    root,
    started,
    thread_of,
)

from loomline.server.domain.errors import LeaseLost


async def test_a_saver_that_waits_has_its_writes_on_disk(database, storage):
    thread = await thread_of(storage)
    run = await add(storage, thread)
    (held,) = await claim(storage)
    await checkpoint(storage.run_checkpointer(held, wait=True), thread, run)
    assert database.rows()["checkpoints"] == 1


async def test_a_saver_reads_its_own_unwritten_writes(storage):
    thread = await thread_of(storage)
    run = await add(storage, thread)
    (held,) = await claim(storage)
    saver = storage.run_checkpointer(held, wait=False)
    root = {"configurable": {"thread_id": str(thread), "checkpoint_ns": ""}}
    assert await saver.aget_tuple(root) is None
    for number in range(20):
        saved = await checkpoint(saver, thread, run, number)
        found = await saver.aget_tuple(root)
        assert (
            found.config["configurable"]["checkpoint_id"] == saved["configurable"]["checkpoint_id"]
        )
        assert found.pending_writes[0][2] == number
    assert len([each async for each in saver.alist(root)]) == 20
    assert len(await asyncio.to_thread(lambda: list(saver.list(root, limit=3)))) == 3
    found = await asyncio.to_thread(saver.get_tuple, root)
    assert found.checkpoint["channel_values"] == {"big": 19}


async def test_pruning_keeps_the_checkpoints_of_a_delta_channel(storage):
    saver = storage.checkpointer()
    config = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}
    for step in range(5):
        saved = empty_checkpoint()
        if step == 1:
            saved["channel_values"] = {"delta": ["snapshot"]}
        saved["channel_versions"] = {"delta": str(step)}
        counters = {"delta": (step - 1, step - 1)} if step > 1 else {}
        metadata = {
            "step": step,
            **({"counters_since_delta_snapshot": counters} if counters else {}),
        }
        config = await saver.aput(config, saved, metadata, {"delta": str(step)})
        await saver.aput_writes(config, [("delta", step)], f"task-{step}")
    before = await saver.aget_delta_channel_history(config=config, channels=["delta"])
    await saver.aprune(["t"])
    assert await saver.aget_delta_channel_history(config=config, channels=["delta"]) == before
    left = [each async for each in saver.alist({"configurable": {"thread_id": "t"}})]
    assert [each.metadata["step"] for each in left] == [4, 3, 2, 1]


async def test_everything_is_there_after_a_restart(database, clock):
    async with database.open(clock) as storage:
        thread = await thread_of(storage, metadata={"a": 1})
        run = await add(storage, thread)
        (held,) = await claim(storage)
        saved = await checkpoint(storage.run_checkpointer(held, wait=False), thread, run)
    async with database.open(clock) as storage:
        assert (await storage.threads.get(thread)).metadata["a"] == 1
        assert (await storage.runs.reclaim(max_attempts=3, orphaned=True)).requeued == (run,)
        found = await storage.checkpointer().aget_tuple(saved)
        assert found.checkpoint["channel_values"] == {"big": "x" * 1000}


class Answers(TypedDict):
    text: str


def ask(state):
    return {"text": interrupt("first") + interrupt("second")}


ASKING = StateGraph(Answers).add_node("ask", ask).set_entry_point("ask").compile()


async def turn(storage, thread, given, outcome=DONE):
    """Execute the asking graph as a run; return what it returned and what it asks now."""
    held = await started(storage, thread)
    saver = storage.run_checkpointer(held, wait=False)
    graph = ASKING.copy(update={"checkpointer": saver})
    result = await graph.ainvoke(given, root(thread), durability="async")
    await storage.runs.finish(held, outcome)
    return result


async def asked(storage, thread):
    graph = ASKING.copy(update={"checkpointer": storage.checkpointer()})
    state = await graph.aget_state(root(thread))
    return [each.value for each in state.interrupts]


async def test_rolling_back_a_resumed_run_takes_its_answers_back(storage):
    thread = await thread_of(storage)
    await turn(storage, thread, {"text": ""})
    assert await asked(storage, thread) == ["first"]
    await turn(storage, thread, Command(resume="regretted "), ROLLED_BACK)
    assert await asked(storage, thread) == ["first"]
    await turn(storage, thread, Command(resume="one "))
    assert await asked(storage, thread) == ["second"]
    await turn(storage, thread, Command(resume="regretted"), ROLLED_BACK)
    assert await asked(storage, thread) == ["second"]
    assert await turn(storage, thread, Command(resume="two")) == {"text": "one two"}


async def test_two_savers_of_a_claim_see_each_other(storage):
    thread = await thread_of(storage)
    held = await started(storage, thread)
    saved = await checkpoint(storage.run_checkpointer(held, wait=False), thread, held.run.run_id)
    found = await storage.run_checkpointer(held, wait=False).aget_tuple(root(thread))
    assert found.config == saved


async def test_the_state_may_change_once_a_write_has_returned(storage):
    thread = await thread_of(storage)
    held = await started(storage, thread)
    saver = storage.run_checkpointer(held, wait=False)
    value = ["before"]
    await checkpoint(saver, thread, held.run.run_id, value)
    value.append("after")
    await storage.flush(held)
    found = await saver.aget_tuple(root(thread))
    assert found.checkpoint["channel_values"] == {"big": ["before"]}
    assert found.pending_writes[0][2] == ["before"]


async def test_an_unwritten_checkpoint_is_on_disk_when_its_run_ends(storage):
    thread = await thread_of(storage)
    held = await started(storage, thread)
    await checkpoint(storage.run_checkpointer(held, wait=False), thread, held.run.run_id)
    await storage.runs.finish(held, DONE)
    assert await storage.checkpointer().aget_tuple(root(thread)) is not None


async def test_a_late_write_of_an_ended_run_is_refused(database, storage):
    thread = await thread_of(storage)
    held = await started(storage, thread)
    await storage.runs.finish(held, DONE)
    late = storage.run_checkpointer(held, wait=True)
    with pytest.raises(LeaseLost):
        await checkpoint(late, thread, held.run.run_id)
    assert database.rows()["checkpoints"] == 0


async def test_a_saver_without_a_loop(storage):
    thread = await thread_of(storage)
    held = await started(storage, thread)

    def work(saver):
        saved = empty_checkpoint()
        put = saver.put(root(thread), saved, {"step": 0}, {})
        saver.put_writes(put, [("a", 1)], "task")
        return saver.get_tuple(root(thread))

    for saver in (
        storage.checkpointer(),
        storage.run_checkpointer(held, wait=False),
        storage.run_checkpointer(held, wait=True),
    ):
        found = await asyncio.to_thread(work, saver)
        assert found.pending_writes == [("task", "a", 1)]
    await asyncio.to_thread(storage.checkpointer().delete_thread, str(thread))
    assert await storage.checkpointer().aget_tuple(root(thread)) is None


@pytest.mark.parametrize(
    "value", [None, True, 0, -(2**63), 2**63, "", "ä", "\0", 1.5, b"b", [1], {"a": {1}}]
)
async def test_values_come_back_as_they_were(storage, value):
    saver = storage.checkpointer()
    saved = await checkpoint(saver, "t", "r", value)
    found = await saver.aget_tuple(saved)
    assert found.checkpoint["channel_values"]["big"] == value
    assert type(found.checkpoint["channel_values"]["big"]) is type(value)


async def test_listing_follows_pages_to_the_end(storage):
    saver = storage.checkpointer()
    for number in range(120):
        await checkpoint(saver, f"t{number % 2}", "r", number)
    every = [each async for each in saver.alist(None)]
    assert [each.checkpoint["channel_values"]["big"] for each in every] == [*range(119, -1, -1)]
    of_one = [each async for each in saver.alist(root("t0"), limit=55)]
    assert len(of_one) == 55
    before = [each async for each in saver.alist(root("t0"), before=of_one[-1].config)]
    assert len(before) == 5
    picked = saver.alist(root("t1"), filter={"run_id": "r"}, limit=2)
    assert len([each async for each in picked]) == 2
    assert [each async for each in saver.alist(root("t1"), filter={"step": False})] == []


async def test_a_text_that_is_no_unicode_is_kept_as_langgraph_keeps_it(storage):
    saver = storage.checkpointer()
    found = await saver.aget_tuple(await checkpoint(saver, "t", "r", "\ud800"))
    assert found.checkpoint["channel_values"]["big"] == "?"


async def test_an_unknown_way_to_prune(storage):
    with pytest.raises(ValueError, match="Unknown strategy 'some'"):
        await storage.checkpointer().aprune(["t"], strategy="some")


async def test_a_fresh_thread_without_a_loop(storage):
    thread = await thread_of(storage)
    held = await started(storage, thread)
    for wait in (True, False):
        saver = storage.run_checkpointer(held, wait=wait)
        assert await asyncio.to_thread(saver.get_tuple, root(thread)) is None
    await storage.runs.delete(thread, held.run.run_id)
    late = storage.run_checkpointer(held, wait=True)
    with pytest.raises(LeaseLost):
        await asyncio.to_thread(late.put, root(thread), empty_checkpoint(), {}, {})
