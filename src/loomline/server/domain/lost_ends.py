"""How a run has ended whose log does not tell, as after a crash: made up from what is stored."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from loomline.server.domain.json import JsonObject, dump, load_object
from loomline.server.domain.protocol import (
    ROOT,
    RUN_ENDS,
    Namespace,
    Numbered,
    Topic,
    ending,
    make_event,
    run_end,
)
from loomline.server.domain.runs import ENDED_NUMBERS, Run
from loomline.server.domain.threads import Thread

_ASKS = "input.requested"
_STOPPED = "interrupted"
_TELLING = ("lifecycle", _ASKS)


@dataclass(slots=True)
class Told:
    """What the log of a run tells about its end.

    ``asked``: the ids of what it asks. ``stopped``: the subgraphs that have stopped to ask.
    ``last``: the number of the last event.
    """

    ended: bool = False
    last: int = 0
    asked: set[str] = field(default_factory=set)
    stopped: list[Namespace] = field(default_factory=list)

    def note(self, events: Iterable[Numbered]) -> list[Numbered]:
        """Take in events; return the events for readers.

        A worker that goes on with the run of another one asks its questions again.
        """
        told = []
        for event in events:
            self.last = max(self.last, event.number)
            # Hardly any event is one of these.
            if not event.key.startswith(_TELLING) or self._is_new(event):
                told.append(event)
        return told

    def _is_new(self, event: Numbered) -> bool:
        if event.key.startswith(_ASKS):
            question = str(_payload(event).get("interrupt_id"))
            known = question in self.asked
            self.asked.add(question)
            return not known
        if event.key == RUN_ENDS:
            self.ended = True
        elif _payload(event).get("event") == _STOPPED:
            self.stopped.append(Topic.of(event.key).namespace)
        return True


def lost_end(run: Run, thread: Thread, told: Told, *, latest: bool) -> Sequence[Numbered]:
    """Return the events that the log of a run lacks: its questions, then its end.

    The events have the numbers, and so the identities, that the worker had for them. Whether a run
    that succeeded has stopped to ask is known of the latest run of a thread alone, so of an earlier
    one there are no events.

    Args:
        run: The run. It has begun, and its end has a number.
        thread: The thread of the run.
        told: The contents of the run's log.
        latest: Whether no later run of the thread has begun.
    """
    if run.last_number is None or (run.status == "success" and not latest):
        return []
    # With another run in the queue the thread is busy, and asks all the same.
    open_questions = thread.status == "busy" and load_object(thread.interrupts or b"{}")
    waits = run.status == "success" and bool(thread.status == "interrupted" or open_questions)
    asked = _not_told(thread, told) if waits else []
    status, error = run_end(run.status, run.error, waits=waits)
    found = [(Topic(_ASKS, namespace), data) for namespace, data in asked]
    found.append((Topic.of(RUN_ENDS), ending(status, run.graph_id, error)))
    first = run.last_number - len(asked)
    milliseconds = _milliseconds(run)
    return [
        make_event(str(run.run_id), first + place, topic, dump(data), milliseconds=milliseconds)
        for place, (topic, data) in enumerate(found)
    ]


def unbegun_end(run: Run) -> Sequence[Numbered]:
    """Return the events of a run that has ended without having begun, with its stored numbers."""
    if run.last_number is None:
        return []
    milliseconds = _milliseconds(run)
    told: list[tuple[Topic, JsonObject, str]] = [
        (Topic("lifecycle"), {"event": "running", "graph_name": run.graph_id}, "running"),
        (Topic.of(RUN_ENDS), ending("interrupted", run.graph_id, None), "end"),
    ]
    return [
        make_event(
            str(run.run_id),
            run.last_number - ENDED_NUMBERS + count,
            topic,
            dump(data),
            milliseconds=milliseconds,
            identity=identity,
        )
        for count, (topic, data, identity) in enumerate(told, 1)
    ]


def _milliseconds(run: Run) -> int:
    """Return when a run has ended, so that every reader shows the same time."""
    return int(run.updated_at.timestamp() * 1000)


def _not_told(thread: Thread, told: Told) -> list[tuple[Namespace, JsonObject]]:
    stored = load_object(thread.interrupts or b"{}")
    return [
        (_place(task, told), _question(each))
        for task, interrupts in stored.items()
        for each in (interrupts if isinstance(interrupts, list) else [])
        if isinstance(each, dict) and str(each.get("id")) not in told.asked
    ]


def _question(interrupt: JsonObject) -> JsonObject:
    value = interrupt.get("value")
    shown: JsonObject = {"interrupt_id": interrupt.get("id"), "payload": value, "value": value}
    if "response_schema" in interrupt:
        shown["response_schema"] = interrupt["response_schema"]
    return shown


def _place(task: str, told: Told) -> Namespace:
    """Return where a task of the root graph asks: in the innermost subgraph that has stopped."""
    inside = [each for each in told.stopped if each and each[0].partition(":")[2] == task]
    return max(inside, key=len, default=ROOT)


def _payload(event: Numbered) -> JsonObject:
    params = load_object(event.data)["params"]
    data = params.get("data") if isinstance(params, dict) else None
    return data if isinstance(data, dict) else {}
