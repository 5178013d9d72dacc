"""A graph that caches, with the functions of either package."""

from datetime import timedelta
from typing import Any

import langgraph_sdk.cache
from langgraph.graph import END, START, StateGraph
from typing_extensions import TypedDict

import loomline.cache

PACKAGES = {"loomline": loomline.cache, "official": langgraph_sdk.cache}
LOADED: list[str] = []


class State(TypedDict, total=False):
    package: str
    key: str
    value: Any
    found: Any
    status: list[str]


async def work(state: State) -> State:
    package: Any = PACKAGES[state["package"]]
    key = state["key"]
    found = await package.cache_get(key)
    if "value" in state:
        await package.cache_set(key, state["value"], ttl=timedelta(minutes=1))

    async def load() -> dict[str, int]:
        LOADED.append(key)
        return {"loaded": LOADED.count(key)}

    minute = timedelta(minutes=1)
    first = await package.swr(key, load, fresh_for=minute)
    second = await package.swr(key, load, fresh_for=minute)
    assert first.value == second.value
    return {"found": found, "status": [first.status, second.status]}


builder = StateGraph(State)
builder.add_node("work", work)
builder.add_edge(START, "work")
builder.add_edge("work", END)
graph = builder.compile()
