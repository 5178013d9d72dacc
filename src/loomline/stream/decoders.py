"""From events to what users iterate: values, messages, tool calls, subgraphs.

A decoder makes its objects with a factory and feeds them; neither does any I/O, so the same ones
serve both colours of the client.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from loomline.stream.messages import delta_text
from loomline.stream.types import CHANNELS, SubgraphStatus

__all__ = [
    "RESERVED_INTERLEAVE_CHANNELS",
    "SUPPORTED_INTERLEAVE_CHANNELS",
    "DataDecoder",
    "Decoder",
    "ExtensionsDecoder",
    "MessagesDecoder",
    "SubgraphStatus",
    "SubgraphsDecoder",
    "ToolCallsDecoder",
    "validate_interleave_channels",
]

SUPPORTED_INTERLEAVE_CHANNELS: Final = (
    "values",
    "messages",
    "tool_calls",
    "subgraphs",
    "updates",
    "checkpoints",
    "tasks",
)
"""What may be interleaved, besides the names of extensions."""

EARLY_MOST: Final = 1_024
"""Events that wait for the event that tells of their subgraph."""

KNOWN_MOST: Final = 10_000
"""Subgraphs of a run that are remembered."""

RESERVED_INTERLEAVE_CHANNELS: Final = frozenset(CHANNELS) - {
    *SUPPORTED_INTERLEAVE_CHANNELS,
    "custom",
}
"""Channels without a projection. Extensions cannot have their names."""


class Decoder(Protocol):
    """Takes events; yields what they make."""

    def feed(self, event: Mapping[str, Any]) -> Iterable[Any]:
        """Take an event; yield what it makes, if anything."""
        ...


def validate_interleave_channels(channels: list[str]) -> None:
    """Refuse names that are no projections.

    Raises:
        ValueError: there is one.
    """
    for name in channels:
        if name in RESERVED_INTERLEAVE_CHANNELS:
            allowed = ", ".join(SUPPORTED_INTERLEAVE_CHANNELS)
            raise ValueError(
                f"'{name}' is not a valid projection to interleave. "
                f"Use {allowed} or the name of an extension."
            )
        if not name:
            raise ValueError("The name of a projection must be a non-empty string")


class DataDecoder:
    """Yields the data of the events of one method, of one namespace if it is given."""

    def __init__(self, method: str, namespace: list[str] | None = None) -> None:
        self._method = method
        self._namespace = namespace

    def feed(self, event: Mapping[str, Any]) -> Iterator[Any]:
        """Yield the data of an event, if it is one of these."""
        params = event.get("params") or {}
        if event.get("method") != self._method:
            return
        if self._namespace is None or params.get("namespace", []) == self._namespace:
            yield params.get("data")


class ExtensionsDecoder:
    """Yields the data of the custom events of one name."""

    def __init__(self, name: str) -> None:
        self._name = name

    def feed(self, event: Mapping[str, Any]) -> Iterator[Any]:
        """Yield the data of an event, if it has this name."""
        data = _data(event)
        if event.get("method") == "custom" and data.get("name") == self._name:
            yield data


@dataclass(slots=True)
class _OpenMessage:
    """What is known of a message that has begun, to find the events that belong to it."""

    stream: Any
    message_id: str | None
    node: str | None
    blocks: dict[int, list[str]] = field(default_factory=dict)  # those that are open: their text
    closed: set[int] = field(default_factory=set)
    held: set[int] = field(default_factory=set)  # pieces are missing until the block's end

    def begun(self, index: int) -> bool:
        return index in self.blocks or index in self.closed


class MessagesDecoder:
    """Yields an object for each message of a namespace, and feeds it while the message grows.

    A server may name a message only in its first event. While several are open, an event without a
    name goes to the one it can belong to; where that cannot be told, a block waits for its end,
    which brings it whole.

    Args:
        namespace: Where the messages come from.
        stream_factory: Is called with `namespace`, `node` and `message_id`; what it returns has
            `dispatch(data)` and `fail(error)`.
    """

    def __init__(self, namespace: list[str], stream_factory: Callable[..., Any]) -> None:
        self._namespace = list(namespace)
        self._factory = stream_factory
        self._open: list[_OpenMessage] = []

    def feed(self, event: Mapping[str, Any]) -> Iterator[Any]:
        """Take an event; yield the message that it begins, if it does."""
        params = event.get("params") or {}
        if event.get("method") != "messages" or params.get("namespace", []) != self._namespace:
            return
        data = params.get("data")
        if not isinstance(data, dict):
            return
        if data.get("event") == "message-start":
            yield self._begin(params, data)
        else:
            self._continue(params, data)

    def fail(self, error: BaseException) -> None:
        """End the messages that are open: nothing more comes."""
        for each in self._open:
            each.stream.fail(error)
        self._open.clear()

    def _begin(self, params: Mapping[str, Any], data: Mapping[str, Any]) -> Any:
        node, message_id = _node(params, data), _message_id(data)
        stream = self._factory(namespace=self._namespace, node=node, message_id=message_id)
        self._open.append(_OpenMessage(stream, message_id, node))
        stream.dispatch(data)
        return stream

    def _continue(self, params: Mapping[str, Any], data: Mapping[str, Any]) -> None:
        kind, index = data.get("event"), data.get("index", 0)
        if kind == "error" and _message_id(data) is None and len(self._open) > 1:
            return self.fail(RuntimeError(str(data.get("message") or "A model failed.")))
        found = self._find(params, data)
        if found is None:
            return None
        if kind == "content-block-start":
            found.blocks[index] = [delta_text(data) or ""]
        elif kind == "content-block-delta":
            if index in found.held:
                return None
            found.blocks.setdefault(index, []).append(delta_text(data) or "")
        elif kind == "content-block-finish":
            found.blocks.pop(index, None)
            found.held.discard(index)
            found.closed.add(index)
        elif kind in {"message-finish", "error"}:
            self._open.remove(found)
        found.stream.dispatch(data)
        return None

    def _find(self, params: Mapping[str, Any], data: Mapping[str, Any]) -> _OpenMessage | None:
        named = _message_id(data)
        if named is not None:
            return next((each for each in self._open if each.message_id == named), None)
        open_ones = self._open
        if len(open_ones) > 1 and (node := _node(params, data)) is not None:
            open_ones = [each for each in open_ones if each.node in {node, None}]
        if len(open_ones) < 2:
            return open_ones[0] if open_ones else None
        return _likely(open_ones, data)


def _likely(open_ones: list[_OpenMessage], data: Mapping[str, Any]) -> _OpenMessage | None:
    """Return the message an event without a name belongs to, if that can be told."""
    kind, index = data.get("event"), data.get("index", 0)
    if kind == "content-block-start":
        fresh = [each for each in open_ones if not each.blocks and not each.closed]
        waiting = [each for each in open_ones if not each.begun(index)]
        return fresh[-1] if fresh else waiting[0] if waiting else None
    if kind == "message-finish":
        done = [each for each in open_ones if not each.blocks]
        return done[0] if done else open_ones[0]
    holders = [each for each in open_ones if index in each.blocks]
    if len(holders) < 2:
        return holders[0] if holders else None
    if kind == "content-block-finish":
        text = delta_text(data) or ""
        return next((h for h in holders if text.startswith("".join(h.blocks[index]))), holders[0])
    for each in holders:
        each.held.add(index)
    return None


class ToolCallsDecoder:
    """Yields an object for each tool call of a namespace, and feeds it until the tool ends.

    Args:
        namespace: Where the calls come from.
        handle_factory: Is called with `tool_call_id`, `name`, `input` and `namespace`; what it
            returns has `push(delta)`, `finish(output)` and `fail(error)`.
    """

    def __init__(self, namespace: list[str], handle_factory: Callable[..., Any]) -> None:
        self._namespace = list(namespace)
        self._factory = handle_factory
        self._open: dict[str, Any] = {}

    def feed(self, event: Mapping[str, Any]) -> Iterator[Any]:
        """Take an event; yield the call that it begins, if it does."""
        params = event.get("params") or {}
        if event.get("method") != "tools" or params.get("namespace", []) != self._namespace:
            return
        data = _data(event)
        call_id, kind = data.get("tool_call_id"), data.get("event")
        if not isinstance(call_id, str):
            return
        if kind == "tool-started":
            yield self._begin(call_id, data)
        elif kind == "tool-output-delta" and call_id in self._open:
            self._open[call_id].push(data.get("delta"))
        elif kind == "tool-finished" and call_id in self._open:
            self._open.pop(call_id).finish(data.get("output"))
        elif kind == "tool-error" and call_id in self._open:
            message = str(data.get("message") or "The tool failed.")
            self._open.pop(call_id).fail(RuntimeError(message))

    def fail(self, error: BaseException | None) -> None:
        """End the calls that are open: nothing more comes."""
        reason = error or RuntimeError("Tool call stream closed before terminal tool event.")
        for handle in self._open.values():
            handle.fail(reason)
        self._open.clear()

    def _begin(self, call_id: str, data: Mapping[str, Any]) -> Any:
        handle = self._factory(
            tool_call_id=call_id,
            name=str(data.get("tool_name", "")),
            input=data.get("input"),
            namespace=list(self._namespace),
        )
        before = self._open.pop(call_id, None)
        if before is not None:  # the call was interrupted, and runs again
            before.fail(RuntimeError("The tool call was interrupted and has started again."))
        self._open[call_id] = handle
        return handle


class SubgraphsDecoder:
    """Yields an object for each direct child of a scope, and feeds it what happens below.

    Args:
        scope: The path of the parent.
        handle_factory: Is called with `path`, `graph_name` and `trigger_call_id`; what it returns
            has `push(event)` and `finish(status, error)`.
        known: The children that an earlier decoder has found, and whether by their start. These are
            not found again by other events of theirs. The decoder adds its own.
    """

    def __init__(
        self,
        scope: tuple[str, ...],
        handle_factory: Callable[..., Any],
        known: dict[str, bool] | None = None,
    ) -> None:
        self._scope = tuple(scope)
        self._factory = handle_factory
        self._known = {} if known is None else known
        self._before = dict(self._known)
        self._children: set[str] = set()
        self._open: dict[str, Any] = {}
        self._early: deque[tuple[str, Mapping[str, Any]]] = deque(maxlen=EARLY_MOST)

    def feed(self, event: Mapping[str, Any]) -> Iterator[Any]:
        """Take an event; yield the child that it is the first of, if it is."""
        namespace = (event.get("params") or {}).get("namespace") or []
        depth = len(self._scope)
        if tuple(namespace[:depth]) != self._scope:
            return
        if len(namespace) == depth:
            self._settle(event)
            return
        segment = namespace[depth]
        own = len(namespace) == depth + 1
        if segment not in self._children:
            if own and self._is_new(segment, event):
                yield self._begin(segment, event)
            elif segment not in self._before:
                self._early.append((segment, event))
        if segment in self._open:
            self._open[segment].push(event)
            if own:
                self._ended(segment, event)

    def finish(self, status: SubgraphStatus, error: str | None = None) -> None:
        """End the children that are open: nothing more comes."""
        for handle in self._open.values():
            handle.finish(status, error)
        self._open.clear()

    def _is_new(self, segment: str, event: Mapping[str, Any]) -> bool:
        """Return whether an event begins a child that no earlier decoder has found.

        A child may start again after a question: a second `started` begins it anew.
        """
        if not _begins(event):
            return False
        return segment not in self._before or (_starts(event) and self._before[segment])

    def _begin(self, segment: str, event: Mapping[str, Any]) -> Any:
        name, _, call_id = segment.partition(":")
        handle = self._factory(
            path=(*self._scope, segment),
            graph_name=name,
            trigger_call_id=_data(event).get("trigger_call_id") or call_id or None,
        )
        self._children.add(segment)
        self._known[segment] = _starts(event)
        if len(self._known) > KNOWN_MOST:
            del self._known[next(iter(self._known))]
        self._open[segment] = handle
        self._deliver_early(segment, handle)
        return handle

    def _deliver_early(self, segment: str, handle: Any) -> None:
        """Deliver the events of a child that came before the event that tells of it."""
        if self._early:
            for of, event in self._early:
                if of == segment:
                    handle.push(event)
            left = [each for each in self._early if each[0] != segment]
            self._early.clear()
            self._early.extend(left)

    def _settle(self, event: Mapping[str, Any]) -> None:
        """End the child whose task has ended in the parent."""
        data = _data(event)
        if event.get("method") != "tasks" or "result" not in data:
            return
        for segment, handle in list(self._open.items()):
            if handle.trigger_call_id == data.get("id"):
                del self._open[segment]
                handle.finish(*_outcome(data))

    def _ended(self, segment: str, event: Mapping[str, Any]) -> None:
        """End a child that says so itself."""
        data = _data(event)
        kind = data.get("event")
        if event.get("method") == "lifecycle" and kind in {"completed", "failed", "interrupted"}:
            error = data.get("error")
            self._open.pop(segment).finish(kind, None if error is None else str(error))


def _begins(event: Mapping[str, Any]) -> bool:
    return _starts(event) or (event.get("method") == "tasks" and "result" not in _data(event))


def _starts(event: Mapping[str, Any]) -> bool:
    return event.get("method") == "lifecycle" and _data(event).get("event") == "started"


def _outcome(data: Mapping[str, Any]) -> tuple[SubgraphStatus, str | None]:
    if data.get("interrupts"):
        return "interrupted", None
    if data.get("error"):
        return "failed", str(data["error"])
    return "completed", None


def _data(event: Mapping[str, Any]) -> dict[str, Any]:
    data = (event.get("params") or {}).get("data")
    return data if isinstance(data, dict) else {}


def _message_id(data: Mapping[str, Any]) -> str | None:
    found = data.get("id") or data.get("message_id")
    return found if isinstance(found, str) else None


def _node(params: Mapping[str, Any], data: Mapping[str, Any]) -> str | None:
    metadata = data.get("metadata")
    found = metadata.get("langgraph_node") if isinstance(metadata, dict) else None
    return found or params.get("node")
