"""What tools do, in the words of langgraph and of clients, which differ."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from loomline.server.domain.json import JsonObject

TOOL_EVENTS: Final[Mapping[str, tuple[str, str, str]]] = {
    "tool-started": ("on_tool_start", "input", "input"),
    "tool-output-delta": ("on_tool_event", "data", "delta"),
    "tool-finished": ("on_tool_end", "output", "output"),
    "tool-error": ("on_tool_error", "error", "message"),
}
"""langgraph's name of an event: the one in the stream of a run, its only field there, and here."""

_BACK: Final = {
    event: (kind, field, source) for kind, (event, field, source) in TOOL_EVENTS.items()
}


def protocol_tool(data: JsonObject) -> JsonObject:
    """Return an event of a run's stream as the thread protocol has it."""
    kind = data.get("event")
    if not isinstance(kind, str) or kind not in _BACK:
        return data
    event, field, source = _BACK[kind]
    told: JsonObject = {"event": event, "tool_call_id": data.get("toolCallId")}
    if event == "tool-started":
        told["tool_name"] = data.get("name")
    return {**told, source: data.get(field)}
