"""The last events of a run, for readers of the thread protocol that miss them in the log."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from loomline.server.domain.json import Encoded, dump, load_object
from loomline.server.domain.protocol import (
    RUN_ENDS,
    Numbered,
    Topic,
    ending,
    load_events,
    make_event,
    run_end,
)
from loomline.server.domain.runs import Run

_ASKS = "input.requested"


@dataclass(slots=True)
class Told:
    """The events of a run that its readers know, from the run's log and from its row.

    Attributes:
        last: The number of the last event. A worker that has lost the run adds lower numbers.
        ended: Whether the end of the run is among the events.
        asked: The ids of the questions.
    """

    last: int = 0
    ended: bool = False
    asked: set[str] = field(default_factory=set)

    def new(self, events: Iterable[Numbered]) -> list[Numbered]:
        """Return the next events without the questions that are known.

        A worker that goes on with the run of another worker asks the same questions again.
        """
        return [event for event in events if self._is_new(event)]

    def _is_new(self, event: Numbered) -> bool:
        if event.number <= self.last:
            return False
        self.last = event.number
        if event.key == RUN_ENDS:
            self.ended = True
        if not event.key.startswith(_ASKS):
            return True
        question = _interrupt_id(event)
        known = question in self.asked
        self.asked.add(question)
        return not known


def last_events(run: Run, stored: Encoded | None) -> Sequence[Numbered]:
    """Return the last events of a run that has ended.

    The worker that ends a run stores them, with the numbers that it logs them under. A run that
    ends without a worker asks nothing, so its row says everything.

    Args:
        run: The run.
        stored: The events that its worker has stored.
    """
    if stored is not None:
        return load_events(stored)
    # Only workers end runs as successful, and early versions stored no events.
    if run.last_number is None or run.status == "success":
        return []
    status, error = run_end(run.status, run.error, waits=False)
    number = run.last_number
    if run.attempt > 0:
        return [_event(run, number, Topic.of(RUN_ENDS), ending(status, run.graph_id, error))]
    begun = {"event": "running", "graph_name": run.graph_id}
    return [
        _event(run, number - 1, Topic("lifecycle"), begun, "running"),
        _event(run, number, Topic.of(RUN_ENDS), ending(status, run.graph_id, error), "end"),
    ]


def _interrupt_id(event: Numbered) -> str:
    params = load_object(event.data)["params"]
    data = params.get("data") if isinstance(params, dict) else None
    return str(data.get("interrupt_id") if isinstance(data, dict) else None)


def _event(run: Run, number: int, topic: Topic, data: object, identity: str = "") -> Numbered:
    # The time of the end, so that every reader shows the same time.
    milliseconds = int(run.updated_at.timestamp() * 1000)
    return make_event(
        str(run.run_id), number, topic, dump(data), milliseconds=milliseconds, identity=identity
    )
