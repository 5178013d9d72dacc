"""The last events of a run, for readers of the thread protocol that miss them in the log."""

from __future__ import annotations

from collections.abc import Sequence

from loomline.server.domain.json import Encoded, dump
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


def _event(run: Run, number: int, topic: Topic, data: object, identity: str = "") -> Numbered:
    # The time of the end, so that every reader shows the same time.
    milliseconds = int(run.updated_at.timestamp() * 1000)
    return make_event(
        str(run.run_id), number, topic, dump(data), milliseconds=milliseconds, identity=identity
    )
