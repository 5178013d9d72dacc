"""How a run ends: the outcome that is stored, and the events that close its log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from langgraph.errors import ParentCommand
from langgraph.types import Command

from loomline.server.domain.events import DONE, RESULT, STATUS, Event
from loomline.server.domain.json import EMPTY_OBJECT, Encoded
from loomline.server.domain.run_results import failure
from loomline.server.domain.runs import Outcome, Stop
from loomline.server.domain.threads import status_after
from loomline.server.graphs.serde import encode
from loomline.server.worker.failures import described, first_failure
from loomline.server.worker.results import Report


def succeeded(report: Report) -> Outcome:
    """Return the outcome of a run after its graph has returned, at its end or at a pause."""
    state = report.state
    return Outcome(
        "success",
        status_after("success", has_next=state is not None and state.has_next),
        values=report.thread_values(),
        interrupts=EMPTY_OBJECT if state is None else state.interrupts,
        output=report.output,
    )


def stopped(stop: Stop, report: Report) -> Outcome:
    """Return the outcome of a run that was told to stop."""
    if stop.action == "rollback":
        error = described("UserRollback", stop.reason)
        return Outcome("interrupted", "idle", error=error, roll_back=True)
    return Outcome(
        "interrupted",
        "interrupted",
        values=report.thread_values(),
        interrupts=_open_questions(report),
        error=described("UserInterrupt", stop.reason),
        output=report.output,
    )


def failed(error: Encoded, report: Report) -> Outcome:
    """Return the outcome of a run after its graph has raised an exception."""
    return Outcome(
        "error",
        "error",
        values=report.thread_values(),
        interrupts=_open_questions(report),
        error=error,
        output=report.output,
    )


def timed_out(report: Report) -> Outcome:
    """Return the outcome of a run that has taken longer than it may."""
    return Outcome(
        "timeout",
        "error",
        values=report.thread_values(),
        interrupts=_open_questions(report),
        error=described("TimeoutError", ""),
        output=report.output,
    )


def _open_questions(report: Report) -> Encoded:
    return EMPTY_OBJECT if report.state is None else report.state.interrupts


def last_event(outcome: Outcome, report: Report) -> Event:
    """Return the last event of a run's log: its result, or that it has none of its own."""
    if outcome.status in {"error", "timeout"} and outcome.error is not None:
        return failure_result(outcome.error)
    if outcome.status == "success":
        return Event(RESULT, report.result(outcome.values))
    return Event(DONE, EMPTY_OBJECT)


def status_event(outcome: Outcome) -> Event:
    """Return the event that tells the status of a run, right before the last event of its log."""
    return Event(STATUS, encode("rollback" if outcome.roll_back else outcome.status))


def shown_events(outcome: Outcome) -> Sequence[Event]:
    """Return the events that tell clients how a run has ended; a success needs none."""
    if outcome.status in {"error", "timeout"} and outcome.error is not None:
        return [Event("error", outcome.error)]
    return []


def command_for_parent(error: BaseException) -> Event | None:
    """Return the event of a command for the parent graph, which ends a run as an exception does.

    The parent graph is where the run was started from; langgraph's ``RemoteGraph`` executes it.
    langgraph replaces the name of the parent by its namespace, which is empty for a run's own.
    """
    cause = first_failure(error)
    if not isinstance(cause, ParentCommand):
        return None
    command = cause.args[0]
    if command.graph and command.graph != Command.PARENT:
        return None
    return Event("command", encode(replace(command, graph=Command.PARENT)))


def failure_result(error: Encoded) -> Event:
    """Return the result of a run that has failed."""
    return Event(RESULT, failure(error))


def failure_events(error: Encoded) -> list[Event]:
    """Return the events that close the log of a run that has failed."""
    return [Event("error", error), failure_result(error)]
