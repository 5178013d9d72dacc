"""A node that reports what it does while it does it."""

from langgraph.config import get_stream_writer
from langgraph.graph import END, START, StateGraph
from typing_extensions import TypedDict


class State(TypedDict, total=False):
    steps: int
    done: int


async def work(state: State) -> State:
    write = get_stream_writer()
    steps = state.get("steps", 3)
    for step in range(1, steps + 1):
        write({"step": step, "of": steps})
    return {"done": steps}


builder = StateGraph(State)
builder.add_node(work)
builder.add_edge(START, "work")
builder.add_edge("work", END)

graph = builder.compile(name="progress")
