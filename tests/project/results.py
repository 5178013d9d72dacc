"""Graphs about results: private state, several questions at once, typed schemas."""

import asyncio
import operator
from pathlib import Path
from typing import Annotated, Any

from langgraph.config import get_stream_writer
from langgraph.graph import START, StateGraph
from langgraph.types import Command, Send, interrupt
from pydantic import BaseModel
from typing_extensions import TypedDict


class Whole(TypedDict, total=False):
    question: str
    answer: str
    secret: str
    folder: str


class Asked(TypedDict, total=False):
    question: str
    folder: str


class Answered(TypedDict, total=False):
    answer: str


async def note(state):
    if state["question"] == "slow":
        await asyncio.sleep(60)
    return {"secret": "note"}


def reply(state):
    if state["question"] == "fail":
        raise ValueError("boom")
    return {"answer": state["question"].upper(), "secret": "reply"}


def confirm(state):
    return {"answer": interrupt("Sure?")} if state["question"] == "ask" else None


def line(state, schemas=None, **nodes):
    builder = StateGraph(state, **schemas or {})
    before = START
    for name, node in nodes.items():
        builder.add_node(name, node)
        builder.add_edge(before, name)
        before = name
    return builder.compile()


PUBLIC = {"input_schema": Asked, "output_schema": Answered}

private = line(Whole, PUBLIC, note=note, reply=reply, confirm=confirm)
silent = line(Whole, PUBLIC, note=note)


class Log(TypedDict, total=False):
    log: Annotated[list[str], operator.add]
    folder: str
    question: str


def ask(state):
    return {"log": [interrupt(state["question"])]}


fan = StateGraph(Log)
fan.add_node("ask", ask)
fan.add_conditional_edges(
    START, lambda _: [Send("ask", {"question": each}) for each in ("a", "b", "c")], ["ask"]
)
fanned = fan.compile()

inner = line(Log, ask=ask)
pair = StateGraph(Log)
for each in ("left", "right"):
    pair.add_node(each, inner)
    pair.add_edge(START, each)
twins = pair.compile()


async def slow(state):
    """Wait until the test makes a file named ``go`` in a folder."""
    while not (Path(state["folder"]) / "go").exists():
        await asyncio.sleep(0.01)
    return {"log": ["slow"]}


unequal = StateGraph(Log)
unequal.add_node("quick", lambda _: {"log": [interrupt("quick?")]})
unequal.add_node("slow", slow)
unequal.add_edge(START, "quick")
unequal.add_edge(START, "slow")
siblings = unequal.compile()


async def leave_slowly(_):
    """Take a tenth of a second to stop, as a node does that closes a connection."""
    try:
        await asyncio.Event().wait()
    finally:
        await asyncio.sleep(0.1)


leaving = line(Log, wait=leave_slowly)


async def never_end(_):
    await asyncio.Event().wait()


unending = StateGraph(Log)
unending.add_node("endless", never_end, timeout=0.05)
unending.add_edge(START, "endless")
timed = unending.compile()
odd = line(Log, odd=lambda _: {"question": object()})


class Model(BaseModel):
    question: str = "none"
    answer: str | None = None
    number: int = 3


class Required(BaseModel):
    answer: str
    score: float = 0.5


typed = line(Model, reply=lambda state: {"answer": state.question.upper()})
required = line(Whole, {"input_schema": Asked, "output_schema": Required}, note=note, reply=reply)


async def ask_when_told(state):
    """Ask once the test makes a file named ``ask`` in a folder."""
    while not (Path(state["folder"]) / "ask").exists():
        await asyncio.sleep(0.01)
    get_stream_writer()("asking")
    return {"log": [interrupt("quick?")]}


patient = line(Log, ask=ask_when_told)


def leave(_: Log) -> Command[Any]:
    return Command(graph=Command.PARENT, goto="other", update={"log": ["left"]})


upward = line(Log, leave=leave)


CROWD = 30


async def fail_when_all_have_begun(state):
    """Fail as the first of a crowd once the others have begun; as one of these, wait for it."""
    folder = Path(state["folder"])
    if state["question"] != "0":
        (folder / state["question"]).touch()
        await asyncio.Event().wait()
    while sum(1 for _ in folder.iterdir()) < CROWD - 1:
        await asyncio.sleep(0.01)
    raise ValueError("boom")


def to_all(state):
    return [
        Send("member", {"question": str(number), "folder": state["folder"]})
        for number in range(CROWD)
    ]


crowd_builder = StateGraph(Log)
crowd_builder.add_node("member", line(Log, fail=fail_when_all_have_begun))
crowd_builder.add_conditional_edges(START, to_all, ["member"])
crowd = crowd_builder.compile()
