"""Messages as they are streamed, block by block, from models that a node iterates itself.

When a node calls a model, langgraph reports the message block by block. When the node iterates
``model.astream()``, it only has the chunks: they are taken apart here, into the same events.
"""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from uuid import UUID

import orjson
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk, LLMResult
from langgraph.config import get_stream_writer
from langgraph.constants import TAG_NOSTREAM

# Blocks and metadata are what the providers of models make them.
_Dict: TypeAlias = dict[str, Any]

_CALLS = {"tool_call_chunk": "tool_call", "server_tool_call_chunk": "server_tool_call"}
_TEXTS = {"text": "text", "reasoning": "reasoning"}
_WHOLE = {**_TEXTS, "refusal": "refusal"}
_FINISH = ("finish_reason", "normalized_finish_reason", "finish_state")
_HEAVY = frozenset({"data", "args", "value", "output", "index"})
_USAGE = ("input_tokens", "output_tokens", "total_tokens")


@dataclass(slots=True)
class _Block:
    """A block as far as it has come. ``parts`` are the pieces of its text or arguments."""

    index: int
    content: _Dict
    parts: list[str] = field(default_factory=list)

    @property
    def kind(self) -> str:
        return str(self.content["type"])

    def add(self, block: _Dict) -> _Dict | None:
        """Take a piece; return the delta that tells of it, if it needs one."""
        kind = self.kind
        key = "args" if kind in _CALLS else _WHOLE.get(kind)
        for name, value in block.items():
            if name != key and value is not None:
                self.content[name] = value
        if key is None:
            return None
        piece = block.get(key) or ""
        self.parts.append(piece)
        if kind == "refusal":
            return None  # the protocol has no delta for it
        name = "tool-call-delta" if kind in _CALLS else f"{kind}-delta"
        return {"type": name, key: piece} if piece else None

    def finished(self) -> _Dict:
        whole = "".join(self.parts)
        if self.kind in _WHOLE:
            return {**self.content, _WHOLE[self.kind]: whole}
        return self._call(whole) if self.kind in _CALLS else self.content

    def _call(self, text: str) -> _Dict:
        rest = {key: value for key, value in self.content.items() if key not in {"args", "index"}}
        try:
            return {**rest, "type": _CALLS[self.kind], "args": orjson.loads(text or "{}")}
        except orjson.JSONDecodeError:
            error = "Failed to parse tool call arguments as JSON"
            return {**rest, "type": "invalid_tool_call", "args": text, "error": error}


class ChunkedMessage:
    """One message that comes in chunks, as the events of the protocol."""

    def __init__(self) -> None:
        self._blocks: dict[Hashable, _Block] = {}
        self._started = False

    def chunk(self, chunk: AIMessageChunk) -> Iterator[_Dict]:
        if not self._started:
            self._started = True
            yield {"event": "message-start", "role": "ai", "id": chunk.id}
        for position, block in enumerate(_blocks(chunk)):
            yield from self._piece(position, block)

    def finish(self, message: object) -> Iterator[_Dict]:
        """Return the events that end the message; ``message`` is the whole of it."""
        if not self._started:
            return
        for block in self._blocks.values():
            yield {
                "event": "content-block-finish",
                "index": block.index,
                "content": block.finished(),
            }
        metadata = getattr(message, "response_metadata", None) or {}
        end: _Dict = {"event": "message-finish", **self._reasons(metadata)}
        usage = getattr(message, "usage_metadata", None)
        if usage:
            end["usage"] = {key: usage[key] for key in _USAGE if key in usage}
        if metadata:
            end["metadata"] = metadata
        yield end

    def _reasons(self, metadata: _Dict) -> _Dict:
        """Return the reasons for the end that the provider has set, as the whole message has them.

        A provider names the reason in a chunk that may come before or after the tool calls.
        """
        fields = {key: metadata[key] for key in _FINISH if metadata.get(key)}
        if "normalized_finish_reason" not in fields:
            return fields
        kinds = {block.kind for block in self._blocks.values()}
        if "refusal" in kinds:
            fields["normalized_finish_reason"] = "refusal"
        elif fields["normalized_finish_reason"] == "stop" and "tool_call_chunk" in kinds:
            fields["normalized_finish_reason"] = "tool_call"
        return fields

    def _piece(self, position: int, piece: _Dict) -> Iterator[_Dict]:
        given = piece.get("index")
        # Pieces belong together when they are of one kind: some have no place of their own, and
        # some models number those of several kinds alike.
        key: Hashable = (piece["type"], given is None, position if given is None else given)
        block = self._blocks.get(key)
        if block is None:
            block = self._blocks[key] = _Block(len(self._blocks), {"type": piece["type"]})
            yield {
                "event": "content-block-start",
                "index": block.index,
                "content": _opening(piece),
            }
        delta = block.add(piece)
        if delta is not None:
            yield {"event": "content-block-delta", "index": block.index, "delta": delta}


def _blocks(chunk: AIMessageChunk) -> list[_Dict]:
    if isinstance(chunk.content, str) and not (chunk.tool_call_chunks or chunk.additional_kwargs):
        # The usual token, which costs a tenth this way.
        return [{"type": "text", "text": chunk.content}] if chunk.content else []
    return [_known(block) for block in chunk.content_blocks]


def _known(block: Mapping[str, Any]) -> _Dict:
    """Return a block. To langchain-core before 1.7.5 a refusal is a block of no standard kind."""
    value = block.get("value")
    if not isinstance(value, dict) or value.get("type") != "refusal":
        return dict(block)
    place = {"index": block["index"]} if "index" in block else {}
    return {**place, **value}


def _opening(piece: _Dict) -> _Dict:
    kind = piece["type"]
    if kind in _WHOLE:
        return {"type": kind, _WHOLE[kind]: ""}
    if kind in _CALLS:
        named = {key: piece[key] for key in ("id", "name", "index") if piece.get(key) is not None}
        return {"type": kind, **named, "args": ""}
    return {key: value for key, value in piece.items() if key not in _HEAVY}


@dataclass(frozen=True, slots=True)
class Streamed:
    """An event of a message, on its way through the graph's own stream."""

    event: _Dict
    metadata: _Dict


@dataclass(slots=True)
class _Call:
    """A call of a model. ``held`` is its first chunk."""

    metadata: _Dict
    message: ChunkedMessage = field(default_factory=ChunkedMessage)
    held: AIMessageChunk | None = None
    begun: bool = False


class ChunkHandler(BaseCallbackHandler):
    """Watches the models of one run, and writes the events of chunked messages into its stream.

    The stream is that of the node's writer: so they keep their place among all other events, and
    have the namespace of their graph. Models report their chunks as well when langgraph reports the
    message; whether it does is known when the second chunk comes. ``idle`` is set while the graph
    itself does nothing.
    """

    run_inline = True

    def __init__(self, run_id: UUID) -> None:
        self.idle: asyncio.Event = asyncio.Event()
        self.idle.set()
        self._run_id = run_id
        self._calls: dict[UUID, _Call] = {}

    def on_chain_start(
        self,
        serialized: object,  # noqa: ARG002 - named by the interface, as all that is not used
        inputs: object,  # noqa: ARG002
        *,
        run_id: UUID,
        **_: object,
    ) -> None:
        if run_id == self._run_id:
            self.idle.clear()

    def on_chain_end(self, outputs: object, *, run_id: UUID, **_: object) -> None:  # noqa: ARG002
        if run_id == self._run_id:
            self.idle.set()

    def on_chain_error(self, error: BaseException, *, run_id: UUID, **_: object) -> None:  # noqa: ARG002
        if run_id == self._run_id:
            self.idle.set()

    def on_chat_model_start(
        self,
        serialized: _Dict,  # noqa: ARG002
        messages: object,  # noqa: ARG002
        *,
        run_id: UUID,
        tags: list[str] | None = None,
        metadata: _Dict | None = None,
        **_: object,
    ) -> None:
        if metadata and TAG_NOSTREAM not in (tags or ()):
            self._calls[run_id] = _Call({**metadata, "run_id": str(run_id)})

    def on_stream_event(self, event: object, *, run_id: UUID, **_: object) -> None:  # noqa: ARG002
        self._calls.pop(run_id, None)  # langgraph reports this message itself

    def on_llm_new_token(
        self,
        token: object,  # noqa: ARG002
        *,
        chunk: object = None,
        run_id: UUID,
        **_: object,
    ) -> None:
        call = self._calls.get(run_id)
        message = chunk.message if isinstance(chunk, ChatGenerationChunk) else None
        if call is None or not isinstance(message, AIMessageChunk):
            return
        if not call.begun:
            call.begun, call.held = True, message
            return
        _release(call)
        _write(call.message.chunk(message), call.metadata)

    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **_: object) -> None:
        call = self._calls.pop(run_id, None)
        if call is None or not call.begun:
            return
        _release(call)
        generation = next(iter(response.generations[0]), None) if response.generations else None
        _write(call.message.finish(getattr(generation, "message", None)), call.metadata)

    def on_llm_error(self, error: BaseException, *, run_id: UUID, **_: object) -> None:  # noqa: ARG002
        self._calls.pop(run_id, None)


def _release(call: _Call) -> None:
    held, call.held = call.held, None
    if held is not None:
        _write(call.message.chunk(held), call.metadata)


def _write(events: Iterator[_Dict], metadata: _Dict) -> None:
    try:
        write = get_stream_writer()
    except (RuntimeError, KeyError):
        return  # the model has been called outside of the graph's context: nobody can tell where
    for event in events:
        write(Streamed(event, metadata))
