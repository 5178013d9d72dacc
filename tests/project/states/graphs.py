"""Graphs for tests of threads and their states."""

import operator
import time
from pathlib import Path
from typing import Annotated, Any

from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import interrupt
from typing_extensions import TypedDict


class State(TypedDict, total=False):
    items: Annotated[list[Any], operator.add]
    total: int
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
    return lambda state: {"items": [name], "total": len(state["items"]) + 1}


def fail(state):
    if state.get("answer") == "fail":
        raise ValueError("boom: b")
    return {"items": ["b"]}


steps = chain(a=note("a"), b=fail, c=note("c")).compile()

ask = chain(ask=lambda state: {"answer": interrupt({"items": state["items"]})}).compile()
middle = chain(middle=note("middle"), grandchild=ask).compile()
nested = chain(a=note("a"), child=middle, after=note("after")).compile()


def slow(left, right):
    for gate in (Path(each[5:]) for each in right if each.startswith("gate:")):
        while not gate.exists():
            time.sleep(0.01)
    if "secret" in right:
        raise OSError("/etc/shadow is not readable")
    if "bad" in right:
        raise ValueError("no bad items, please")
    return left + right


class Picky(TypedDict, total=False):
    items: Annotated[list[str], slow]


builder = StateGraph(Picky)
builder.add_node("pass", lambda _: {})
builder.add_edge(START, "pass")
builder.add_edge("pass", END)
picky = builder.compile()

talk = StateGraph(MessagesState)
talk.add_node("talk", lambda _: {"messages": [("ai", "Hello you")]})
talk.add_edge(START, "talk")
talk.add_edge("talk", END)
chat = talk.compile()


def made(config):
    """Return a graph that has one node, named as the config of the thread's last run says."""
    return chain(**{config.get("metadata", {}).get("node", "plain"): note("made")}).compile()
