"""A node that reports how far it is: stream mode ``custom``."""

from __future__ import annotations

from langgraph.config import get_stream_writer
from langgraph.graph import END, START, StateGraph

# The one of typing has no JSON schema before Python 3.12.
from typing_extensions import TypedDict

DEFAULT_STEPS = 5
MOST_STEPS = 100


class State(TypedDict, total=False):
    """How much there is to do, and whether it is done."""

    steps: int
    done: bool


def work(state: State) -> State:
    """Report each step."""
    write = get_stream_writer()
    steps = min(state.get("steps", DEFAULT_STEPS), MOST_STEPS)
    for step in range(1, steps + 1):
        write({"step": step, "of": steps})
    return {"done": True}


graph = StateGraph(State).add_node(work).add_edge(START, "work").add_edge("work", END).compile()
