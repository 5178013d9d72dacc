"""A graph that records what really happened: every node notes its start and its end in a file.

The state has strings, lists and dicts of many sizes, reducers of several kinds, parallel branches
and a subgraph. Each note of a start has the digest of every channel that the node reads.
"""

import asyncio
import json
import operator
import os
import time
from pathlib import Path
from typing import Annotated, Any
from uuid import uuid4

from langchain_core.runnables import RunnableConfig
from langgraph.channels import DeltaChannel
from langgraph.graph import END, START, StateGraph
from tests.faults.model import (
    BRANCHES,
    INNER,
    digests,
    extended,
    highest,
    inner_writes,
    merged,
    writes,
)
from typing_extensions import TypedDict


class State(TypedDict, total=False):
    tag: str
    fails: str
    seconds: float
    payload: str
    options: dict[str, Any]
    asked: Annotated[int, operator.add]
    log: Annotated[list[str], operator.add]
    steps: Annotated[int, operator.add]
    peak: Annotated[int, highest]
    text: str
    inner: str
    facts: Annotated[dict[str, Any], merged]
    trail: Annotated[list[str], DeltaChannel(extended, snapshot_frequency=20)]


class InnerInput(TypedDict, total=False):
    tag: str
    fails: str
    seconds: float
    payload: str


class InnerOutput(TypedDict, total=False):
    log: list[str]
    inner: str


class InnerState(InnerInput, total=False):
    log: Annotated[list[str], operator.add]
    draft: str
    inner: str


class Notes:
    """One line per fact, each written at once: it survives the process.

    Every execution has a file of its own. So lines never mix, and no file grows so large that a
    limit on the size of the database's files would meet it.
    """

    def __init__(self):
        self._execution = uuid4().hex[:12]
        self._path = Path(os.environ["LOOMLINE_FAULTS_NOTES"]) / self._execution

    def add(self, what, node, state, config):
        fact = {
            "what": what,
            "node": node,
            "tag": state.get("tag"),
            "run": config["configurable"]["run_id"],
            "thread": config["configurable"]["thread_id"],
            "attempt": config["metadata"]["run_attempt"],
            "execution": self._execution,
            "pid": os.getpid(),
            "at": time.monotonic(),
        }
        if what == "begin":
            fact |= {"log": state.get("log"), "state": digests(state)}
        file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        try:
            os.write(file, json.dumps(fact).encode() + b"\n")
        finally:
            os.close(file)


def _node(notes, name, writes_of):
    async def act(state: dict[str, Any], config: RunnableConfig) -> dict[str, Any]:
        notes.add("begin", name, state, config)
        try:
            await asyncio.sleep(state["seconds"])
            if state["fails"] == name:
                raise ValueError(state["tag"])
            found: dict[str, Any] = writes_of(name, state)
            return found
        finally:
            notes.add("end", name, state, config)

    return act


def _subgraph(notes):
    builder = StateGraph(InnerState, input_schema=InnerInput, output_schema=InnerOutput)
    for before, name in zip((START, *INNER), INNER, strict=False):
        builder.add_node(name, _node(notes, name, inner_writes), input_schema=InnerState)
        builder.add_edge(before, name)
    builder.add_edge(INNER[-1], END)
    return builder.compile()


def make():
    """Make the graph for one execution of one run, which the notes tell from others."""
    notes = Notes()
    builder = StateGraph(State)
    for name in ("a", *BRANCHES, "c"):
        builder.add_node(name, _node(notes, name, writes), input_schema=State)
    builder.add_node("s", _subgraph(notes))
    builder.add_edge(START, "a")
    for name in (*BRANCHES, "s"):
        builder.add_edge("a", name)
    builder.add_edge([*BRANCHES, "s"], "c")
    builder.add_edge("c", END)
    return builder.compile()
