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

    def note(self, events: Iterable[Numbered]) -> None:
        for event in events:
            self.last = max(self.last, event.number)
            if event.key.startswith(_TELLING):  # hardly any does
                self._note(event)

    def _note(self, event: Numbered) -> None:
        if event.key == RUN_ENDS:
            self.ended = True
        elif event.key.startswith(_ASKS):
            self.asked.add(str(_payload(event).get("interrupt_id")))
        elif _payload(event).get("event") == _STOPPED:
            self.stopped.append(Topic.of(event.key).namespace)


def lost_end(
    run: Run, thread: Thread, number: int, told: Told, newer: Sequence[Run], *, milliseconds: int
) -> Sequence[Numbered]:
    """Return what the log of a run lacks: what it asks, then how it ended.

    The events have the numbers, and so the identities, that the worker had for them.

    Args:
        run: The run, which is over and the last one of its thread that has begun.
        thread: Its thread.
        number: The number of the thread's last event.
        told: What the log does tell.
        newer: The runs that came after it, none of which has begun.
        milliseconds: The time to show, since 1970.
    """
    # With another run in the queue the thread is busy, and asks all the same.
    open_questions = thread.status == "busy" and load_object(thread.interrupts or b"{}")
    waits = run.status == "success" and bool(thread.status == "interrupted" or open_questions)
    asked = _not_told(thread, told) if waits else []
    status, error = run_end(run.status, run.error, waits=waits)
    found = [(Topic(_ASKS, namespace), data) for namespace, data in asked]
    found.append((Topic.of(RUN_ENDS), ending(status, run.graph_id, error)))
    first = _last_number(number, told.last + len(found), newer) - len(asked)
    return [
        make_event(str(run.run_id), first + place, topic, dump(data), milliseconds=milliseconds)
        for place, (topic, data) in enumerate(found)
    ]


def _last_number(number: int, least: int, newer: Sequence[Run]) -> int:
    """Return the number of a run's end.

    Those of the runs that were cancelled meanwhile come after it. What was cancelled before it
    began has had its numbers before; the log of the run has come further then.
    """
    ended = sum(not each.active for each in newer)
    lasts = (number - ENDED_NUMBERS * count for count in range(ended, -1, -1))
    return next((last for last in lasts if last >= least), number)


def unbegun_end(run: Run, number: int, runs: Sequence[Run]) -> Sequence[Numbered]:
    """Return the events of a run that has ended without having begun.

    Its numbers were set aside when it ended. Those of the run that executed at that time come
    before them, whatever has begun since comes after. Once a later run has ended as well it is
    not known any more which ones they were, and the end is old news.

    Args:
        run: The run.
        number: The number of the thread's last event, read before the runs.
        runs: The runs of the thread, newest first.
    """
    place = next((place for place, each in enumerate(runs) if each.run_id == run.run_id), None)
    if place is None:
        return []
    newer, older = runs[:place], runs[place + 1 :]
    passed = any(each.attempt and not each.active for each in newer)
    if passed or any(each.status == "running" for each in older):
        return []
    last = number - ENDED_NUMBERS * sum(not each.active for each in newer)
    milliseconds = int(run.updated_at.timestamp() * 1000)
    told: list[tuple[Topic, JsonObject, str]] = [
        (Topic("lifecycle"), {"event": "running", "graph_name": run.graph_id}, "running"),
        (Topic.of(RUN_ENDS), ending("interrupted", run.graph_id, None), "end"),
    ]
    return [
        make_event(
            str(run.run_id),
            last - ENDED_NUMBERS + count,
            topic,
            dump(data),
            milliseconds=milliseconds,
            identity=identity,
        )
        for count, (topic, data, identity) in enumerate(told, 1)
    ]


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
