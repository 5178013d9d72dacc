"""A graph in a graph: with ``stream_subgraphs`` a client sees the steps of both."""

from __future__ import annotations

import joke
from langgraph.graph import END, START, StateGraph


class State(joke.State, total=False):
    """The state of the inner graph, and what this one adds to it."""

    rating: int


def rate(state: State) -> State:
    """Give one to five stars."""
    return {"rating": len(state["joke"]) % 5 + 1}


graph = (
    StateGraph(State)
    .add_node("make_joke", joke.graph)
    .add_node(rate)
    .add_edge(START, "make_joke")
    .add_edge("make_joke", "rate")
    .add_edge("rate", END)
    .compile()
)
