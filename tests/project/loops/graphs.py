"""Graphs of a module that has locks, as modules with clients and connection pools have."""

import asyncio
import threading
from contextlib import asynccontextmanager

from langgraph.config import get_store
from langgraph.graph import END, START, StateGraph
from typing_extensions import TypedDict

LOCK = asyncio.Lock()
FEW = asyncio.Semaphore(3)


class State(TypedDict, total=False):
    thread: str
    slept: bool


async def use():
    """Wait for both locks, so that they belong to the loop that runs this."""
    async with FEW:
        await asyncio.sleep(0)
    async with LOCK:
        await asyncio.sleep(0)
    return threading.current_thread().name


async def embed(texts):
    await use()
    return [[float(len(text))] for text in texts]


async def work(state):
    return {"thread": await use()}


def remember(state):
    """Call the async function of the store's index from a thread."""
    get_store().put(("loops",), state["thread"], {"text": "abc"})
    return {"slept": True}


def builder():
    graph = StateGraph(State)
    graph.add_node("work", work)
    graph.add_node("remember", remember)
    graph.add_edge(START, "work")
    graph.add_edge("work", "remember")
    graph.add_edge("remember", END)
    return graph


locking = builder().compile()


@asynccontextmanager
async def made(config):
    """Return a graph, with the same locks held by runs, state reads, drawings and schemas."""
    await use()
    yield builder().compile()
    await use()
