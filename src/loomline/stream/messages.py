"""How a message is put together from its events."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any, Final

import orjson

__all__ = ["MessageBuild", "delta_text"]

_TEXT: Final = frozenset({"text", "text-delta"})
_REASONING: Final = frozenset({"reasoning", "reasoning-delta"})
_OPEN_CALLS: Final = frozenset({"tool_call_chunk", "server_tool_call_chunk"})
_CALLS: Final = frozenset({"tool_call", "server_tool_call"})
_WITHOUT_INDEX: Final = frozenset({"tool_call", "invalid_tool_call"})
"""Blocks that carry no index once they are complete, in the thread's state neither."""
_FINISH: Final = ("finish_reason", "normalized_finish_reason", "finish_state")


class MessageBuild:
    """One message, as far as it has come.

    Attributes:
        events: What has come.
        text: The pieces of its text.
        reasoning: The pieces of its reasoning.
        call_chunks: The pieces of its tool calls.
        finished: Whether nothing more comes.
        error: Why it was not finished, if it was not.
    """

    def __init__(self) -> None:
        self.events: list[Mapping[str, Any]] = []
        self.text: list[str] = []
        self.reasoning: list[str] = []
        self.call_chunks: list[dict[str, Any]] = []
        self.finished: bool = False
        self.error: BaseException | None = None
        self._role = "ai"
        self._id: str | None = None
        self._blocks: dict[int, dict[str, Any]] = {}
        # Pieces that are not in blocks yet.
        self._loose: defaultdict[tuple[int, str], list[str]] = defaultdict(list)
        self._metadata: dict[str, Any] = {}
        self._usage: Any = None

    def feed(self, data: Mapping[str, Any]) -> None:
        """Take one event of this message."""
        if self.finished:
            return
        self.events.append(data)
        match data.get("event"):
            case "content-block-delta":
                # Results of tools carry their text as `content`.
                self._delta(_index(data), _dict(data.get("delta") or data.get("content")))
            case "message-start":
                self._start(data)
            case "content-block-start":
                self._open(_index(data), _dict(data.get("content")))
            case "content-block-finish":
                self._close(_index(data), _dict(data.get("content")))
            case "message-finish":
                self._finish(data)
            case "error":
                self.fail(RuntimeError(str(data.get("message") or "The model failed.")))

    def fail(self, error: BaseException) -> None:
        """End the message without its rest."""
        if not self.finished:
            self.error = error
            self.finished = True

    def whole_text(self) -> str:
        """Return its text, as far as it has come."""
        return self._joined("text")

    def whole_reasoning(self) -> str:
        """Return its reasoning, as far as it has come."""
        return self._joined("reasoning")

    def calls(self) -> list[dict[str, Any]]:
        """Return its tool calls; those that are not complete have text as their `args`."""
        return [block for block in self._ordered() if block.get("type") in _CALLS | _OPEN_CALLS]

    def message(self) -> dict[str, Any]:
        """Return it in the form that `langchain_core` takes."""
        blocks = self._ordered()
        made: dict[str, Any] = {
            "content": blocks,
            "id": self._id,
            "response_metadata": {"output_version": "v1", **self._metadata},
            "tool_calls": [_call(b) for b in blocks if b.get("type") == "tool_call"],
            "invalid_tool_calls": [b for b in blocks if b.get("type") == "invalid_tool_call"],
        }
        return {**made, "usage_metadata": self._usage} if self._usage else made

    def _start(self, data: Mapping[str, Any]) -> None:
        self._id = data.get("id") or data.get("message_id")
        self._role = data.get("role", "ai")
        self._metadata.update(_dict(data.get("metadata")))

    def _open(self, index: int, content: dict[str, Any]) -> None:
        self._blocks[index] = dict(content)
        kind = content.get("type")
        if kind in _TEXT and content.get("text"):
            self.text.append(content["text"])
        elif kind in _REASONING and content.get("reasoning"):
            self.reasoning.append(content["reasoning"])
        elif kind in _OPEN_CALLS:
            self._blocks[index].setdefault("args", "")
            self._add_chunk(index, content.get("args"))

    def _delta(self, index: int, delta: dict[str, Any]) -> None:
        match delta.get("type"):
            case "text-delta" | "text":
                self._append(index, "text", "text", delta, self.text)
            case "reasoning-delta" | "reasoning":
                self._append(index, "reasoning", "reasoning", delta, self.reasoning)
            case "tool-call-delta":
                self._append(index, "tool_call_chunk", "args", delta)
                self._add_chunk(index, delta.get("args"), delta)
            case "data-delta":
                self._append(index, "file", "data", delta)
            case "block-delta":
                self._merge(index, _dict(delta.get("fields")))

    def _merge(self, index: int, fields: dict[str, Any]) -> None:
        self._settle()
        block = self._block(index, str(fields.get("type", "non_standard")))
        args, before = fields.get("args"), str(block.get("args") or "")
        block.update(fields)
        if isinstance(args, str):
            self._add_chunk(index, args.removeprefix(before))

    def _add_chunk(self, index: int, args: object, given: Mapping[str, Any] | None = None) -> None:
        """Add a piece of a tool call, with the call's id and name. A piece has arguments."""
        block = self._blocks[index]
        if isinstance(args, str) and args and block.get("type") == "tool_call_chunk":
            call = {**(given or {}), **block}
            named = {name: call.get(name) for name in ("id", "name")}
            place = block.get("index", index)
            self.call_chunks.append(
                {"type": "tool_call_chunk", **named, "args": args, "index": place}
            )

    def _append(
        self,
        index: int,
        kind: str,
        field: str,
        delta: dict[str, Any],
        pieces: list[str] | None = None,
    ) -> None:
        """Add a piece to a block. Joined later: a long text would be copied with every piece."""
        piece = delta.get(field)
        if index not in self._blocks:
            self._blocks[index] = {"type": kind}
        if isinstance(piece, str) and piece:
            self._loose[index, field].append(piece)
            if pieces is not None:
                pieces.append(piece)

    def _settle(self) -> None:
        """Put the pieces into their blocks."""
        for (index, field), pieces in self._loose.items():
            block = self._blocks[index]
            block[field] = f"{block.get(field) or ''}{''.join(pieces)}"
        self._loose.clear()

    def _close(self, index: int, content: dict[str, Any]) -> None:
        """Take a block's final form, and deliver what its pieces have left out."""
        self._settle()
        for field, pieces in (("text", self.text), ("reasoning", self.reasoning)):
            whole = content.get(field) if content.get("type") == field else None
            before = self._blocks.get(index, {}).get(field) or ""
            if isinstance(whole, str) and whole.startswith(before) and whole != before:
                pieces.append(whole[len(before) :])
        if content.get("type") in _WITHOUT_INDEX:
            self._blocks[index] = {k: v for k, v in content.items() if k != "index"}
        elif content:
            self._blocks[index] = {**content, "index": content.get("index", index)}

    def _finish(self, data: Mapping[str, Any]) -> None:
        self._settle()
        self._usage = data.get("usage")
        self._metadata.update(_dict(data.get("metadata")))
        self._metadata.update({key: data[key] for key in _FINISH if data.get(key) is not None})
        for index, block in self._blocks.items():
            if block.get("type") in _OPEN_CALLS:
                self._blocks[index] = _parsed(block)
            elif block.get("type") not in _WITHOUT_INDEX:
                block.setdefault("index", index)
        self.finished = True

    def _block(self, index: int, kind: str) -> dict[str, Any]:
        return self._blocks.setdefault(index, {"type": kind})

    def _joined(self, kind: str) -> str:
        return "".join(str(b.get(kind, "")) for b in self._ordered() if b.get("type") == kind)

    def _ordered(self) -> list[dict[str, Any]]:
        self._settle()
        return [self._blocks[index] for index in sorted(self._blocks)]


def delta_text(data: Mapping[str, Any]) -> str | None:
    """Return the text or reasoning that an event carries, if it carries one."""
    content = _dict(data.get("delta") or data.get("content"))
    found = content.get("text", content.get("reasoning"))
    return found if isinstance(found, str) else None


def _call(block: dict[str, Any]) -> dict[str, Any]:
    return {"type": "tool_call", **{name: block.get(name) for name in ("id", "name", "args")}}


def _parsed(block: dict[str, Any]) -> dict[str, Any]:
    text = block.get("args") or "{}"
    kept = {k: v for k, v in block.items() if k not in {"type", "args"}}
    try:
        args = orjson.loads(text) if isinstance(text, str) else text
    except orjson.JSONDecodeError:
        args = None
    if not isinstance(args, dict):
        reason = "The arguments are not a JSON object."
        return {"type": "invalid_tool_call", **kept, "args": text, "error": reason}
    kind = "tool_call" if block["type"] == "tool_call_chunk" else "server_tool_call"
    return {"type": kind, **kept, "args": args}


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _index(data: Mapping[str, Any]) -> int:
    index = data.get("index")
    return index if isinstance(index, int) else 0
