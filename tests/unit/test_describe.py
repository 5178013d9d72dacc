"""Schemas of graphs."""

import sys
import typing

import pytest
from langgraph.graph import START, StateGraph

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
