"""A graph that notes the order of its runs, and holds a run until it is told to go on."""

import asyncio
from pathlib import Path

from langgraph.graph import END, START, StateGraph
from typing_extensions import TypedDict


class State(TypedDict, total=False):
    name: str
    folder: str


async def note(state):
    folder = Path(state["folder"])
    with (folder / "order").open("a") as file:
        file.write(f"{state['name']}\n")
    while state["name"] == "first" and not (folder / "gate").exists():
        await asyncio.sleep(0.01)
    return {}


builder = StateGraph(State)
builder.add_node("note", note)
builder.add_edge(START, "note")
builder.add_edge("note", END)
noting = builder.compile()
