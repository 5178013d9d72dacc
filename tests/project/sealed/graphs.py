"""A graph that keeps things in every place there is."""

from typing import Annotated, Any

from langchain_core.runnables import RunnableConfig
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.store.base import BaseStore
from langgraph.types import interrupt
from typing_extensions import TypedDict


class State(TypedDict, total=False):
    messages: Annotated[list[Any], add_messages]
    short: str
    answer: str
    fail: bool


async def keep(state: State, config: RunnableConfig, *, store: BaseStore) -> State:
    await store.aput(("notes",), "async", {"note": f"stored {state['short']}"})
    return {"short": f"{state['short']} again"}


def keep_sync(state: State, *, store: BaseStore) -> State:
    store.put(("notes",), "sync", {"note": f"stored {state['short']}"})
    item = store.get(("notes",), "async")
    assert item is not None
    assert item.value["note"].startswith("stored ")
    return {"messages": [("ai", f"I heard {state['short']}")]}


def ask(state: State) -> State:
    if state.get("fail"):
        raise ValueError(f"failed for {state['short']}")
    return {"answer": interrupt({"question": f"about {state['short']}?"})}


builder = StateGraph(State)
builder.add_node("keep", keep)
builder.add_node("keep_sync", keep_sync)
builder.add_node("ask", ask)
builder.add_edge(START, "keep")
builder.add_edge("keep", "keep_sync")
builder.add_edge("keep_sync", "ask")
builder.add_edge("ask", END)
graph = builder.compile()
