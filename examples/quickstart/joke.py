"""Two nodes in a row."""

from langgraph.graph import END, START, StateGraph
from typing_extensions import TypedDict


class State(TypedDict, total=False):
    topic: str
    joke: str


def refine_topic(state: State) -> State:
    return {"topic": f"{state['topic']} and cats"}


def generate_joke(state: State) -> State:
    return {"joke": f"This is a joke about {state['topic']}"}


builder = StateGraph(State)
builder.add_node(refine_topic)
builder.add_node(generate_joke)
builder.add_edge(START, "refine_topic")
builder.add_edge("refine_topic", "generate_joke")
builder.add_edge("generate_joke", END)

graph = builder.compile(name="joke")
