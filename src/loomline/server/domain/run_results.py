"""The result of a run, from the rows of the run and its thread alone."""

from __future__ import annotations

from itertools import chain

from loomline.server.domain.json import EMPTY_OBJECT, Encoded, Json, JsonObject, dump, load_object
from loomline.server.domain.runs import Run
from loomline.server.domain.threads import Thread

INTERRUPT = "__interrupt__"


def failure(error: Encoded) -> Encoded:
    """Return the result of a run that has failed."""
    return Encoded(b'{"__error__":' + error + b"}")


def stored_result(run: Run, thread: Thread) -> Encoded:
    """Return the result of a run from its rows, if its log does not hold it.

    That is the output of the thread as it is now, with the questions that it still asks.
    """
    if run.error is not None and run.status in {"error", "timeout"}:
        return failure(run.error)
    values = run.output.of_encoded(thread.values or EMPTY_OBJECT)
    asked = open_questions(thread) if run.status == "success" else []
    return with_questions(values, asked) if asked else values


def open_questions(thread: Thread) -> list[Json]:
    """Return the open questions of a waiting thread; none while a run is active."""
    if thread.status != "interrupted":
        return []
    stored: JsonObject = load_object(thread.interrupts or EMPTY_OBJECT)
    return list(chain.from_iterable(each for each in stored.values() if isinstance(each, list)))


def with_questions(values: Encoded, asked: list[Json]) -> Encoded:
    """Return values with the questions beside them; they take the place of a single value."""
    known = load_object(values) if values.startswith(b"{") else {}
    return dump({**known, INTERRUPT: asked})
