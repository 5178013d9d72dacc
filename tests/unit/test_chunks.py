"""Chunks of graphs as events."""

import orjson

from loomline.server.worker.chunks import ChunkEncoder


def events(modes, *payloads):
    encoder = ChunkEncoder(frozenset(modes))
    found = [event for each in payloads for event in encoder.events(("a:1",), "tools", each)]
    return [(event.name, event.mode, orjson.loads(event.data)) for event in found]


def test_tool_events_become_events_of_the_tools_mode():
    call = {"tool_call_id": "c"}
    found = events(
        {"tools"},
        call | {"event": "tool-started", "tool_name": "add", "input": {"a": 1}},
        call | {"event": "tool-output-delta", "delta": "half"},
        call | {"event": "tool-finished", "output": 2},
        call | {"event": "tool-started", "tool_name": "other"},
        call | {"event": "tool-error", "message": "boom"},
        call | {"event": "tool-renamed"},
    )
    assert {(name, mode) for name, mode, _ in found} == {("tools|a:1", "tools")}
    named = {"toolCallId": "c", "name": "add"}
    assert [data for _, _, data in found] == [
        named | {"event": "on_tool_start", "input": {"a": 1}},
        named | {"event": "on_tool_event", "data": "half"},
        named | {"event": "on_tool_end", "output": 2},
        named | {"event": "on_tool_start", "name": "other", "input": None},
        named | {"event": "on_tool_error", "name": "other", "error": "boom"},
        call | {"event": "tool-renamed"},
    ]


def test_tool_events_are_dropped_without_the_tools_mode():
    assert events({"values"}, {"event": "tool-started", "tool_call_id": "c"}) == []
