"""Two nodes in a row: the smallest graph that does something."""

from __future__ import annotations

from langgraph.graph import END, START, StateGraph

# The one of typing has no JSON schema before Python 3.12.
from typing_extensions import TypedDict


class State(TypedDict, total=False):
    """What goes in, and what each node adds to it."""

    topic: str
    joke: str


def refine_topic(state: State) -> State:
    """Make the topic better."""
    return {"topic": f"{state['topic']} and cats"}


def generate_joke(state: State) -> State:
    """Make the joke."""
    return {"joke": f"This is a joke about {state['topic']}"}


graph = (
    StateGraph(State)
    .add_node(refine_topic)
    .add_node(generate_joke)
    .add_edge(START, "refine_topic")
    .add_edge("refine_topic", "generate_joke")
    .add_edge("generate_joke", END)
    .compile()
)
