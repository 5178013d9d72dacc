"""What is behind the table of rules: odd objects, cycles, bounds."""

import dataclasses
import datetime
import json
import types

import pydantic
import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, RemoveMessage

from loomline.server.graphs.serde import MAX_DEPTH, MessageEncoder, encode, message_dict

BIG = 2**70


class Told(HumanMessage):
    mood: str = "calm"


class Opaque:
    pass


class Holder(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(arbitrary_types_allowed=True)
    inner: object
    number: int = 1


class Stubborn(pydantic.BaseModel):
    x: int = 1

    @pydantic.field_serializer("x")
    def shown(self, _):
        raise RuntimeError("no")


@dataclasses.dataclass(init=False)
class Unfinished:
    """Has a field that was never set."""

    x: int


class Endless:
    def dict(self):
        return {"again": self}


class Number(float):
    pass


def decoded(value):
    return json.loads(encode(value))


def test_a_list_inside_itself_ends_in_null():
    value = [1]
    value.append(value)
    assert decoded(value) == [1, None]


def test_many_cycles_at_once_do_not_multiply():
    value = []
    value.extend([value] * 5 + [{"x": value}])
    assert decoded(value) == [None] * 5 + [{"x": None}]


def test_the_same_object_twice_is_no_cycle():
    shared = {"x": 1}
    assert decoded([shared, shared, BIG]) == [{"x": 1}, {"x": 1}, BIG]


def test_an_object_that_returns_itself():
    assert decoded(Endless()) == {"again": None}


def nested(depth):
    value = "end"
    for _ in range(depth):
        value = [value]
    return value


def test_depth_is_kept_up_to_a_bound():
    assert decoded(nested(MAX_DEPTH)) == nested(MAX_DEPTH)
    assert encode(nested(5000)) == b"[" * MAX_DEPTH + b"null" + b"]" * MAX_DEPTH


def test_an_integer_of_any_length_is_a_number():
    text = encode({"x": 10**6000}).decode()
    assert text == '{"x":1' + "0" * 6000 + "}"


@pytest.mark.parametrize("extra", [[], [BIG]])
def test_keys_of_all_kinds(extra):
    value = {("a", 1): 1, b"b": 2, 1.5: 3, datetime.date(2026, 1, 1): 4}
    shown = {"('a', 1)": 1, "b'b'": 2, "1.5": 3, "2026-01-01": 4}
    assert decoded([value, *extra]) == [shown, *extra]


@pytest.mark.parametrize("extra", [[], [BIG]])
@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (types.MappingProxyType({"a": 1}), {"a": 1}),
        (Number(1.5), 1.5),
        (datetime.time(3, 4, tzinfo=datetime.UTC), "03:04:00+00:00"),
        (Holder(inner=Opaque()), {"inner": None, "number": 1}),
        (Unfinished(), {}),
        (Stubborn(), {"x": 1}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_odd_values_are_encoded_beside_ordinary_values(value, shown, extra):
    assert decoded([value, *extra]) == [shown, *extra]


def test_nul_characters_are_replaced_everywhere_and_text_about_them_is_not():
    value = {"k\0": ["\0\0", r"\u0000", "\\\0", r"\\u0000", AIMessage("\0")]}
    found = decoded(value)["k\ufffd"]
    assert found[:4] == ["\ufffd\ufffd", r"\u0000", "\\\ufffd", r"\\u0000"]
    assert found[4]["content"] == "\ufffd"


def test_fields_that_a_message_has_besides():
    assert message_dict(Told("x"))["mood"] == "calm"
    extra = AIMessage("x", id="1", reasoning="long")
    assert list(message_dict(extra))[-1] == "reasoning"
    assert message_dict(extra)["reasoning"] == "long"
    assert list(message_dict(RemoveMessage("1")))[-1] == "id"


def test_a_message_without_its_fields_is_shown_as_the_library_would():
    message = AIMessage("x")
    del message.__dict__["name"]
    assert "name" not in message_dict(message)
    assert message_dict(message) == message.model_dump()


def test_messages_inside_of_values():
    shown = decoded({"messages": [AIMessage("x", id="1")], "n": BIG})
    assert shown["messages"] == [AIMessage("x", id="1").model_dump()]


def test_metadata_is_encoded_once_for_all_tokens():
    seen = []

    class Counted:
        def dict(self):
            seen.append(1)
            return {}

    encoder, metadata = MessageEncoder(), {"node": "n", "x": Counted()}
    for word in ("a", "b", "c"):
        pair = json.loads(encoder.pair(AIMessageChunk(content=word), metadata))
        assert (pair[0]["content"], pair[1]) == (word, {"node": "n", "x": {}})
    assert len(seen) == 1
