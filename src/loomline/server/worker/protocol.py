"""From what langgraph reports to the events of the thread protocol, encoded once, here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from langgraph.stream import ProtocolEvent
from langgraph.types import Interrupt

from loomline.schema import StreamMode
from loomline.server.domain.events import Event
from loomline.server.domain.json import Encoded, JsonObject
from loomline.server.domain.messages import normalised
from loomline.server.domain.protocol import (
    ANSWERED,
    END,
    ROOT,
    Namespace,
    Numbered,
    Topic,
    dump_events,
    ending,
    logged,
    make_event,
)
from loomline.server.graphs.serde import encode
from loomline.server.graphs.states import response_schema
from loomline.server.worker.native import TASKS

# Payloads are plain data of langgraph's own shapes, holding values of the user.
_Dict: TypeAlias = dict[str, Any]

PLAIN_MODES: frozenset[StreamMode] = frozenset({"values", "updates", "custom"})
"""The modes in which the run is also reported to those who follow it without this protocol."""

_RUNNING = frozenset({"started", "running"})


class ProtocolEncoder:
    """The events of one execution of a run.

    A question is told with the values of the root graph that have it: by then the state that
    clients will ask for has been stored.

    Args:
        run_id: The run.
        graph_name: The name of the root graph.
        number: The number of the thread's last event so far.
        ask_at_end: Whether the questions are stored at the end of the run, and told there.
    """

    def __init__(
        self, run_id: str, graph_name: str, number: int, *, ask_at_end: bool = False
    ) -> None:
        self._run_id = run_id
        self._graph_name = graph_name
        self._number = number
        self._milliseconds = 0
        self._ask_at_end = ask_at_end
        self._held: tuple[Namespace, ProtocolEvent] | None = None
        self._told: set[str] = set()
        self._questions: list[Numbered] = []
        self._end: Numbered | None = None
        self._asked: dict[str, tuple[Namespace, Interrupt[Any]]] = {}
        self._messages: dict[str, str] = {}
        self._graphs: dict[Namespace, str] = {}
        self._special: dict[str, Callable[[Namespace, Any], list[Event]]] = {
            "messages": self._message,
            "lifecycle": self._lifecycle,
            "checkpoints": self._checkpoint,
            "updates": self._updates,
            "tools": self._tools,
            "custom": self._custom,
            TASKS: self._task,
        }

    @property
    def last_number(self) -> int:
        """The number of the last event so far."""
        return self._number

    def stored(self) -> Encoded | None:
        """Return the questions and the end of the run, encoded, once the run has ended."""
        return None if self._end is None else dump_events([*self._questions, self._end])

    def begin(self, milliseconds: int, answered_ids: Sequence[str] = ()) -> list[Event]:
        """Return the first events of a run that answers the questions with these ids."""
        self._milliseconds = milliseconds
        data = encode({"event": "running", "graph_name": self._graph_name})
        begun = [self._event(Topic("lifecycle"), data)]
        if answered_ids:
            begun.append(self._event(ANSWERED, encode({"interrupt_ids": answered_ids})))
        return begun

    def events(self, event: ProtocolEvent) -> list[Event]:
        """Return the events for what langgraph reports; none for what nobody can see."""
        method, params = event["method"], event["params"]
        namespace = tuple(params["namespace"])
        self._milliseconds = params["timestamp"]
        if method == "values":
            return self._hold(namespace, event)
        before = self._release(method, namespace)
        if method.startswith("custom:"):
            name = method.removeprefix("custom:")
            return before + self._named(namespace, name, params["data"])
        special = self._special.get(method)
        now = [] if special is None else special(namespace, params["data"])
        return before + now + self._rest()

    def end(self, status: str, error: JsonObject | None, milliseconds: int) -> list[Event]:
        """Return the events that end the run: what it asks for, then how it ended."""
        ended = self._rest()
        self._milliseconds = milliseconds
        ended += self._ask(self._asked.keys())
        data = encode(ending(status, self._graph_name, error))
        self._end = self._numbered(Topic("lifecycle", name=END), data)
        return [*ended, logged(self._end)]

    def rest(self) -> list[Event]:
        """Return what has been held back, because nothing more comes."""
        return self._rest()

    def _event(self, topic: Topic, data: Encoded, node: str = "") -> Event:
        return logged(self._numbered(topic, data, node))

    def _numbered(self, topic: Topic, data: Encoded, node: str = "") -> Numbered:
        self._number += 1
        return make_event(
            self._run_id, self._number, topic, data, milliseconds=self._milliseconds, node=node
        )

    # A checkpoint belongs before the values it holds; langgraph reports it right after them.

    def _hold(self, namespace: Namespace, event: ProtocolEvent) -> list[Event]:
        before = self._rest()
        self._held = (namespace, event)
        asked = event["params"].get("interrupts", ())
        if not asked:
            return before
        self._note(namespace, asked)
        before += self._rest()
        if namespace == ROOT and not self._ask_at_end:
            before += self._ask({each.id for each in asked} & self._asked.keys())
        return before

    def _ask(self, ids: Iterable[str]) -> list[Event]:
        self._told.update(ids)
        return [self._question(*self._asked.pop(each)) for each in list(self._asked) if each in ids]

    def _question(self, namespace: Namespace, interrupt: Interrupt[Any]) -> Event:
        value = interrupt.value
        asked = {"interrupt_id": interrupt.id, "payload": value, "value": value}
        if (schema := response_schema(interrupt)) is not None:
            asked["response_schema"] = schema
        made = self._numbered(Topic("input.requested", namespace), encode(asked))
        self._questions.append(made)
        return logged(made)

    def _release(self, method: str, namespace: Namespace) -> list[Event]:
        if self._held is not None and method == "checkpoints" and self._held[0] == namespace:
            return []
        return self._rest()

    def _rest(self) -> list[Event]:
        held, self._held = self._held, None
        if held is None:
            return []
        namespace, event = held
        data = normalised(encode(event["params"]["data"]))
        return [self._event(Topic("values", namespace), data)]

    def _note(self, namespace: Namespace, interrupts: Iterable[Interrupt[Any]]) -> None:
        for interrupt in interrupts:
            if interrupt.id not in self._told:
                self._asked.setdefault(interrupt.id, (namespace, interrupt))

    def _message(self, namespace: Namespace, payload: tuple[Any, _Dict]) -> list[Event]:
        event, metadata = payload
        if not isinstance(event, dict) or "event" not in event:
            return []  # a message that was not streamed: it is in the values
        run = str(metadata.get("run_id", ""))
        if event["event"] == "message-start":
            self._messages[run] = str(event.get("id") or f"lc_run--{run}")
        # Of models that answer at the same time, every event tells which message it belongs to: by
        # the id for the Python clients, by the run of the model for the JavaScript ones.
        data = encode({**event, "id": self._messages.get(run), "run_id": run})
        if event["event"] == "message-finish":
            self._messages.pop(run, None)
        node = metadata.get("langgraph_node")
        return [self._event(Topic("messages", namespace), data, str(node) if node else "")]

    def _lifecycle(self, _: Namespace, payload: _Dict) -> list[Event]:
        namespace = tuple(payload["namespace"])
        name = payload.get("graph_name")
        if payload["event"] in _RUNNING:
            self._graphs[namespace] = str(name or "")
            data = dict(payload)
        else:
            data = {"event": payload["event"], "graph_name": self._graphs.pop(namespace, name)}
            if payload.get("error"):
                data["error"] = payload["error"]
        return [self._event(Topic("lifecycle", namespace), encode(data))]

    def _checkpoint(self, namespace: Namespace, payload: _Dict) -> list[Event]:
        parent = payload["parent_config"]
        metadata = payload["metadata"] or {}
        data = {"id": _checkpoint_id(payload["config"])}
        if parent is not None and "checkpoint_id" in parent["configurable"]:
            data["parent_id"] = _checkpoint_id(parent)
        data |= {"step": metadata.get("step"), "source": metadata.get("source")}
        return [self._event(Topic("checkpoints", namespace), encode(data))]

    def _updates(self, namespace: Namespace, payload: _Dict) -> list[Event]:
        shown = {key: value for key, value in payload.items() if key != "__interrupt__"}
        return [self._event(Topic("updates", namespace), normalised(encode(shown)))]

    def _tools(self, namespace: Namespace, payload: _Dict) -> list[Event]:
        events = [self._event(Topic("tools", namespace), encode(payload))]
        if payload["event"] == "tool-finished":
            events += self._tool_message(payload["tool_call_id"], payload["output"])
        return events

    def _tool_message(self, call: str, output: object) -> list[Event]:
        """Return a tool's result as a message, which is where chat interfaces look for it."""
        shown = getattr(output, "content", output)
        text = shown if isinstance(shown, str) else encode(shown).decode()
        topic = Topic("messages", (f"tools:{call}",))
        block = {"type": "text", "text": text}
        parts: Sequence[_Dict] = (
            {"event": "message-start", "role": "tool", "tool_call_id": call},
            {"event": "content-block-start", "index": 0, "content": {"type": "text", "text": ""}},
            {"event": "content-block-delta", "index": 0, "content": block},
            {"event": "content-block-finish", "index": 0, "content": block},
            {"event": "message-finish", "metadata": {}},
        )
        return [self._event(topic, encode({**part, "id": f"tool-{call}"})) for part in parts]

    def _custom(self, namespace: Namespace, payload: object) -> list[Event]:
        name = payload.get("name") if isinstance(payload, dict) else None
        topic = Topic("custom", namespace, _text(name) if isinstance(name, str) else "")
        return [self._event(topic, encode(payload))]

    def _named(self, namespace: Namespace, name: str, payload: object) -> list[Event]:
        name = _text(name)
        data = encode({"name": name, "payload": payload})
        return [self._event(Topic("custom", namespace, name), data)]

    def _task(self, _: Namespace, item: tuple[Namespace, _Dict]) -> list[Event]:
        namespace, payload = item
        return [self._event(Topic("tasks", namespace), encode(payload))]


def _text(name: str) -> str:
    """Return a name as clients are shown it: without NUL, and without halves of characters."""
    if not name.isascii():
        name = name.encode("utf-8", "replace").decode()
    return name.replace("\0", "\N{REPLACEMENT CHARACTER}")


def as_chunk(event: ProtocolEvent) -> tuple[Namespace, str, object]:
    """Return an event as langgraph reports it without the protocol."""
    params = event["params"]
    payload, interrupts = params["data"], params.get("interrupts")
    if interrupts and isinstance(payload, Mapping):
        payload = {**payload, "__interrupt__": interrupts}
    return tuple(params["namespace"]), event["method"], payload


def _checkpoint_id(config: _Dict) -> object:
    return config["configurable"].get("checkpoint_id")
