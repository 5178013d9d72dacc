"""From what a graph yields to named events with encoded data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from langchain_core.messages import (
    BaseMessage,
    BaseMessageChunk,
    message_chunk_to_message,
)

from loomline.schema import StreamMode
from loomline.server.domain.events import CHECKPOINT, Event
from loomline.server.domain.json import Encoded
from loomline.server.domain.tools import TOOL_EVENTS
from loomline.server.graphs.serde import MessageEncoder, encode

Namespace: TypeAlias = tuple[str, ...]

ROOT: Namespace = ()

# Everything else in ``configurable`` is internal to langgraph or to this server.
_CHECKPOINT_KEYS = ("thread_id", "checkpoint_ns", "checkpoint_id", "checkpoint_map")

# Payloads are plain data of langgraph's own shapes, holding values of the user.
_Payload: TypeAlias = Any
_Dict: TypeAlias = dict[str, Any]


# Ends of subgraphs are ends of the tasks that call them.
_LIBRARY = {"messages-tuple": "messages", "lifecycle": "tasks"}


def library_modes(modes: frozenset[StreamMode]) -> list[str]:
    """Return the modes to ask langgraph for.

    ``values`` and ``updates`` always: from them the server knows the result and whether the run
    stopped at an interrupt.
    """
    names = {_LIBRARY.get(mode, mode) for mode in modes}
    return sorted((names | {"values", "updates"}) - {"events"})


class ChunkEncoder:
    """Turns the chunks of one run into the events its client asked for."""

    def __init__(self, modes: frozenset[StreamMode]) -> None:
        self._modes = modes
        self._messages = MessageEncoder()
        self._partial = _PartialMessages(self._messages)
        self._special: dict[str, Callable[[Namespace, _Payload], list[Event]]] = {
            "messages": self._message,
            "checkpoints": self._checkpoint,
            "debug": self._debug,
            "tools": self._tool,
        }
        self._tool_names: dict[str, str] = {}

    def events(self, namespace: Namespace, mode: str, payload: _Payload) -> list[Event]:
        """Return the events for a chunk; none where the mode was not asked for."""
        if mode in self._special:
            return self._special[mode](namespace, payload)
        if mode not in self._modes:
            return []
        return [_event(mode, namespace, encode(payload))]

    def _message(self, namespace: Namespace, payload: _Payload) -> list[Event]:
        message, metadata = payload
        if "messages-tuple" in self._modes:
            data = self._messages.pair(message, metadata)
            return [Event(_name("messages", namespace), data, "messages-tuple")]
        if "messages" in self._modes:
            return self._partial.events(message, metadata)
        return []

    def _checkpoint(self, namespace: Namespace, payload: _Payload) -> list[Event]:
        shown: list[Event] = []
        if "checkpoints" in self._modes:
            shown.append(_event("checkpoints", namespace, encode(_checkpoint(payload))))
        if namespace == ROOT:
            name = payload["config"]["configurable"]["checkpoint_id"]
            shown.append(Event(CHECKPOINT, encode(name)))
        return shown

    def _debug(self, namespace: Namespace, payload: _Payload) -> list[Event]:
        if "debug" not in self._modes:
            return []
        if payload["type"] == "checkpoint":
            payload = {**payload, "payload": _debug_checkpoint(payload["payload"])}
        return [_event("debug", namespace, encode(payload))]

    def _tool(self, namespace: Namespace, payload: _Payload) -> list[Event]:
        if "tools" not in self._modes:
            return []
        return [_event("tools", namespace, encode(self._tool_call(payload)))]

    def _tool_call(self, payload: _Dict) -> _Dict:
        """Return what a tool does in the words of clients, which are not those of langgraph."""
        key, kind = payload["tool_call_id"], payload["event"]
        if kind not in TOOL_EVENTS:
            return payload
        if kind == "tool-started":
            self._tool_names[key] = payload["tool_name"]
        name = self._tool_names.get(key, "")
        if kind in {"tool-finished", "tool-error"}:
            self._tool_names.pop(key, None)
        event, field, source = TOOL_EVENTS[kind]
        return {"event": event, "toolCallId": key, "name": name, field: payload.get(source)}


class _PartialMessages:
    """The legacy ``messages`` mode: each token resends the message as far as it has come."""

    def __init__(self, encoder: MessageEncoder) -> None:
        self._encoder = encoder
        self._seen: dict[str, BaseMessageChunk | None] = {}

    def events(self, message: BaseMessage, metadata: Mapping[str, object]) -> list[Event]:
        key = message.id or ""
        events = [] if key in self._seen else [self._metadata(key, metadata)]
        if not isinstance(message, BaseMessageChunk):
            self._seen[key] = None
            return [*events, self._event("complete", message)]
        before = self._seen.get(key)
        whole = message if before is None else before + message
        self._seen[key] = whole
        return [*events, self._event("partial", message_chunk_to_message(whole))]

    def _metadata(self, key: str, metadata: Mapping[str, object]) -> Event:
        return Event("messages/metadata", encode({key: {"metadata": metadata}}), "messages")

    def _event(self, kind: str, message: BaseMessage) -> Event:
        return Event(f"messages/{kind}", encode([message]), "messages")


def _event(mode: str, namespace: Namespace, data: Encoded) -> Event:
    return Event(_name(mode, namespace), data, mode)


def _name(mode: str, namespace: Namespace) -> str:
    return mode if not namespace else "|".join((mode, *namespace))


def _checkpoint(payload: _Dict) -> _Dict:
    return {
        **payload,
        "config": _public(payload["config"]),
        "parent_config": _public(payload["parent_config"]),
        "tasks": [_with_public_state(task) for task in payload["tasks"]],
    }


def _debug_checkpoint(payload: _Dict) -> _Dict:
    payload = _checkpoint(payload)
    return {
        **payload,
        "checkpoint": _pointer(payload["config"]),
        "parent_checkpoint": _pointer(payload["parent_config"]),
        "tasks": [_with_pointer(task) for task in payload["tasks"]],
    }


def _public(config: _Dict | None) -> _Dict | None:
    if config is None:
        return None
    configurable = config["configurable"]
    return {
        "configurable": {key: configurable[key] for key in _CHECKPOINT_KEYS if key in configurable}
    }


def _pointer(config: _Dict | None) -> _Dict | None:
    return None if config is None else config["configurable"]


def _with_public_state(task: _Dict) -> _Dict:
    state = task.get("state")
    return {**task, "state": _public(state)} if isinstance(state, dict) else task


def _with_pointer(task: _Dict) -> _Dict:
    state = task.get("state")
    return {**task, "checkpoint": _pointer(state)} if isinstance(state, dict) else task
