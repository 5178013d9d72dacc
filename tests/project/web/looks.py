"""A graph that tells what it is configured with, but no secret."""

from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.graph import END, START, StateGraph
from typing_extensions import TypedDict


class State(TypedDict, total=False):
    seen: dict[str, Any]
    known: bool


async def look(state: State, config: RunnableConfig) -> State:
    found = config["configurable"]
    names = ("x-tenant", "x-internal", "x-other", "own", "authorization")
    seen = {name: found[name] for name in names if name in found}
    known = seen.pop("authorization", None) == "Bearer very-secret"
    return {"seen": seen, "known": known}


builder = StateGraph(State)
builder.add_node("look", look)
builder.add_edge(START, "look")
builder.add_edge("look", END)
graph = builder.compile()
