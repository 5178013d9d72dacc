"""The mode ``lifecycle``: when a run and its subgraphs begin and how they end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import orjson

from loomline.server.domain.events import Event
from loomline.server.domain.runs import Outcome
from loomline.server.graphs.serde import encode
from loomline.server.worker.chunks import ROOT, Namespace

# Payloads are plain data of langgraph's own shapes, holding values of the user.
_Payload: TypeAlias = Any

MODE = "lifecycle"


class Lifecycle:
    """Tells the beginnings and ends of one run.

    A subgraph begins with the first that is heard of it, and ends with the task that called it.
    """

    def __init__(self, graph_name: str) -> None:
        self._graph_name = graph_name
        self._open: set[Namespace] = set()

    def began(self) -> Event:
        return _event(ROOT, {"event": "running", "graph_name": self._graph_name})

    def note(self, namespace: Namespace, mode: str, payload: _Payload) -> Sequence[Event]:
        """Return the events that come before those of a chunk."""
        depths = range(1, len(namespace) + 1)
        begun = [self._begin(namespace[:depth]) for depth in depths]
        events = [event for event in begun if event is not None]
        if mode == "tasks" and "triggers" not in payload:
            events += self._end(namespace, payload)
        return events

    def ended(self, outcome: Outcome) -> Event:
        """Return the last event of a run."""
        data: dict[str, Any] = {"event": _ending(outcome), "graph_name": self._graph_name}
        if data["event"] == "failed" and outcome.error is not None:
            data["error"] = _message(outcome.error)
        return _event(ROOT, data)

    def _begin(self, namespace: Namespace) -> Event | None:
        if namespace in self._open:
            return None
        self._open.add(namespace)
        name, _, task_id = namespace[-1].partition(":")
        data = {
            "event": "started",
            "namespace": list(namespace),
            "graph_name": name,
            "trigger_call_id": task_id,
        }
        return _event(namespace, data)

    def _end(self, namespace: Namespace, task: Mapping[str, _Payload]) -> list[Event]:
        child = (*namespace, f"{task['name']}:{task['id']}")
        if child not in self._open:
            return []
        self._open.discard(child)
        how = "failed" if task.get("error") else "interrupted" if task.get("interrupts") else None
        return [_event(child, {"event": how or "completed", "graph_name": task["name"]})]


def _ending(outcome: Outcome) -> str:
    if outcome.status in {"error", "timeout"}:
        return "failed"
    stopped = outcome.status == "interrupted" or outcome.thread_status == "interrupted"
    return "interrupted" if stopped else "completed"


def _message(error: bytes) -> str:
    message = orjson.loads(error)["message"]
    return str(message)


def _event(namespace: Namespace, data: Mapping[str, Any]) -> Event:
    return Event("|".join((MODE, *namespace)), encode(data), MODE)
