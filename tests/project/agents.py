"""A chat with everything that streams: tools, a subgraph, models side by side, two questions.

With a ``gate`` it asks them once that file is there. With a folder ``halts`` among its settings the
first model, in the middle of its words, and the tool wait for files there.
"""

import asyncio
import operator
from pathlib import Path
from typing import Annotated

from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.tools import tool
from langgraph.config import get_config, get_stream_writer
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.stream import StreamChannel, StreamTransformer
from langgraph.types import Send, interrupt
from typing_extensions import TypedDict


async def halt(name):
    """Note that this place has been reached, and wait to be let on, if there is a folder for it."""
    folder = get_config()["configurable"].get("halts")
    if folder is not None:
        Path(folder, f"at-{name}").touch()
        while not Path(folder, f"go-{name}").exists():
            await asyncio.sleep(0.01)


class ScriptedModel(BaseChatModel):
    """Says its words one by one; with ``call`` it wants numbers to be added as well."""

    words: list[str]
    call: bool = False
    halt: str | None = None
    pause: float = 0.0

    @property
    def _llm_type(self):
        return "scripted"

    def _generate(self, messages, stop=None, run_manager=None, **kwargs):
        message = AIMessage("".join(self.words))
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _chunks(self):
        for word in self.words:
            yield AIMessageChunk(content=word)
        if self.call:
            for name, args in (("add", ""), (None, '{"a": 2,'), (None, ' "b": 3}')):
                call = {
                    "name": name, "args": args, "id": "call_1" if name else None, "index": 0,
                    "type": "tool_call_chunk",
                }  # fmt: skip
                yield AIMessageChunk(content="", tool_call_chunks=[call])
        usage = {"input_tokens": 3, "output_tokens": len(self.words), "total_tokens": 3}
        yield AIMessageChunk(
            content="", usage_metadata=usage, response_metadata={"model_name": "scripted-1"}
        )

    async def _astream(self, messages, stop=None, run_manager=None, **kwargs):
        for number, message in enumerate(self._chunks()):
            chunk = ChatGenerationChunk(message=message)
            if run_manager is not None:
                await run_manager.on_llm_new_token(message.text, chunk=chunk)
            yield chunk
            if number == 0 and self.halt is not None:
                await halt(self.halt)
            if number % 16 == 0:
                await asyncio.sleep(self.pause)


class State(MessagesState, total=False):
    log: Annotated[list[str], operator.add]
    tokens: int
    gate: str


@tool
async def add(a: int, b: int) -> str:
    """Add two numbers."""
    await halt("tool")
    return str(a + b)


async def plan(state):
    model = ScriptedModel(words=["Let me ", "add."], call=True, halt="words")
    return {"messages": [await model.ainvoke(state["messages"])]}


async def answer(state):
    whole = None
    async for chunk in ScriptedModel(words=["It ", "is ", "five."]).astream(state["messages"]):
        whole = chunk if whole is None else whole + chunk
    return {"messages": [whole]}


def speaker(*words):
    async def speak(state):
        said = await ScriptedModel(words=list(words)).ainvoke(state["messages"])
        return {"log": [said.text]}

    return speak


async def inner(_):
    get_stream_writer()({"name": "progress", "payload": 1})
    said = await ScriptedModel(words=["Deep ", "thoughts."]).ainvoke("go")
    return {"log": [said.text]}


def asks(question):
    async def ask(state):
        while "gate" in state and not Path(state["gate"]).exists():
            await asyncio.sleep(0.01)
        return {"log": [f"{question} {interrupt({'question': question})}"]}

    return ask


child = StateGraph(State)
child.add_node("inner", inner)
child.add_node("ask", asks("Inside?"))
child.add_edge(START, "inner")
child.add_edge("inner", "ask")


class Ticks(StreamTransformer):
    """A channel of the graph's own: how many steps there have been."""

    required_stream_modes = ("updates",)

    def __init__(self, scope=()):
        super().__init__(scope)
        self._ticks = StreamChannel("ticks")
        self._count = 0

    def init(self):
        return {"ticks": self._ticks}

    def process(self, event):
        if event["method"] == "updates" and not self.scope:
            self._count += 1
            self._ticks.push({"count": self._count})
        return True


builder = StateGraph(State)
builder.add_node("plan", plan)
builder.add_node("tools", ToolNode([add]))
builder.add_node("answer", answer)
builder.add_node("left", speaker("One ", "side."))
builder.add_node("right", speaker("Other ", "side."))
builder.add_node("child", child.compile())
builder.add_node("confirm", asks("Sure?"))
builder.add_edge(START, "plan")
builder.add_edge("plan", "tools")
builder.add_edge("tools", "answer")
builder.add_edge("answer", "left")
builder.add_edge("answer", "right")
builder.add_edge(["left", "right"], "child")
builder.add_edge(["left", "right"], "confirm")
assistant = builder.compile(name="assistant", transformers=[Ticks])


async def long_talk(state):
    words = [f"w{number} " for number in range(state.get("tokens", 100))]
    said = await ScriptedModel(words=words).ainvoke(state["messages"])
    return {"messages": [said]}


talking = StateGraph(State)
talking.add_node("talk", long_talk)
talking.add_edge(START, "talk")
talker = talking.compile(name="talker")


async def say(state):
    said = await ScriptedModel(words=[f"{state['name']} ", "sings."]).ainvoke("go")
    return {"log": [said.text]}


class Song(TypedDict, total=False):
    log: Annotated[list[str], operator.add]


class Voice(Song, total=False):
    name: str


def ask_again(state):
    return {"log": [f"{state['name']} {interrupt({'name': state['name']})}"]}


again = StateGraph(Voice, output_schema=Song)
again.add_node("ask", ask_again)
again.add_edge(START, "ask")

voice = StateGraph(Voice, output_schema=Song)
voice.add_node("say", say)
voice.add_node("again", again.compile())
voice.add_edge(START, "say")
voice.add_edge("say", "again")

singing = StateGraph(Song)
singing.add_node("voice", voice.compile())
singing.add_conditional_edges(
    START, lambda _: [Send("voice", {"name": name, "log": []}) for name in ("Ada", "Bob", "Cy")]
)
chorus = singing.compile(name="chorus")


def fall_silent(_):
    raise ValueError("boom")


def told(name, **more):
    """Return a graph with a model in its first step, and another node beside or behind it."""
    talks = StateGraph(State)
    talks.add_node("talk", long_talk)
    talks.add_edge(START, "talk")
    for node, (before, function) in more.items():
        talks.add_node(node, function)
        talks.add_edge(before, node)
    return talks.compile(name=name)


inside = told("inside", after=("talk", lambda _: {"log": ["inside"]}))
told_then_asked = told("told_then_asked", ask=("talk", asks("Sure?")))
told_while_asking = told("told_while_asking", ask=(START, asks("Sure?")))
told_then_failed = told("told_then_failed", fail=("talk", fall_silent))
told_inside = told("told_inside", child=("talk", inside))
