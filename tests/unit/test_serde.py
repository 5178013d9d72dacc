import dataclasses
import decimal
import enum
import ipaddress
import json
import pathlib
import re
import uuid
from collections import deque, namedtuple
from datetime import UTC, date, datetime, time, timedelta

import pydantic
import pytest
from hypothesis import given, strategies as st
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langgraph.types import Command, Interrupt, Send

from loomline.server.graphs.serde import MessageEncoder, encode, message_dict

# Questions have a schema for their answers since langgraph 1.2.9.
SCHEMA = {"response_schema": None} if hasattr(Interrupt(None), "response_schema") else {}


class Model(pydantic.BaseModel):
    when: datetime
    names: set[str]


@dataclasses.dataclass
class Point:
    x: int
    y: object = None


class Color(enum.Enum):
    RED = "red"


class Old:
    def dict(self):
        return {"old": True}


class Broken:
    def dict(self):
        raise RuntimeError("no")


Pair = namedtuple("Pair", "left right")  # noqa: PYI024
ID = uuid.UUID("550e8400-e29b-41d4-a716-446655440000")

CASES = [
    (Model(when=datetime(2026, 1, 2, tzinfo=UTC), names={"a"}), {"when": "2026-01-02T00:00:00Z", "names": ["a"]}),
    (Point(1), {"x": 1, "y": None}),
    (Pair(1, 2), {"left": 1, "right": 2}),
    (datetime(2026, 1, 2, 3, 4, 5), "2026-01-02T03:04:05"),  # noqa: DTZ001
    (datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), "2026-01-02T03:04:05+00:00"),
    (date(2026, 1, 2), "2026-01-02"),
    (time(3, 4), "03:04:00"),
    (timedelta(seconds=90), 90.0),
    (ID, str(ID)),
    (pathlib.PurePosixPath("/a/b"), "/a/b"),
    (ipaddress.ip_address("::1"), "::1"),
    (re.compile("a+"), "a+"),
    (b"abc", "YWJj"),
    (bytearray(b"abc"), "YWJj"),
    ({3}, [3]),
    (frozenset({3}), [3]),
    ((1, (2,)), [1, [2]]),
    (deque([1, 2]), [1, 2]),
    (decimal.Decimal("1.5"), 1.5),
    (decimal.Decimal(3), 3),
    (decimal.Decimal("nan"), None),
    (Color.RED, "red"),
    (float("nan"), None),
    (float("-inf"), None),
    ({1: "a", None: "b"}, {"1": "a", "null": "b"}),
    (ValueError("bad"), {"error": "ValueError", "message": "bad"}),
    (Send("n", {"a": 1}), {"node": "n", "args": {"a": 1}}),
    (Command(update={"a": 1}, goto="b"), {"graph": None, "update": {"a": 1}, "resume": None, "goto": "b"}),
    (Interrupt("q", id="i"), {"value": "q", "id": "i", **SCHEMA}),
    (Old(), {"old": True}),
    (Broken(), None),
    (len, None),
    (int, None),
    (Point, None),
    (iter([]), None),
    (object(), None),
    (1 + 2j, None),
    (range(3), None),
    (2**70, 2**70),
    ({"deep": [-(2**70), "x"]}, {"deep": [-(2**70), "x"]}),
    ("a\ud800b", "a?b"),
    ({"k\ud800": Point(2**70)}, {"k?": {"x": 2**70, "y": None}}),
    ("a\0b", "a\ufffdb"),
    ("a\\u0000b", "a\\u0000b"),
    ("\\\0", "\\\ufffd"),
    ([2**70, datetime(2026, 1, 2, tzinfo=UTC), ID, {3}, True, None, 1.5], [2**70, "2026-01-02T00:00:00+00:00", str(ID), [3], True, None, 1.5]),
]  # fmt: skip


@pytest.mark.parametrize(("value", "expected"), CASES, ids=range(len(CASES)))
def test_value_is_encoded_as_the_expected_json(value, expected):
    assert json.loads(encode(value)) == expected


@pytest.mark.parametrize(("value", "expected"), CASES, ids=range(len(CASES)))
def test_values_beside_one_that_needs_the_slow_way(value, expected):
    assert json.loads(encode([value, 2**70])) == [expected, 2**70]


def test_deep_nesting_ends_in_null_instead_of_failing():
    value = []
    for _ in range(2000):
        value = [value]
    assert encode(value).endswith(b"]]")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)  # fmt: skip


@given(JSON)
def test_json_documents_are_encoded_unchanged(value):
    def shown(each):
        return (
            json.loads(json.dumps(each).replace("\\u0000", "\\ufffd"))
            if "\\\\" not in json.dumps(each)
            else None
        )

    expected = shown(value)
    if expected is not None:
        assert json.loads(encode(value)) == expected


AI = ["content", "additional_kwargs", "response_metadata", "type", "name", "id", "tool_calls", "invalid_tool_calls", "usage_metadata"]  # fmt: skip


@pytest.mark.parametrize(
    ("message", "keys"),
    [
        (AIMessage("x", id="1"), AI),
        (AIMessageChunk(content="x", id="1"), [*AI, "tool_call_chunks", "chunk_position"]),
        (HumanMessage("x"), AI[:6]),
        (SystemMessage("x"), AI[:6]),
        (ToolMessage("x", tool_call_id="t"), [*AI[:6], "tool_call_id", "artifact", "status"]),
    ],
)
def test_the_fields_of_messages_and_their_order(message, keys):
    assert list(json.loads(encode(message))) == keys
    assert list(message_dict(message)) == keys


def test_a_token_is_encoded_as_any_message_would_be():
    chunk = AIMessageChunk(
        content="Hel",
        id="ai-1",
        tool_call_chunks=[{"name": "t", "args": '{"a"', "id": "c", "index": 0}],
        usage_metadata={"input_tokens": 1, "output_tokens": 2, "total_tokens": 3},
    )
    pair = json.loads(MessageEncoder().pair(chunk, {"langgraph_step": 1}))
    assert pair == [json.loads(encode(message_dict(chunk))), {"langgraph_step": 1}]


def test_metadata_is_known_by_its_object_and_not_by_its_address():
    encoder = MessageEncoder()
    seen = [
        json.loads(encoder.pair(HumanMessage("x"), {"number": number}))[1]["number"]
        for number in range(100)
    ]
    assert seen == list(range(100))
