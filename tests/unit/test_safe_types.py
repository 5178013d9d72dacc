"""What lies in a database decides about values, not about code that is executed."""

import json
import pickle
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Any

import ormsgpack
import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.serde.jsonplus import (
    EXT_CONSTRUCTOR_KW_ARGS,
    EXT_CONSTRUCTOR_POS_ARGS,
    EXT_CONSTRUCTOR_SINGLE_ARG,
    EXT_METHOD_SINGLE_ARG,
    EXT_PYDANTIC_V2,
    JsonPlusSerializer,
)
from langgraph.graph import END, START, StateGraph
from langgraph.types import Send
from pydantic import BaseModel
from tests.support import open_storage
from typing_extensions import TypedDict

from loomline.server.domain.errors import UnknownType
from loomline.server.storage.serde import safe_serde

CALLS: list[Any] = []


def called(*arguments, **keywords):
    CALLS.append((arguments, keywords))


@dataclass
class Point:
    x: int
    y: int


class Colour(Enum):
    RED = "red"


class Model(BaseModel):
    name: str


class Hidden(BaseModel):
    name: str

    def __init__(self, **fields: Any) -> None:
        CALLS.append(fields)
        super().__init__(**fields)


@pytest.fixture(autouse=True)
def nothing_called():
    CALLS.clear()
    yield
    CALLS.clear()


def packed(code, *parts):
    return ormsgpack.packb(ormsgpack.Ext(code, ormsgpack.packb(parts)))


ATTACKS = [
    packed(EXT_CONSTRUCTOR_SINGLE_ARG, __name__, "called", "argument"),
    packed(EXT_CONSTRUCTOR_POS_ARGS, __name__, "called", ["argument"]),
    packed(EXT_CONSTRUCTOR_KW_ARGS, __name__, "called", {"a": 1}),
    packed(EXT_PYDANTIC_V2, __name__, "called", {"a": 1}, "model_validate_json"),
    packed(EXT_METHOD_SINGLE_ARG, __name__, "Hidden", "argument", "__init__"),
    packed(EXT_CONSTRUCTOR_POS_ARGS, "os", "system", ["exit 1"]),
    packed(EXT_CONSTRUCTOR_POS_ARGS, "builtins", "eval", ["1 + 1"]),
]


@pytest.mark.parametrize("content", ATTACKS)
def test_no_code_from_the_database(content):
    safe_serde().loads_typed(("msgpack", content))
    assert CALLS == []
    # The same with what langgraph would do on its own.
    if __name__.encode() in content and b"Hidden" not in content:
        JsonPlusSerializer(allowed_msgpack_modules=True).loads_typed(("msgpack", content))
        assert CALLS


class Bomb:
    def __reduce__(self):
        return called, ()


def test_pickles_are_loaded_only_when_allowed():
    with pytest.raises(NotImplementedError):
        safe_serde().loads_typed(("pickle", pickle.dumps(Bomb())))
    assert CALLS == []
    safe_serde(pickle=True).loads_typed(("pickle", pickle.dumps(Bomb())))
    assert CALLS == [((), {})]


def test_no_objects_from_json():
    named = [*__name__.split("."), "called"]
    content = {"lc": 2, "type": "constructor", "id": named, "args": [1]}
    raw = ("json", json.dumps(content).encode())
    assert safe_serde().loads_typed(raw) == content
    assert CALLS == []
    safe_serde((), [(__name__, "called")]).loads_typed(raw)
    assert CALLS == [((1,), {})]


@pytest.mark.filterwarnings("ignore::Warning")
def test_no_secrets_of_the_environment(monkeypatch):
    monkeypatch.setenv("LOOMLINE_TEST_SECRET", "revealed")
    content = {"a": {"lc": 1, "type": "secret", "id": ["LOOMLINE_TEST_SECRET"]}}
    found = safe_serde().loads_typed(("json", json.dumps(content).encode()))
    assert "revealed" not in repr(found)


@pytest.mark.parametrize(
    "value",
    [
        {"a": [1, 2.5, None, "x", b"y", {3}]},
        datetime(2026, 1, 2, tzinfo=UTC),
        uuid.uuid4(),
        [HumanMessage("hi"), AIMessage("ho", tool_calls=[])],
        Send("node", {"a": 1}),
    ],
)
def test_safe_types_come_back(value):
    serde = safe_serde()
    assert serde.loads_typed(serde.dumps_typed(value)) == value


def test_types_of_the_user_must_be_named():
    values = [Point(1, 2), Colour.RED, Model(name="m")]
    raw = [{"x": 1, "y": 2}, "red", {"name": "m"}]

    def back(serde):
        return [serde.loads_typed(serde.dumps_typed(value)) for value in values]

    assert back(safe_serde()) == raw
    assert back(safe_serde([(__name__, "Point")])) == [values[0], *raw[1:]]
    assert back(safe_serde([(__name__,)])) == values


def test_every_type_comes_back_where_all_are_allowed():
    assert safe_serde(True).loads_typed(safe_serde().dumps_typed(Point(1, 2))) == Point(1, 2)


@pytest.mark.parametrize("given", [("no.such.module",), (__name__, "Absent")])
def test_unknown_allowed_type_is_refused(given):
    with pytest.raises(UnknownType, match="cannot be allowed"):
        safe_serde([given])


class State(TypedDict, total=False):
    point: Point
    models: list[Model]
    hidden: Any
    out: str


def look(state: State) -> State:
    models = [type(each).__name__ for each in state["models"]]
    return {"out": f"{type(state['point']).__name__} {models} {type(state['hidden']).__name__}"}


async def test_types_of_a_graphs_schema_are_restored(tmp_path):
    builder = StateGraph(State)
    builder.add_node("look", look)
    builder.add_edge(START, "look")
    builder.add_edge("look", END)
    graph = builder.compile(interrupt_before=["look"])
    config = {"configurable": {"thread_id": "a"}}
    async with open_storage(tmp_path) as storage:
        graph.checkpointer = storage.checkpointer()
        given = {"point": Point(1, 2), "models": [Model(name="m")], "hidden": Hidden(name="h")}
        await graph.ainvoke(given, config)
        CALLS.clear()
        graph.checkpointer = storage.checkpointer()
        assert (await graph.ainvoke(None, config))["out"] == "Point ['Model'] dict"
        assert CALLS == []
