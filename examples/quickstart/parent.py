"""A graph whose second node is a graph."""

from langgraph.graph import END, START, StateGraph
from typing_extensions import TypedDict


class State(TypedDict, total=False):
    name: str
    greeting: str


def say_hello(state: State) -> State:
    return {"greeting": f"Hello {state['name']}"}


def add_mark(state: State) -> State:
    return {"greeting": f"{state['greeting']}!"}


def clean(state: State) -> State:
    return {"name": state["name"].strip().title()}


child = StateGraph(State)
child.add_node(say_hello)
child.add_node(add_mark)
child.add_edge(START, "say_hello")
child.add_edge("say_hello", "add_mark")
child.add_edge("add_mark", END)

builder = StateGraph(State)
builder.add_node(clean)
builder.add_node("greet", child.compile(name="greet"))
builder.add_edge(START, "clean")
builder.add_edge("clean", "greet")
builder.add_edge("greet", END)

graph = builder.compile(name="parent")
