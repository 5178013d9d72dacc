"""A graph that tells what really happened: every node notes its start and its end in a file."""

import asyncio
import json
import operator
import os
import time
from pathlib import Path
from typing import Annotated
from uuid import uuid4

from langchain_core.runnables import RunnableConfig
from langgraph.graph import END, START, StateGraph
from typing_extensions import TypedDict

NODES = ("a", "b", "c")


class State(TypedDict, total=False):
    tag: str
    fails: bool
    seconds: float
    log: Annotated[list[str], operator.add]


class Notes:
    """One line per fact, each written at once: it survives the process, and lines do not mix."""

    def __init__(self):
        self._execution = uuid4().hex[:12]
        self._path = Path(os.environ["LOOMLINE_FAULTS_NOTES"])

    def add(self, what, node, state, config):
        fact = {
            "what": what,
            "node": node,
            "tag": state["tag"],
            "run": config["configurable"]["run_id"],
            "thread": config["configurable"]["thread_id"],
            "attempt": config["metadata"]["run_attempt"],
            "execution": self._execution,
            "pid": os.getpid(),
            "at": time.monotonic(),
        }
        file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        try:
            os.write(file, json.dumps(fact).encode() + b"\n")
        finally:
            os.close(file)


def make():
    """Make the graph for one execution of one run, which the notes tell from others."""
    notes = Notes()

    def node(name):
        async def act(state: State, config: RunnableConfig) -> State:
            notes.add("begin", name, state, config)
            try:
                await asyncio.sleep(state["seconds"])
                if state.get("fails") and name == NODES[1]:
                    raise ValueError(state["tag"])
                return {"log": [f"{state['tag']}:{name}"]}
            finally:
                notes.add("end", name, state, config)

        return act

    builder = StateGraph(State)
    for before, name in zip((START, *NODES), NODES, strict=False):
        builder.add_node(name, node(name))
        builder.add_edge(before, name)
    builder.add_edge(NODES[-1], END)
    return builder.compile()
