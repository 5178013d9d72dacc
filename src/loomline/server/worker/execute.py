"""Executes one claimed run, from its first event to its outcome."""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import time
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeAlias

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.errors import GraphDrained
from langgraph.runtime import RunControl
from langgraph.stream import ProtocolEvent
from langgraph.types import Command

from loomline.server.authz.acting import acting_for
from loomline.server.authz.users import Caller
from loomline.server.domain.errors import EncryptionFailed, LeaseLost, StorageUnavailable
from loomline.server.domain.events import NUMBERS, Event
from loomline.server.domain.json import EMPTY_OBJECT, Encoded
from loomline.server.domain.protocol import PLAIN_END, PLAIN_STEP, answered, run_end
from loomline.server.domain.retention import Retention
from loomline.server.domain.runs import Claim, Outcome, Stop, pause_after
from loomline.server.domain.threads import question_ids
from loomline.server.graphs.registry import Graphs
from loomline.server.graphs.runtimes import Purpose
from loomline.server.graphs.serde import encode
from loomline.server.graphs.states import Summary, summary
from loomline.server.ports.clock import Clock
from loomline.server.ports.events import EventLog
from loomline.server.ports.measures import NO_MEASURES, Measures
from loomline.server.ports.signals import THREAD, WEBHOOK, WORK, Signals
from loomline.server.ports.storage import Storage
from loomline.server.worker.chunks import ChunkEncoder
from loomline.server.worker.endings import (
    command_for_parent,
    failed,
    last_event,
    shown_events,
    status_event,
    stopped,
    succeeded,
    timed_out,
)
from loomline.server.worker.failures import describe, first_failure
from loomline.server.worker.lifecycle import MODE as LIFECYCLE, Lifecycle
from loomline.server.worker.native import native_events
from loomline.server.worker.plain_view import PlainView
from loomline.server.worker.plan import Plan, ServerFacts, continued, make_plan, thread_config
from loomline.server.worker.protocol import PLAIN_MODES, ProtocolEncoder, as_chunk
from loomline.server.worker.questions import Questions
from loomline.server.worker.results import Report
from loomline.server.worker.stream import Chunk, Graph, chunks

logger: logging.Logger = logging.getLogger("loomline.worker")

Saver: TypeAlias = BaseCheckpointSaver[str]

# What ends an execution without ending the run.
_NOT_THE_END = (LeaseLost, StorageUnavailable, GraphDrained)


@dataclass(frozen=True, slots=True)
class ExecuteOptions:
    """``state_seconds`` is the most that reading the state of a failed run may take."""

    facts: ServerFacts
    show_all_errors: bool
    timeout_seconds: float
    retention: Retention
    retry_seconds: float = 2.0
    state_seconds: float = 10.0


class Release:
    """The worker shuts down: somebody else shall go on with the run."""


class Lost:
    """The run belongs to another worker: nothing may be written for it any more."""


Order: TypeAlias = Stop | Release | Lost


@dataclass(slots=True)
class _Progress:
    """How far a run has come.

    ``number`` is that of its last event, where it has no events of the thread protocol.
    """

    report: Report = field(default_factory=Report)
    lifecycle: Lifecycle | None = None
    protocol: ProtocolEncoder | None = None
    questions: Questions | None = None
    view: ChunkEncoder | PlainView | None = None
    command: Event | None = None
    number: int = 0

    def rest(self) -> list[Event]:
        """Return the events that were held back until the end of the run."""
        if self.questions is None or self.view is None:
            return []
        rest = self.questions.rest(self.report)
        events = [event for chunk in rest for event in self.view.events(*chunk)]
        self.number += PLAIN_STEP * len(events)
        return events


@dataclass(eq=False, slots=True)
class Assignment:
    """A claim on its way, and the order to stop it if there is one. The first order counts.

    ``finishing``: the outcome is settled; the rest must not be cancelled any more. ``deadline``:
    when the run times out, on the monotonic clock, once it has begun. ``control`` asks the graph to
    stop before its next step, from any thread. ``result`` is a status, "handed over" or "lost",
    once it is over. ``held_until``: when, by the clock of the worker's loop, the lease may have run
    out. ``over`` is set, on the runner's loop, when the execution has ended and none of its nodes
    runs any more.
    """

    claim: Claim
    order: Order | None = None
    finishing: bool = False
    deadline: float | None = None
    progress: _Progress = field(default_factory=_Progress)
    control: RunControl = field(default_factory=RunControl)
    result: str = "lost"
    held_until: float = 0.0
    over: asyncio.Event = field(default_factory=asyncio.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _settled: bool = False

    @property
    def stream(self) -> str:
        return str(self.claim.run.run_id)

    def hand_over(self) -> None:
        """Let the run stop where it loses nothing: before its next step."""
        self.control.request_drain()

    def settle(self) -> bool:
        """Take the right to record the outcome; return False if somebody else has it."""
        with self._lock:
            first, self._settled, self.finishing = not self._settled, True, True
            return first

    def overdue(self, now: float, grace_seconds: float) -> bool:
        """Return whether a run should have been stopped by its timeout so long ago."""
        late = self.deadline is not None and now > self.deadline + grace_seconds
        return late and not self.finishing


class Executor:
    """Executes claims. One object serves all runs; the state of each is in its assignment."""

    def __init__(
        self,
        *,
        storage: Storage,
        events: EventLog,
        signals: Signals,
        graphs: Graphs,
        clock: Clock,
        options: ExecuteOptions,
        measures: Measures = NO_MEASURES,
    ) -> None:
        self._storage = storage
        self._events = events
        self._signals = signals
        self._graphs = graphs
        self._clock = clock
        self._options = options
        self._measures = measures

    async def execute(self, assignment: Assignment) -> None:
        """Execute a run to its end and record it, whatever happens on the way."""
        run = assignment.claim.run
        facts = {"run_id": str(run.run_id), "thread_id": str(run.thread_id)}
        with self._measures.span("run", run.graph_id, attempt=run.attempt, **facts) as span:
            await self._execute(assignment)
            span.note(result=assignment.result)

    async def _execute(self, assignment: Assignment) -> None:
        claim = assignment.claim
        began = time.perf_counter()
        outcome = await self._attempt(assignment)
        if not assignment.settle():
            return
        if outcome is None:
            # One that is lost is refused; either way the storage forgets about the claim.
            await self._release_when_possible(assignment)
        else:
            await self._record(assignment, outcome)
        _log_end(claim, assignment.result, time.perf_counter() - began)

    async def give_back(self, assignment: Assignment) -> None:
        """Put a run back into the queue before its execution begins."""
        if assignment.settle():
            await self._release_when_possible(assignment)

    async def expire(self, assignment: Assignment) -> None:
        """End a run whose time is over although it does not let itself be stopped.

        What it is at goes on until it returns, but nothing it does counts any more.
        """
        if not assignment.settle():
            return
        claim = assignment.claim
        logger.error("a run that blocks has timed out", extra={"run_id": str(claim.run.run_id)})
        report = assignment.progress.report
        if not report.tells_state:
            report.state = await self._stored_state(claim, report)
        outcome = await asyncio.to_thread(timed_out, report)
        await self._record(assignment, outcome)
        _log_end(claim, assignment.result, 0.0)

    async def _stored_state(self, claim: Claim, report: Report) -> Summary | None:
        """Return the state without its graph, which belongs to a loop that is blocked."""
        try:
            async with asyncio.timeout(self._options.state_seconds):
                found = await self._storage.newest_checkpoint(claim.run.thread_id)
        except Exception:  # the run has timed out all the same
            logger.warning("the state of a run cannot be read", exc_info=True)
            return None
        if found is None:
            return None
        stored = found.checkpoint["channel_values"]
        values = {name: stored[name] for name in report.channels if name in stored}
        return Summary(True, await asyncio.to_thread(encode, values), EMPTY_OBJECT)

    async def _attempt(self, assignment: Assignment) -> Outcome | None:
        """Run the graph; return the outcome, or None when the run is not to end here."""
        progress = assignment.progress
        try:
            if assignment.order is None:
                return await self._run(assignment)
        except asyncio.CancelledError as error:
            if assignment.order is None:
                # Not our doing: the graph cancelled itself.
                return self._failure(assignment.claim, error, progress)
        except LeaseLost:
            assignment.order = Lost()
        except StorageUnavailable:
            # What was not stored has not happened: the run goes on from its last checkpoint.
            assignment.order = Release()
        except GraphDrained as error:
            if not assignment.control.drain_requested:
                return self._failure(assignment.claim, error, progress)
            assignment.order = assignment.order or Release()
        except BaseException as error:  # noqa: BLE001 - a node may raise anything, even SystemExit
            return self._failure(assignment.claim, error, progress)
        finally:
            assignment.finishing = True
        order = assignment.order
        return stopped(order, progress.report) if isinstance(order, Stop) else None

    async def _run(self, assignment: Assignment) -> Outcome:
        claim, progress = assignment.claim, assignment.progress
        run = claim.run
        plan = make_plan(claim, self._options.facts)
        await self._append(claim, self._opening(claim, plan, progress))
        await self._signals.publish(THREAD, str(run.thread_id))
        caller = Caller.load(run.user)
        purpose = Purpose("threads.create_run", caller.user, plan.context)
        saver = self._storage.run_checkpointer(claim, wait=plan.durability == "sync")
        if claim.number > 1 and await _has_progress(saver, claim):
            plan = continued(plan)
        seconds = min(self._options.timeout_seconds, plan.timeout_seconds or math.inf)
        assignment.deadline = time.monotonic() + seconds
        timeout = asyncio.timeout(seconds)
        try:
            with acting_for(caller):
                async with (
                    timeout,
                    self._graphs.open(
                        run.graph_id,
                        plan.config,
                        purpose,
                        checkpointer=saver,
                        store=self._storage.store,
                    ) as graph,
                ):
                    await self._on_graph(graph, plan, assignment, timeout)
                    return succeeded(progress.report)
        except TimeoutError as error:
            if not timeout.expired():
                return self._failure(claim, error, progress)
            return timed_out(progress.report)

    async def _on_graph(
        self, graph: Graph, plan: Plan, assignment: Assignment, timeout: asyncio.Timeout
    ) -> None:
        """Execute the graph, and read the state that it leaves behind where that is needed."""
        report = assignment.progress.report
        report.begin(graph, of_state=plan.protocol)
        try:
            await self._stream(graph, plan, assignment)
        except BaseException as error:
            if not timeout.expired():
                timeout.reschedule(None)
            await self._keep_state(graph, assignment, error)
            raise
        if not report.tells_state:
            report.state = await _newest(graph, assignment.claim)

    def _opening(self, claim: Claim, plan: Plan, progress: _Progress) -> list[Event]:
        run = claim.run
        metadata = encode({"run_id": str(run.run_id), "attempt": run.attempt})
        events = [Event("metadata", metadata), Event(NUMBERS, encode(claim.event_number))]
        progress.number = claim.event_number + PLAIN_END
        if plan.protocol:
            encoder = ProtocolEncoder(
                str(run.run_id),
                run.graph_id,
                claim.event_number,
                ask_at_end=plan.durability == "exit",
            )
            progress.protocol = encoder
            events += encoder.begin(self._milliseconds(), _answered(plan))
        return events

    async def _stream(self, graph: Graph, plan: Plan, assignment: Assignment) -> None:
        claim, progress = assignment.claim, assignment.progress
        progress.questions = Questions(
            partial(_newest, graph, claim),
            partial(self._ask, claim),
            at_end=plan.durability == "exit",
        )
        if progress.protocol is not None:
            await self._stream_protocol(graph, plan, assignment, progress.protocol)
            return
        progress.view = encoder = ChunkEncoder(plan.modes)
        if LIFECYCLE in plan.modes:
            progress.lifecycle = Lifecycle(show_all_errors=self._options.show_all_errors)
        if claim.run.resumable:  # readers may want to begin after a checkpoint
            plan = replace(plan, modes=plan.modes | {"checkpoints"})
        source = chunks(graph, plan, assignment.control)
        async with aclosing(source):
            async for chunk in source:
                _check_held(assignment)
                progress.report.note(*chunk)
                for told in await progress.questions.told(chunk):
                    await self._tell(claim, progress, encoder, told)

    async def _tell(
        self, claim: Claim, progress: _Progress, encoder: ChunkEncoder, chunk: Chunk
    ) -> None:
        events = encoder.events(*chunk)
        if progress.lifecycle is not None:
            events = [*progress.lifecycle.note(*chunk), *events]
        if events:
            progress.number += PLAIN_STEP * len(events)
            await self._append(claim, events)

    async def _stream_protocol(
        self, graph: Graph, plan: Plan, assignment: Assignment, encoder: ProtocolEncoder
    ) -> None:
        claim, progress = assignment.claim, assignment.progress
        progress.view = PlainView(progress.report)
        async with aclosing(native_events(graph, plan, assignment.control)) as source:
            async for event in source:
                _check_held(assignment)
                plain = await _plain_events(event, progress)
                events = [*encoder.events(event), *plain]
                if events:
                    await self._append(claim, events)

    async def _append(self, claim: Claim, events: Sequence[Event]) -> None:
        await self._events.append(str(claim.run.run_id), events, claim.number)

    async def _ask(self, claim: Claim, interrupts: Encoded) -> None:
        await self._storage.runs.ask(claim, interrupts, question_ids(interrupts))

    async def _keep_state(self, graph: Graph, assignment: Assignment, error: BaseException) -> None:
        """Read the state that a run leaves behind which does not end well, if it ends here."""
        order = assignment.order
        if isinstance(error, _NOT_THE_END) or isinstance(order, Release | Lost):
            return
        if isinstance(order, Stop) and order.action == "rollback":
            return
        assignment.finishing = True
        try:
            async with asyncio.timeout(self._options.state_seconds):
                assignment.progress.report.state = await _newest(graph, assignment.claim)
        except Exception:  # the run's own failure is what matters
            logger.warning("the state of a run cannot be read", exc_info=True)

    def _failure(self, claim: Claim, error: BaseException, progress: _Progress) -> Outcome:
        logger.error(
            "run failed",
            extra={
                "run_id": str(claim.run.run_id),
                "thread_id": str(claim.run.thread_id),
                "graph_id": claim.run.graph_id,
            },
            exc_info=first_failure(error),
        )
        progress.command = command_for_parent(error)
        shown = describe(error, show_all=self._options.show_all_errors)
        return failed(shown, progress.report)

    async def _record(self, assignment: Assignment, outcome: Outcome) -> None:
        """Store the outcome, then tell how the run has ended and close the log.

        Clients look up the status and the state as soon as they read that a run has ended.
        """
        claim, stream = assignment.claim, assignment.stream
        before, after = _closing(outcome, assignment)
        await self._append(claim, before)
        told = await self._events.flush(stream)
        last = self._protocol_end(outcome, assignment.progress)
        asked = question_ids(outcome.interrupts)
        outcome = replace(_numbered(outcome, assignment.progress), untold=not told, asked=asked)
        try:
            finished = await self._storage.runs.finish(claim, outcome)
        except LeaseLost:
            logger.warning("a run was taken over", extra={"run_id": stream})
            return
        except StorageUnavailable:
            logger.exception("the end of a run cannot be stored", extra={"run_id": stream})
            await self._release_when_possible(assignment)
            return
        except EncryptionFailed as failure:
            logger.warning("the end of a run waits: %s", failure, extra={"run_id": stream})
            await self._release_when_possible(assignment, pause_after(claim))
            return
        assignment.result = outcome.status
        await self._append(claim, [*last, *after])
        keep = self._options.retention.seconds(resumable=claim.run.resumable)
        await self._events.close(stream, keep)
        if claim.run.webhook is not None:
            await self._signals.publish(WEBHOOK)
        if finished.waiting:
            await self._signals.publish(WORK)

    def _protocol_end(self, outcome: Outcome, progress: _Progress) -> list[Event]:
        """Return the questions that are not told yet, and the end of the run."""
        if progress.protocol is None:
            return []
        waits = outcome.thread_status == "interrupted"
        end, error = run_end(outcome.status, outcome.error, waits=waits)
        return progress.protocol.end(end, error, self._milliseconds())

    def _milliseconds(self) -> int:
        return int(self._clock.now().timestamp() * 1000)

    async def _release_when_possible(
        self, assignment: Assignment, pause_seconds: float = 0.0
    ) -> None:
        """Put the run back into the queue, however long the database takes to come back."""
        while True:
            try:
                await self._storage.runs.release(assignment.claim, pause_seconds=pause_seconds)
            except LeaseLost:
                return
            except StorageUnavailable:
                await self._clock.sleep(self._options.retry_seconds)
            else:
                assignment.result = "handed over"
                await self._signals.publish(WORK)
                return


async def _has_progress(saver: Saver, claim: Claim) -> bool:
    """Return whether an earlier attempt of this run has left a checkpoint to go on from.

    With durability "exit" langgraph stores an empty checkpoint ahead of the writes of delta
    channels. An attempt that ended before the final checkpoint leaves it without any progress.
    """
    found = await saver.aget_tuple(thread_config(claim))
    if found is None or not found.checkpoint["channel_versions"]:
        return False
    return found.metadata.get("run_id") == str(claim.run.run_id)


def _check_held(assignment: Assignment) -> None:
    """Raise LeaseLost if the run has been ended without waiting for its graph."""
    if assignment.finishing:
        raise LeaseLost(assignment.claim.run.run_id)


def _closing(outcome: Outcome, assignment: Assignment) -> tuple[list[Event], list[Event]]:
    """Return the last events of a log: those before the outcome is stored, and those after.

    The log is the only place of a temporary run's result, so it is there first; and the thread that
    clients could look at is removed with the run.
    """
    progress = assignment.progress
    held = progress.rest()
    ends = [] if progress.command is None else [progress.command]
    if progress.lifecycle is not None:
        ends += progress.lifecycle.ended(outcome)
    ends += shown_events(outcome)
    # Any number of subgraphs may end with the run, and readers number each of these events.
    progress.number += PLAIN_STEP * len(ends)
    closing = [*held, *ends, status_event(outcome), last_event(outcome, progress.report)]
    if progress.protocol is not None:
        return progress.protocol.rest(), closing
    return (closing, []) if assignment.claim.run.temporary else ([], closing)


def _numbered(outcome: Outcome, progress: _Progress) -> Outcome:
    """Return an outcome with the number of the run's last event, and the last events."""
    encoder = progress.protocol
    if encoder is None:
        return replace(outcome, event_number=progress.number)
    return replace(outcome, event_number=encoder.last_number, last_events=encoder.stored())


async def _newest(graph: Graph, claim: Claim) -> Summary:
    return await summary(graph, str(claim.run.thread_id))


async def _plain_events(event: ProtocolEvent, progress: _Progress) -> list[Event]:
    """Return the plain events for a native event, once the state shows its questions."""
    questions, view = progress.questions, progress.view
    if event["method"] not in PLAIN_MODES or questions is None or view is None:
        return []
    chunk = as_chunk(event)
    progress.report.note(*chunk)
    return [shown for told in await questions.told(chunk) for shown in view.events(*told)]


def _answered(plan: Plan) -> list[str]:
    return answered(plan.input.resume) if isinstance(plan.input, Command) else []


def _log_end(claim: Claim, result: str, seconds: float) -> None:
    logger.info(
        "run ended",
        extra={
            "run_id": str(claim.run.run_id),
            "thread_id": str(claim.run.thread_id),
            "graph_id": claim.run.graph_id,
            "attempt": claim.run.attempt,
            "status": result,
            "ms": round(seconds * 1000, 1),
        },
    )
