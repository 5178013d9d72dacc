"""Graphs that show the context and the config they are given."""

import operator
from dataclasses import dataclass
from typing import Annotated, Any

from langchain_core.runnables import RunnableConfig
from langgraph.func import entrypoint
from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime
from pydantic import BaseModel
from typing_extensions import TypedDict


class State(TypedDict, total=False):
    log: Annotated[list[str], operator.add]
    seen: Any


@dataclass
class Defaults:
    model: str = "small"


@dataclass
class Required:
    name: str


class ModelDefaults(BaseModel):
    model: str = "small"


class ModelRequired(BaseModel):
    name: str


class Dictionary(TypedDict, total=False):
    model: str


def one(name, node, context=None, state=State):
    builder = StateGraph(state, context_schema=context)
    builder.add_node(name, node)
    builder.add_edge(START, name)
    builder.add_edge(name, END)
    return builder


def show(_, runtime: Runtime):
    return {"seen": repr(runtime.context)}


defaults = one("show", show, Defaults).compile()
required = one("show", show, Required).compile()
model_defaults = one("show", show, ModelDefaults).compile()
model_required = one("show", show, ModelRequired).compile()
dictionary = one("show", show, Dictionary).compile()
free = one("show", show).compile()


def tell(_, config: RunnableConfig):
    plain = (str, int, bool, type(None))
    configurable = config["configurable"]
    return {
        "seen": {
            "metadata": config["metadata"],
            "configurable": {
                key: value for key, value in configurable.items() if isinstance(value, plain)
            },
        }
    }


told = one("tell", tell).compile()

CALLS: list[dict[str, Any]] = []


def made(config: RunnableConfig):
    """Return a graph that has one node, named as ``configurable`` says."""
    CALLS.append(
        {
            "configurable": dict(config["configurable"]),
            "recursion_limit": config.get("recursion_limit"),
            "tags": config.get("tags"),
        }
    )
    name = config["configurable"].get("nodeName", "plain")
    return one(name, lambda _: {"log": [name]}).compile()


def take(_):
    found = list(CALLS)
    CALLS.clear()
    return {"seen": found}


calls = one("take", take).compile()


def add(left, right):
    return (left or 0) + right


number = one("more", lambda _: 1, state=Annotated[int, add]).compile()
items = one("more", lambda _: [1], state=Annotated[list, operator.add]).compile()


@entrypoint()
def entry(number: int) -> str:
    return str(number)
