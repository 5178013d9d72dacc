"""Graphs with their checkpoints in a saver of the user."""

import operator
import time
from pathlib import Path
from typing import Annotated, Any

from langgraph.graph import END, START, StateGraph
from langgraph.types import interrupt
from typing_extensions import TypedDict


class State(TypedDict, total=False):
    items: Annotated[list[Any], operator.add]
    answer: str


def chain(**nodes):
    builder = StateGraph(State)
    before = START
    for node, function in nodes.items():
        builder.add_node(node, function)
        builder.add_edge(before, node)
        before = node
    builder.add_edge(before, END)
    return builder


def note(name):
    return lambda _: {"items": [name]}


def wait_for_gate(state):
    """Note that the node has begun, and wait for the file that the input names."""
    gate = Path(state["answer"])
    gate.with_suffix(".begun").touch()
    while not gate.exists():
        time.sleep(0.01)
    return {"items": ["gate"]}


def call_child(state):
    return {"items": child.invoke({"items": state["items"][-1:]})["items"][1:]}


steps = chain(a=note("a"), b=note("b")).compile()
ask = chain(a=note("a"), ask=lambda state: {"answer": interrupt(state["items"])}).compile()
nested = chain(a=note("a"), child=ask, after=note("after")).compile()
gated = chain(a=note("a"), gate=wait_for_gate).compile()
child = chain(c=note("c")).compile(checkpointer=True)
calling = chain(a=note("a"), call=call_child).compile()
