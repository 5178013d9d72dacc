"""A run whose writes fail at any one point goes on from a state that it really had."""

import asyncio
import contextlib
import logging
import operator
from dataclasses import dataclass, field
from typing import Annotated, Any, TypedDict, cast

import pytest
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, interrupt
from tests.conformance.acts import DONE, add, claim, root, thread_of
from tests.conformance.broken_batches import FAULTS, open_with_faults, until

from loomline.server.domain.errors import LeaseLost, StorageUnavailable

LONG = "x" * 600
"""A string that has a row of its own beside the checkpoint."""


class State(TypedDict, total=False):
    given: list[str]
    text: str
    number: int
    log: Annotated[list[str], operator.add]
    # Each is written by one node and never again: later checkpoints refer to the row of an earlier one.
    by_first: list[str]
    by_join: list[str]
    by_last: list[str]
    by_inner_one: list[str]
    by_inner_two: list[str]


PACE_SECONDS = 0.02
"""Longer than writes are collected: the rows of each step are a batch of their own."""


@dataclass
class Progress:
    """``finished`` is set when the last node has been executed. ``pace`` is the time of a node."""

    pace: float = 0.0
    finished: asyncio.Event = field(default_factory=asyncio.Event)


def node(name, progress):
    async def act(state: State) -> State:
        assert state["given"] == ["input", LONG], f"node {name} lacks its input"
        await asyncio.sleep(progress.pace)
        if name == "last":
            progress.finished.set()
        own = {f"by_{name.replace(' ', '_')}": [name, LONG]}
        changes = {"text": f"{name} {LONG}", "number": state["number"] + 1, "log": [name]}
        return cast("State", own | changes)

    return act


def branch(name):
    async def act(state: State) -> State:
        assert state["given"] == ["input", LONG], f"branch {name} lacks its input"
        return {"log": [f"{name} of {state['number']}"]}

    return act


async def ask(state: State) -> State:
    return {"log": [f"answer {interrupt('go on?')}"]}


def inner(progress):
    builder = StateGraph(State)
    builder.add_node("inner one", node("inner one", progress))
    builder.add_node("inner two", node("inner two", progress))
    builder.add_edge(START, "inner one").add_edge("inner one", "inner two")
    return builder.compile()


def graph_with(saver, progress=None):
    """Return a graph with branches, a subgraph and a question, on a saver."""
    progress = progress or Progress()
    builder = StateGraph(State)
    builder.add_node("ask", ask)
    builder.add_node("first", node("first", progress))
    builder.add_node("left", branch("left"))
    builder.add_node("right", branch("right"))
    builder.add_node("join", node("join", progress))
    builder.add_node("sub", inner(progress))
    builder.add_node("last", node("last", progress))
    builder.add_edge(START, "ask").add_edge("ask", "first")
    builder.add_edge("first", "left").add_edge("first", "right")
    builder.add_edge(["left", "right"], "join").add_edge("join", "sub").add_edge("sub", "last")
    builder.add_edge("last", END)
    return builder.compile(checkpointer=saver)


INPUT: dict[str, Any] = {"given": ["input", LONG], "text": LONG, "number": 0, "log": []}
ANSWER: Command[Any] = Command(resume="yes")


async def asked(storage):
    """Return a new thread whose graph waits for an answer."""
    thread = await thread_of(storage)
    await add(storage, thread)
    (held,) = await claim(storage)
    saver = storage.run_checkpointer(held, wait=True)
    await graph_with(saver).ainvoke(INPUT, root(thread), durability="sync")
    await storage.runs.finish(held, DONE)
    return thread


def simultaneous_parts(state):
    """Return the parts of a state that must be those of one moment."""
    return state.values, state.next, state.interrupts


async def states(storage, thread):
    graph = graph_with(storage.checkpointer())
    return [simultaneous_parts(each) async for each in graph.aget_state_history(root(thread))]


async def execute(storage, held, thread, given, durability, progress=None):
    saver = storage.run_checkpointer(held, wait=durability == "sync")
    graph = graph_with(saver, progress)
    config = root(thread)
    config["configurable"]["run_id"] = str(held.run.run_id)
    config["metadata"] = {"run_id": str(held.run.run_id)}
    return await graph.ainvoke(given, config, durability=durability)


async def reference(storage):
    """Execute the run without faults; return its result and every state that it has."""
    thread = await asked(storage)
    await add(storage, thread)
    (held,) = await claim(storage)
    result = await execute(storage, held, thread, ANSWER, "sync")
    await storage.runs.finish(held, DONE)
    return result, [repr_of(each) for each in await states(storage, thread)]


def repr_of(state):
    values, upcoming, interrupts = state
    return repr((sorted(values.items()), upcoming, [each.value for each in interrupts]))


async def fail_once(storage, faults, number, durability):
    """Execute a run of which one batch fails; return its thread and whether the batch came."""
    thread = await asked(storage)
    run = await add(storage, thread)
    (held,) = await claim(storage)
    faults.arm(number)
    progress = Progress(PACE_SECONDS if durability == "async" else 0.0)
    work = asyncio.create_task(
        _finished(storage, execute(storage, held, thread, ANSWER, durability, progress), held)
    )
    await until(faults.is_reached, work)
    reached = faults.is_reached()
    if reached and durability != "sync":
        # The rest of the run goes on behind the batch that is about to fail.
        await behind(progress, work)
    faults.open_gate()
    (error,) = await asyncio.gather(work, return_exceptions=True)
    faults.disarm()
    assert (error is not None) == reached, f"batch {number}: {error!r}"
    if error is not None:
        assert isinstance(error, StorageUnavailable)
        # Rows that wait behind the failed batch get the time to be written, if they ever are.
        await asyncio.sleep(PACE_SECONDS)
        await storage.runs.release(held)
    return thread, run, reached


async def behind(progress, work):
    """Wait until the graph has done what it can while its writes wait."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0.5):
            await until(progress.finished.is_set, work)


async def _finished(storage, run, held):
    await run
    await storage.runs.finish(held, DONE)


async def go_on(storage, thread, run, durability):
    """Execute the run again from its newest checkpoint, as a worker does; return the result."""
    (held,) = await claim(storage)
    saver = storage.run_checkpointer(held, wait=False)
    found = await saver.aget_tuple(root(thread))
    begun = found.metadata.get("run_id") == str(run)
    result = await execute(storage, held, thread, None if begun else ANSWER, durability)
    await storage.runs.finish(held, DONE)
    return result


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "encrypted"])
@pytest.mark.parametrize("kind", FAULTS)
async def test_run_with_any_failed_batch_continues_from_a_state_it_had(
    kind, encrypted, durability, tmp_path, caplog
):
    async with open_with_faults(kind, tmp_path, encrypted=encrypted) as (storage, faults):
        result, had = await reference(storage)
        number, reached = 0, True
        while reached:
            number += 1
            thread, run, reached = await fail_once(storage, faults, number, durability)
            where = f"batch {number}"
            for state in await states(storage, thread):
                assert repr_of(state) in had, where
            if reached:
                assert await go_on(storage, thread, run, durability) == result, where
            assert {repr_of(each) for each in await states(storage, thread)} <= set(had), where
        assert number > {"sync": 10, "async": 5, "exit": 1}[durability]
        assert not [each for each in caplog.records if "is not used" in each.message]


@pytest.mark.parametrize("kind", FAULTS)
async def test_rows_behind_a_failed_batch_are_never_written(kind, tmp_path):
    async with open_with_faults(kind, tmp_path, encrypted=False) as (storage, faults):
        thread = await thread_of(storage)
        await add(storage, thread)
        (held,) = await claim(storage)
        saver = storage.run_checkpointer(held, wait=False)
        faults.arm(1)
        await put(saver, thread, "1", {"a": [LONG], "b": [1]}, {"a": "1", "b": "1"})
        await until(faults.is_reached)
        await put(saver, thread, "2", {"a": [LONG], "b": [2]}, {"b": "2"})
        waiting = asyncio.create_task(storage.flush(held))
        faults.open_gate()
        with pytest.raises(StorageUnavailable):
            await waiting
        for act in (put(saver, thread, "3", {"b": [3]}, {"b": "3"}), storage.flush(held)):
            with pytest.raises(StorageUnavailable):
                await act
        with pytest.raises(StorageUnavailable):
            await storage.runs.finish(held, DONE)
        await storage.runs.release(held)
        assert await storage.checkpointer().aget_tuple(root(thread)) is None
        with pytest.raises(LeaseLost):
            await put(
                storage.run_checkpointer(held, wait=True), thread, "4", {"a": [1]}, {"a": "4"}
            )


async def put(saver, thread, checkpoint_id, values, versions):
    saved = empty_checkpoint()
    saved["id"] = checkpoint_id
    saved["channel_values"] = values
    saved["channel_versions"] = dict.fromkeys(values, "1") | versions
    return await saver.aput(root(thread), saved, {"source": "loop", "step": 0}, versions)


# ------------------------------------------------------------------- values that are missing


async def chain(storage, thread):
    """Put three checkpoints, each the child of the one before; return their configs."""
    saver, config, saved = storage.checkpointer(), root(thread), []
    for number in range(3):
        checkpoint = empty_checkpoint()
        checkpoint["channel_values"] = {"small": number, "big": [LONG, number]}
        checkpoint["channel_versions"] = dict.fromkeys(("small", "big", "empty"), f"{number}")
        versions = {"small": f"{number}", "big": f"{number}"}
        config = await saver.aput(config, checkpoint, {"source": "loop", "step": number}, versions)
        saved.append(config)
    return saved


async def test_latest_checkpoint_without_a_value_is_replaced_by_its_parent(
    storage, database, caplog
):
    thread = await thread_of(storage)
    saved = await chain(storage, thread)
    database.execute("DELETE FROM checkpoint_blobs WHERE version = '2'")
    saver = storage.checkpointer()
    with caplog.at_level(logging.ERROR):
        found = await saver.aget_tuple(root(thread))
        again = await asyncio.to_thread(saver.get_tuple, root(thread))
    assert found.config == again.config == saved[1]
    assert found.checkpoint["channel_values"] == {"small": 1, "big": [LONG, 1]}
    assert {each.channels for each in caplog.records} == {"big"}
    assert {each.thread_id for each in caplog.records} == {str(thread)}


async def test_named_checkpoint_without_a_value_is_refused(storage, database):
    thread = await thread_of(storage)
    saved = await chain(storage, thread)
    database.execute("DELETE FROM checkpoint_blobs WHERE version = '1'")
    saver = storage.checkpointer()
    with pytest.raises(Exception, match="values of 'big' are missing"):
        await saver.aget_tuple(saved[1])
    with pytest.raises(Exception, match="values of 'big' are missing"):
        await asyncio.to_thread(saver.get_tuple, saved[1])
    assert (await saver.aget_tuple(saved[2])).checkpoint["channel_values"]["small"] == 2


async def test_listing_leaves_out_a_checkpoint_without_a_value(storage, database):
    thread = await thread_of(storage)
    saved = await chain(storage, thread)
    database.execute("DELETE FROM checkpoint_blobs WHERE version = '1'")
    saver = storage.checkpointer()
    found = [each.config async for each in saver.alist(root(thread))]
    assert found == [saved[2], saved[0]]
    assert (
        await asyncio.to_thread(lambda: [each.config for each in saver.list(root(thread))]) == found
    )


async def test_thread_without_any_complete_checkpoint_has_none(storage, database):
    thread = await thread_of(storage)
    await chain(storage, thread)
    database.execute("DELETE FROM checkpoint_blobs")
    assert await storage.checkpointer().aget_tuple(root(thread)) is None


class Kept(TypedDict, total=False):
    old: list[str]
    new: list[str]


async def test_run_deleted_beside_a_running_one_keeps_the_values_in_use(storage):
    entered, go = asyncio.Event(), asyncio.Event()

    async def act(state: Kept) -> Kept:
        entered.set()
        await go.wait()
        return {"new": [LONG]}

    def graph(saver):
        builder = StateGraph(Kept).add_node("act", act).add_edge(START, "act")
        return builder.compile(checkpointer=saver)

    thread = await thread_of(storage)
    first = await add(storage, thread)
    (held,) = await claim(storage)
    go.set()
    saver = storage.run_checkpointer(held, wait=False)
    await graph(saver).ainvoke({"old": [LONG]}, root(thread))
    await storage.runs.finish(held, DONE)

    entered.clear()
    go.clear()
    await add(storage, thread)
    (held,) = await claim(storage)
    saver = storage.run_checkpointer(held, wait=False)
    work = asyncio.create_task(graph(saver).ainvoke({"new": []}, root(thread), durability="exit"))
    await entered.wait()
    await storage.runs.delete(thread, first)
    go.set()
    await work
    await storage.runs.finish(held, DONE)
    state = await graph(storage.checkpointer()).aget_state(root(thread))
    assert state.values == {"old": [LONG], "new": [LONG]}
