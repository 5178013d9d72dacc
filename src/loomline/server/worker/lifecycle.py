"""The mode ``lifecycle``: the beginnings and the ends of the subgraphs of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import orjson

from loomline.server.domain.events import Event
from loomline.server.domain.runs import Outcome
from loomline.server.graphs.serde import encode
from loomline.server.worker.chunks import Namespace
from loomline.server.worker.failures import describe

# Payloads are plain data of langgraph's own shapes, holding values of the user.
_Payload: TypeAlias = Any
_Dict: TypeAlias = dict[str, Any]

MODE = "lifecycle"


class Lifecycle:
    """Makes the events of the subgraphs of one run.

    A subgraph begins with its first chunk, and ends with the task that called it. A tool call may
    have started it: the task of such a call has the call as its input.

    Args:
        show_all_errors: Whether clients are shown the messages of all errors.
    """

    def __init__(self, *, show_all_errors: bool) -> None:
        self._show_all = show_all_errors
        self._open: dict[Namespace, _Dict] = {}
        self._calls: dict[str, str] = {}

    def note(self, namespace: Namespace, mode: str, payload: _Payload) -> Sequence[Event]:
        """Return the events that come before those of a chunk."""
        depths = range(1, len(namespace) + 1)
        begun = [self._begin(namespace[:depth]) for depth in depths]
        events = [event for event in begun if event is not None]
        if mode != "tasks":
            return events
        if "triggers" in payload:
            self._note_call(payload)
            return events
        return events + self._end(namespace, payload)

    def ended(self, outcome: Outcome) -> Sequence[Event]:
        """Return the ends of the subgraphs that their tasks have not told, innermost first."""
        failed = outcome.status in {"error", "timeout"}
        data: _Dict = {"event": "failed" if failed else "interrupted"}
        if failed and outcome.error is not None:
            error = orjson.loads(outcome.error)
            data["error"] = {"error": error["error"], "message": error["message"]}
        return [self._close(each, data) for each in sorted(self._open, key=len, reverse=True)]

    def _note_call(self, task: Mapping[str, _Payload]) -> None:
        given = task.get("input")
        call = given.get("tool_call") if isinstance(given, Mapping) else given
        call = call[0] if isinstance(call, list) and call else call
        name = call.get("id") if isinstance(call, Mapping) else None
        if isinstance(name, str):
            self._calls[task["id"]] = name

    def _begin(self, namespace: Namespace) -> Event | None:
        if namespace in self._open:
            return None
        place: _Dict = {"namespace": list(namespace)}
        call = self._calls.get(namespace[-1].partition(":")[2])
        if call is not None:
            place["tool_call_id"] = call
        self._open[namespace] = place
        return _event(namespace, {"event": "started", **place})

    def _end(self, namespace: Namespace, task: Mapping[str, _Payload]) -> list[Event]:
        child = (*namespace, f"{task['name']}:{task['id']}")
        if child not in self._open:
            self._calls.pop(task["id"], None)
            return []
        how = "failed" if task.get("error") else "interrupted" if task.get("interrupts") else None
        data: _Dict = {"event": how or "completed"}
        if how == "failed":
            data["error"] = self._error(task["error"])
        return [self._close(child, data)]

    def _error(self, error: object) -> _Payload:
        if isinstance(error, BaseException):
            return orjson.loads(describe(error, show_all=self._show_all))
        return {"error": "Error", "message": str(error)}

    def _close(self, namespace: Namespace, data: Mapping[str, _Payload]) -> Event:
        place = self._open.pop(namespace)
        self._calls.pop(namespace[-1].partition(":")[2], None)
        return _event(namespace, {**data, **place})


def _event(namespace: Namespace, data: Mapping[str, _Payload]) -> Event:
    return Event("|".join((MODE, *namespace)), encode(data), MODE)
