"""Graphs for the JavaScript clients. They need langgraph alone, so that any server can serve them."""

import asyncio
import operator
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langchain_core.tools import tool
from langgraph.config import get_config, get_stream_writer
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, ToolRuntime
from langgraph.runtime import Runtime
from langgraph.types import interrupt
from typing_extensions import TypedDict


class State(TypedDict, total=False):
    topic: str
    joke: str
    answer: str
    log: Annotated[list[str], operator.add]
    gate: str
    size: int
    text: str
    seen: Any


def chain(schema=State, context_schema=None, **nodes):
    builder = StateGraph(schema, context_schema=context_schema)
    before = START
    for node, function in nodes.items():
        builder.add_node(node, function)
        builder.add_edge(before, node)
        before = node
    builder.add_edge(before, END)
    return builder.compile()


joke = chain(
    refine_topic=lambda state: {"topic": f"{state['topic']} and cats"},
    generate_joke=lambda state: {"joke": f"This is a joke about {state['topic']}"},
)

question = {"question": "Really?"}
ask = chain(
    before=lambda _: {"log": ["before"]},
    question=lambda _: {"answer": interrupt(question)},
    after=lambda state: {"log": [f"after {state['answer']}"]},
)

parent = chain(prepare=lambda state: {"topic": state["topic"].upper()}, child=joke)
asking_parent = chain(prepare=lambda _: {"log": ["prepared"]}, child=ask)


def many():
    builder = StateGraph(State)
    for name in ("left", "right"):
        builder.add_node(name, lambda _, name=name: {"log": [f"{name}: {interrupt(name)}"]})
        builder.add_edge(START, name)
        builder.add_edge(name, END)
    return builder.compile()


asks = many()


def fail(state):
    raise ValueError(f"boom: {state.get('topic')}")


boom = chain(first=lambda _: {"log": ["first"]}, boom=fail)


async def wait(name, runtime):
    """Wait until somebody puts an item of this name into the store."""
    assert runtime.store is not None
    while await runtime.store.aget(("gates",), name) is None:
        await asyncio.sleep(0.02)


async def pass_gate(state: State, runtime: Runtime) -> State:
    get_stream_writer()({"at": "gate"})
    await wait(state["gate"], runtime)
    return {"log": ["passed"]}


gate = chain(
    first=lambda _: {"log": ["first"]},
    gate=pass_gate,
    last=lambda _: {"log": ["last"]},
)


async def talk(state: MessagesState, runtime: Runtime) -> MessagesState:
    """Repeat what was said, word by word; before the last words wait for a gate, if one is named."""
    said = str(state["messages"][-1].content)
    answer, _, name = f"You said: {said}".partition(" gate ")
    model = GenericFakeChatModel(messages=iter([AIMessage(answer)]))
    reply = await model.ainvoke(state["messages"])
    if name:
        await wait(name, runtime)
    if said == "fail":
        raise ValueError("I cannot talk about that.")
    return {"messages": [reply]}


chat = chain(MessagesState, talk=talk)


class Hesitant(GenericFakeChatModel):
    """Says three words and waits before the others."""

    pause: Callable[[], Awaitable[None]]

    async def _astream(self, *args, **kwargs):
        number = 0
        async for chunk in super()._astream(*args, **kwargs):
            if number == len(["You", " ", "said:", " ", "hi"]):
                await self.pause()
            number += 1
            yield chunk


async def hesitate(state: MessagesState, runtime: Runtime) -> MessagesState:
    """Repeat what was said; the model waits for the gate in the middle of it."""
    said, _, name = str(state["messages"][-1].content).partition(" gate ")
    answer = iter([AIMessage(f"You said: {said}")])
    model = Hesitant(messages=answer, pause=lambda: wait(name, runtime))
    return {"messages": [await model.ainvoke(state["messages"])]}


hesitant = chain(MessagesState, hesitate=hesitate)

team = chain(MessagesState, member=chat)


@tool
async def weather(city: str, runtime: ToolRuntime[Any, Any]) -> str:
    """Return the weather of a city; first wait for a gate, if one is named after it."""
    city, _, name = city.partition(" gate ")
    if name:
        await wait(name, runtime)
    runtime.emit_output_delta({"looking": city})
    if city == "Atlantis":
        raise ValueError("There is no Atlantis.")
    return f"Sunny in {city}"


def call(state):
    city = str(state["messages"][-1].content)
    request = {"name": "weather", "args": {"city": city}, "id": "call-1", "type": "tool_call"}
    return {"messages": [AIMessage("", tool_calls=[request])]}


tools = chain(
    MessagesState,
    call=call,
    tools=ToolNode([weather]),
    answer=lambda state: {"messages": [AIMessage(str(state["messages"][-1].content))]},
)


class Context(TypedDict, total=False):
    color: str


def look_around(state: State, runtime: Runtime[Context]) -> State:
    config = get_config()
    return {
        "seen": {
            "context": dict(runtime.context or {}),
            "configurable": config["configurable"].get("color"),
            "thread": config["configurable"].get("thread_id"),
            "metadata": config["metadata"].get("purpose"),
            "tags": config.get("tags"),
        }
    }


look = chain(context_schema=Context, look=look_around)


def grow(state):
    return {"text": "ä€😀\u2028" * (state["size"] // 5)}


big = chain(grow=grow)
