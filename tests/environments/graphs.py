"""Graphs that use as much of the libraries as an environment has."""

import importlib
import importlib.util
from typing import Any

import langgraph_sdk
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langgraph.config import get_store
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import interrupt
from typing_extensions import TypedDict


class State(TypedDict, total=False):
    asked: str
    answer: str
    cached: Any
    graphs: list[str]


async def look(state: State) -> State:
    """Use the cache, the store and the server itself, as code for another server does."""
    cached: Any = state["asked"]
    if importlib.util.find_spec("langgraph_sdk.cache") is not None:
        from langgraph_sdk import cache  # noqa: PLC0415 - older versions have no cache

        await cache.cache_set("asked", state["asked"])
        cached = await cache.cache_get("asked")
    await get_store().aput(("asked",), state["asked"], {"by": "a node"})
    found = await langgraph_sdk.get_client().assistants.search()
    return {"cached": cached, "graphs": sorted(each["graph_id"] for each in found)}


def ask(state: State) -> State:
    return {"answer": interrupt("which?")}


builder = StateGraph(State)
builder.add_node("look", look)
builder.add_node("ask", ask)
builder.add_edge(START, "look")
builder.add_edge("look", "ask")
plain = builder.compile()


def say(state: MessagesState) -> dict[str, Any]:
    return {"messages": [AIMessage("five words from a model")]}


class Model(GenericFakeChatModel):
    """A model that says one sentence, and takes tools that it never calls."""

    def bind_tools(self, tools: Any, **options: Any) -> "Model":
        return self


def agent() -> Any:
    """Make the most that is installed: a deep agent, an agent of langchain, a graph."""
    model = Model(messages=iter([AIMessage("five words from a model")]))
    if importlib.util.find_spec("deepagents") is not None:
        return importlib.import_module("deepagents").create_deep_agent(model=model)
    return StateGraph(MessagesState).add_node("say", say).add_edge(START, "say").compile()
