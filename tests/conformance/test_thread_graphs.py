"""Copying, cutting down and editing threads of real graphs, which must go on as before."""

import operator
from typing import Annotated

import pytest
from langgraph.channels.delta import DeltaChannel
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, StateUpdate, interrupt
from tests.conformance.acts import NOW, root, thread_of
from typing_extensions import TypedDict

from loomline.server.domain.ids import uuid7
from loomline.server.domain.json import Encoded
from loomline.server.domain.threads import ThreadState

STATE = ThreadState("idle", Encoded(b"{}"), Encoded(b"{}"), NOW)


def joined(state, writes):
    return [*(state or []), *(each for write in writes for each in write)]


class State(TypedDict, total=False):
    log: Annotated[list[str], operator.add]
    delta: Annotated[list[str], DeltaChannel(joined, snapshot_frequency=2)]
    answer: str


def note(name):
    return lambda _: {"log": [name], "delta": [f"d-{name}"]}


def asking(name):
    def node(state):
        answer = interrupt({"asks": name, "so far": len(state["log"])})
        return {"log": [f"{name}: {answer}"], "delta": [name]}

    return node


def chain(checkpointer=None, **nodes):
    builder = StateGraph(State)
    before = START
    for name, node in nodes.items():
        builder.add_node(name, node)
        builder.add_edge(before, name)
        before = name
    builder.add_edge(before, END)
    return builder.compile(checkpointer=checkpointer)


def plain(saver):
    return chain(
        saver, one=note("one"), ask=asking("ask"), again=asking("again"), last=note("last")
    )


def nested(saver):
    deep = chain(deep=note("deep"), ask=asking("deep"))
    middle = chain(first=note("first"), deeper=deep, second=asking("middle"))
    return chain(saver, one=note("one"), child=middle, last=note("last"))


def remembering(saver):
    """A subgraph with a history of its own, which it goes on with at every visit."""
    child = chain(True, note=note("child"), ask=asking("child"))
    return chain(saver, one=note("one"), child=child, last=note("last"))


GRAPHS = [plain, nested, remembering]


async def to_the_end(graph, config):
    """Answer every question; return the last state."""
    for number in range(10):
        state = await graph.aget_state(config)
        if not state.next:
            return state.values
        await graph.ainvoke(Command(resume=f"answer {number}"), config)
    raise AssertionError("it asks too much")


@pytest.mark.parametrize("make", GRAPHS)
@pytest.mark.parametrize("answered", [0, 1])
async def test_a_thread_that_was_cut_down_goes_on(storage, make, answered):
    graph = make(storage.checkpointer())
    thread = await thread_of(storage)
    config = root(thread)
    for number in range(2):
        await graph.ainvoke({"log": [f"in {number}"], "delta": [f"in {number}"]}, config)
        await to_the_end(graph, config)
    await graph.ainvoke({"log": ["in"], "delta": ["in"]}, config)
    for _ in range(answered):
        await graph.ainvoke(Command(resume="early"), config)
    copied = root((await storage.threads.copy(thread, uuid7(), NOW)).thread_id)
    before = await graph.aget_state(config, subgraphs=True)
    assert bool(before.next) or (make is remembering and answered)
    size = await storage.threads.size(thread)
    assert (await storage.threads.prune([thread], "keep_latest")).threads == (thread,)
    assert (await storage.threads.size(thread)).checkpoints.count < size.checkpoints.count
    after = await graph.aget_state(config, subgraphs=True)
    assert (after.values, after.next, after.interrupts) == (
        before.values, before.next, before.interrupts,
    )  # fmt: skip
    whole = await to_the_end(graph, copied)
    assert whole["log"][-1] == "last"
    assert whole["delta"][-1] == "d-last"
    assert await to_the_end(graph, config) == whole
    # And another run begins as it would have.
    for place in (config, copied):
        await graph.ainvoke({"log": ["new"], "delta": ["new"]}, place)
    assert await to_the_end(graph, config) == await to_the_end(graph, copied)


@pytest.mark.parametrize("make", GRAPHS)
async def test_edit_stores_the_same_states_as_the_saver(storage, make):
    """Updates through an edit and through the saver itself lead to the same states."""
    states = []
    for staged in (True, False):
        thread = await thread_of(storage)
        config = root(thread)
        graph = make(storage.checkpointer())
        await graph.ainvoke({"log": ["in"], "delta": ["in"]}, config)
        edit = storage.edit(thread)
        edited = make(edit.checkpointer) if staged else graph
        steps = [
            [StateUpdate({"log": ["x"], "delta": ["x"]}, "one")],
            [StateUpdate(None, "__copy__")],
            [StateUpdate({"log": ["y"], "delta": ["y"]}, "one")],
        ]
        await edited.abulk_update_state(config, steps)
        seen = await edited.aget_state(config)
        if staged:
            await edit.commit(STATE)
        stored = await graph.aget_state(config)
        assert (stored.values, stored.next, stored.config) == (seen.values, seen.next, seen.config)
        history = [
            (each.values, each.next, each.metadata["source"], each.metadata["step"])
            async for each in graph.aget_state_history(config)
        ]
        states.append((history, await to_the_end(graph, config)))
    assert states[0] == states[1]
