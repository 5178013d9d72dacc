"""Graphs for tests: small, deterministic, each for one behaviour."""

import asyncio
import operator
import sys
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import langgraph_sdk
from langchain_core.language_models.fake_chat_models import FakeListChatModel
from langchain_core.messages import AIMessage
from langchain_core.tools import tool
from langgraph.config import get_config, get_stream_writer
from langgraph.errors import GraphDrained
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.runtime import Runtime
from langgraph.store.base import BaseStore
from langgraph.types import interrupt
from typing_extensions import TypedDict

import loomline


class State(TypedDict, total=False):
    topic: str
    joke: str
    answer: str
    log: Annotated[list[str], operator.add]
    seconds: float
    folder: str
    seen: Any


def chain(name, **nodes):
    builder = StateGraph(State)
    before = START
    for node, function in nodes.items():
        builder.add_node(node, function)
        builder.add_edge(before, node)
        before = node
    builder.add_edge(before, END)
    return builder.compile(name=name)


joke = chain(
    "joke",
    refine_topic=lambda state: {"topic": f"{state['topic']} and cats"},
    generate_joke=lambda state: {"joke": f"This is a joke about {state['topic']}"},
)

ask = chain(
    "ask",
    before=lambda _: {"log": ["before"]},
    question=lambda _: {"answer": interrupt({"question": "Really?"})},
    after=lambda _: {"log": ["after"]},
)


def fail(state):
    raise ValueError(f"boom: {state.get('topic')}")


def fail_secretly(_):
    raise OSError("/etc/shadow is not readable")


boom = chain("boom", first=lambda _: {"log": ["first"]}, boom=fail)
secret = chain("secret", secret=fail_secretly)


async def nap(state):
    await asyncio.sleep(state.get("seconds", 60))
    return {"log": ["slept"]}


async def block(state):
    """Block the loop for a time, or until the test makes a file named ``go`` in a folder."""
    if "folder" in state:
        while not (Path(state["folder"]) / "go").exists():
            time.sleep(0.01)  # noqa: ASYNC251 - graphs of users do this
    else:
        time.sleep(state.get("seconds", 5))  # noqa: ASYNC251 - as above
    return {"log": ["blocked"]}


sleepy = chain(
    "sleepy", first=lambda _: {"log": ["first"]}, nap=nap, last=lambda _: {"log": ["last"]}
)
blocking = chain("blocking", block=block)


def step(name):
    """Note that a node has begun, then wait until the test lets it end."""

    async def node(state):
        folder = Path(state["folder"])
        with (folder / "begun").open("a") as notes:
            notes.write(f"{name}\n")
        while not (folder / f"go-{name}").exists():
            await asyncio.sleep(0.01)
        return {"log": [name]}

    return node


steps = chain("steps", one=step("one"), two=step("two"), three=step("three"))


async def talk(state):
    model = FakeListChatModel(responses=["Hello you"])
    return {"messages": [await model.ainvoke(state["messages"])]}


builder = StateGraph(MessagesState)
builder.add_node("talk", talk)
builder.add_edge(START, "talk")
builder.add_edge("talk", END)
chat = builder.compile(name="chat")

parent = StateGraph(State)
parent.add_node("prepare", lambda state: {"topic": state["topic"].upper()})
parent.add_node("child", joke)
parent.add_edge(START, "prepare")
parent.add_edge("prepare", "child")
parent.add_edge("child", END)


async def report(_):
    write = get_stream_writer()
    write({"progress": 1})
    write("plain")
    return {"log": ["reported"]}


progress = chain("progress", report=report)


@dataclass
class Settings:
    color: str = "red"


def look(state: State, runtime: Runtime[Settings]) -> State:
    config = get_config()
    configurable = config["configurable"]
    names = ("thread_id", "run_id", "graph_id", "assistant_id", "color", "user_id")
    return {
        "seen": {
            "color": getattr(runtime.context, "color", None),
            "configurable": {name: configurable.get(name) for name in names},
            "metadata": {
                name: config["metadata"].get(name) for name in ("run_attempt", "tag", "graph_id")
            },
        }
    }


looking = StateGraph(State, context_schema=Settings)
looking.add_node("look", look)
looking.add_edge(START, "look")
looking.add_edge("look", END)
context = looking.compile(name="context")


@asynccontextmanager
async def made(config):
    name = config["configurable"].get("color", "none")
    yield chain("made", color=lambda _: {"log": [name]})


def drain_itself(_):
    raise GraphDrained("a graph's own idea")


drained = chain("drained", drain=drain_itself)
leaves = chain("leaves", leave=lambda _: sys.exit(3))


# Made before there is a server.
early = loomline.get_client()


async def consult(state: State):
    """Start runs of this very server from inside a node."""
    topic = {"topic": state["topic"]}
    parts = early.runs.stream(None, "joke", input=topic, stream_mode="updates")
    events = [part.event async for part in parts]
    async with loomline.get_client() as late:
        result = await late.runs.wait(None, "joke", input=topic)
        thread = await late.threads.create(metadata={"from": "inside"})
    return {"log": [*events, result["joke"]], "seen": thread["thread_id"]}


consulting = chain("consulting", consult=consult)


# The same with the official package, which looks for its own server.
official = langgraph_sdk.get_client()


async def consult_officially(state: State):
    topic = {"topic": state["topic"]}
    events, times = [], []
    async for part in official.runs.stream(None, "ticking", input={}, stream_mode="custom"):
        events.append(part.event)
        times.append(time.monotonic())
    late = langgraph_sdk.get_client()
    result: Any = await late.runs.wait(None, "joke", input=topic)
    thread = await late.threads.create(metadata={"from": "inside"})
    return {
        "log": [*events, result["joke"]],
        "seen": thread["thread_id"],
        "seconds": times[-1] - times[0],
    }


consulting_officially = chain("consulting_officially", consult=consult_officially)


async def tick(_):
    write = get_stream_writer()
    for number in range(3):
        write({"tick": number})
        await asyncio.sleep(0.3)
    return {"log": ["ticked"]}


ticking = chain("ticking", tick=tick)


@tool
def add(a: int, b: int) -> int:
    """Add."""
    return a + b


@tool
def break_down(a: int) -> int:
    """Fail."""
    raise ValueError(f"no {a}")


def call_tools(_):
    calls = [
        {"id": "c1", "name": "add", "args": {"a": 1, "b": 2}},
        {"id": "c2", "name": "break_down", "args": {"a": 3}},
    ]
    return {"messages": [AIMessage("", tool_calls=calls)]}


builder = StateGraph(MessagesState)
builder.add_node("call", call_tools)
builder.add_node("tools", ToolNode([add, break_down], handle_tool_errors=True))
builder.add_edge(START, "call")
builder.add_edge("call", "tools")
tooling = builder.compile(name="tooling")


family = StateGraph(State)
family.add_node("parent", parent.compile())
family.add_edge(START, "parent")
family.add_edge("parent", END)


def slowly():
    time.sleep(0.5)
    return joke


class Kept(TypedDict, total=False):
    place: list[str]
    colour: str
    query: str
    seen: Any


def keep(state: Kept, runtime: Runtime) -> Kept:
    place, store = tuple(state["place"]), runtime.store
    assert store is not None
    if "query" in state:
        return {"seen": store.search(place, query=state["query"])[0].key}
    store.put(place, "from inside", {"colour": state["colour"]})
    item = store.get(place, "from outside")
    return {"seen": item and item.value}


async def keep_async(state: Kept, *, store: BaseStore) -> Kept:
    place = tuple(state["place"])
    if "query" in state:
        return {"seen": (await store.asearch(place, query=state["query"]))[0].key}
    await store.aput(place, "from inside", {"colour": state["colour"]})
    item = await store.aget(place, "from outside")
    return {"seen": item and item.value}


keeping = StateGraph(Kept)
keeping.add_node("sync", keep)
keeping.add_node("async", keep_async)
keeping.add_conditional_edges(START, lambda state: state["colour"], ["sync", "async"])
keeper = keeping.compile(name="keeper")
