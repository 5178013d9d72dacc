"""Schemas of graphs."""

import sys
import typing
from typing import Annotated, NotRequired, Required

import pytest
from langgraph.graph import START, StateGraph
from typing_extensions import ReadOnly, TypedDict

from loomline.server.graphs.describe import schemas


class State(typing.TypedDict, total=False):
    text: str


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="pydantic can read typing.TypedDict there")
def test_a_state_made_with_typing_typed_dict_is_reported_with_the_remedy(caplog):
    builder = StateGraph(State).add_node("node", lambda _: {}).add_edge(START, "node")
    described = schemas(builder.compile())
    assert described["input_schema"] is None
    assert "Import TypedDict from typing_extensions instead" in caplog.text
    assert {record.schema for record in caplog.records} == {"input_schema", "output_schema"}


class Qualified(TypedDict):
    plain: NotRequired[int]
    marked: Annotated[NotRequired[int], "mark"]
    required: Annotated[Required[int], "mark"]
    nested: Annotated[NotRequired[ReadOnly[int]], "mark"]


def test_a_state_whose_annotations_hold_qualifiers_has_a_schema():
    builder = StateGraph(Qualified).add_node("node", lambda _: {}).add_edge(START, "node")
    properties = schemas(builder.compile())["state_schema"]["properties"]
    kinds = {name: described["type"] for name, described in properties.items()}
    assert kinds == dict.fromkeys(["plain", "marked", "required", "nested"], "integer")
