"""Messages in states, in the form that the thread protocol gives them."""

from __future__ import annotations

from typing import cast

import orjson

from loomline.server.domain.json import Encoded, Json, JsonObject, dump

_TYPES = {
    "human": "human", "user": "human", "ai": "ai", "assistant": "ai", "system": "system",
    "tool": "tool", "function": "function", "remove": "remove",
}  # fmt: skip

_BLOCKS = frozenset({
    "text", "reasoning", "image", "audio", "video", "file", "text-plain", "tool_call",
    "tool_call_chunk", "invalid_tool_call", "server_tool_call", "server_tool_call_chunk",
    "server_tool_result", "non_standard",
})  # fmt: skip

_LISTS = ("tool_calls", "invalid_tool_calls")
_TOOL = ("tool_call_id", "status", "artifact")

# What no message can be without, as all encoders write it: most states need no second look.
_SIGN = b'"type":"'


def normalised(data: Encoded) -> Encoded:
    """Return a state or an update with the messages in its lists in their plain form.

    A message is an object whose ``type`` says so. It keeps its type, content, id, name and
    response metadata, and what belongs to a tool call or its result. Everything else stays.
    """
    if data.find(_SIGN) < 0:
        return data
    holder: list[Json] = [cast("Json", orjson.loads(data))]
    _walk(holder)
    return dump(holder[0])


def _walk(holder: list[Json]) -> None:
    """Replace the messages in all lists; without recursion, however deep they are."""
    waiting: list[Json] = [*holder]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            value[:] = [_message(each) for each in value]
            waiting += value
        elif isinstance(value, dict):
            waiting += value.values()


def _message(value: Json) -> Json:
    kind = value.get("type") if isinstance(value, dict) else None
    if not isinstance(value, dict) or not isinstance(kind, str) or kind not in _TYPES:
        return value
    if "content" not in value:  # something else of the same name
        return value
    plain: JsonObject = {"type": _TYPES[kind], "content": _content(value["content"])}
    for key in ("id", "name"):
        if value.get(key) is not None:
            plain[key] = value[key]
    if value.get("response_metadata"):
        plain["response_metadata"] = value["response_metadata"]
    extra = _TOOL if plain["type"] == "tool" else _LISTS if plain["type"] == "ai" else ()
    for key in extra:
        if value.get(key) not in (None, []):
            plain[key] = value[key]
    return plain


def _content(content: Json) -> Json:
    return [_block(each) for each in content] if isinstance(content, list) else content


def _block(block: Json) -> Json:
    if isinstance(block, str):
        return {"type": "text", "text": block}
    if not isinstance(block, dict):
        return {"type": "non_standard", "value": {"value": block}}
    if block.get("type") in _BLOCKS:
        return block
    url = _image(block)
    return {"type": "non_standard", "value": block} if url is None else url


def _image(block: JsonObject) -> JsonObject | None:
    if block.get("type") != "image_url":
        return None
    image = block.get("image_url")
    url = image.get("url") if isinstance(image, dict) else image
    return {"type": "image", "url": url} if isinstance(url, str) else None
