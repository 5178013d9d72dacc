"""Executes one claimed run, from its first event to its outcome."""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.errors import GraphDrained
from langgraph.runtime import RunControl
from langgraph.types import Command, Interrupt, StateSnapshot

from loomline.server.authz.acting import acting_for
from loomline.server.authz.users import Caller
from loomline.server.domain.errors import EncryptionFailed, LeaseLost, StorageUnavailable
from loomline.server.domain.events import DONE, NUMBERS, RESULT, STATUS, Event
from loomline.server.domain.json import EMPTY_OBJECT, Encoded
from loomline.server.domain.protocol import PLAIN_END, PLAIN_STEP, answered, run_end
from loomline.server.domain.runs import Claim, Outcome, Stop, pause_after
from loomline.server.domain.threads import status_after
from loomline.server.graphs.registry import Graphs
from loomline.server.graphs.runtimes import Purpose
from loomline.server.graphs.serde import encode
from loomline.server.ports.clock import Clock
from loomline.server.ports.events import EventLog
from loomline.server.ports.signals import THREAD, WEBHOOK, WORK, Signals
from loomline.server.ports.storage import Storage
from loomline.server.worker.chunks import ROOT, ChunkEncoder, Namespace
from loomline.server.worker.failures import describe, described, first_failure
from loomline.server.worker.lifecycle import MODE as LIFECYCLE, Lifecycle
from loomline.server.worker.native import native_events
from loomline.server.worker.plan import Plan, ServerFacts, continued, make_plan, thread_config
from loomline.server.worker.protocol import PLAIN_MODES, ProtocolEncoder, as_chunk
from loomline.server.worker.stream import Graph, chunks

logger: logging.Logger = logging.getLogger("loomline.worker")

Saver: TypeAlias = BaseCheckpointSaver[str]


@dataclass(frozen=True, slots=True)
class ExecuteOptions:
    """``keep_seconds`` is for runs that are not resumable: time for their readers to attach."""

    facts: ServerFacts
    show_all_errors: bool
    timeout_seconds: float
    resumable_keep_seconds: float
    keep_seconds: float = 30.0
    retry_seconds: float = 2.0


class Release:
    """The worker shuts down: somebody else shall go on with the run."""


class Lost:
    """The run belongs to another worker: nothing may be written for it any more."""


Order: TypeAlias = Stop | Release | Lost


@dataclass(slots=True)
class _Progress:
    """What a run has come to so far. ``values`` is the last state of the root graph.

    ``number`` is that of its last event, where it has no events of the thread protocol.
    """

    values: object = None
    has_values: bool = False
    interrupted: bool = False
    lifecycle: Lifecycle | None = None
    protocol: ProtocolEncoder | None = None
    number: int = 0

    def note(self, namespace: Namespace, mode: str, payload: object) -> None:
        if namespace != ROOT:
            return
        if mode == "values":
            self.values, self.has_values = payload, True
        elif mode == "updates":
            # Nodes of the same step may still report after the one that interrupted.
            self.interrupted |= isinstance(payload, Mapping) and "__interrupt__" in payload


@dataclass(eq=False, slots=True)
class Assignment:
    """A claim on its way, and the order to stop it if there is one. The first order counts.

    ``finishing``: the outcome is settled; the rest must not be cancelled any more. ``deadline``:
    when the run times out, on the monotonic clock, once it has begun. ``control`` asks the graph to
    stop before its next step, from any thread. ``result`` is a status, "handed over" or "lost",
    once it is over. ``held_until``: when, by the clock of the worker's loop, the lease may have run
    out. ``over`` is set when the execution has ended and none of its nodes runs any more.
    """

    claim: Claim
    order: Order | None = None
    finishing: bool = False
    deadline: float | None = None
    progress: _Progress = field(default_factory=_Progress)
    control: RunControl = field(default_factory=RunControl)
    result: str = "lost"
    held_until: float = 0.0
    over: threading.Event = field(default_factory=threading.Event)
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
    """Executes claims. One object serves all runners; what a run needs is in its call."""

    def __init__(
        self,
        *,
        storage: Storage,
        events: EventLog,
        signals: Signals,
        graphs: Graphs,
        clock: Clock,
        options: ExecuteOptions,
    ) -> None:
        self._storage = storage
        self._events = events
        self._signals = signals
        self._graphs = graphs
        self._clock = clock
        self._options = options

    async def execute(self, assignment: Assignment) -> None:
        """Execute a run to its end and record it, whatever happens on the way."""
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

    async def expire(self, assignment: Assignment) -> None:
        """End a run whose time is over although it does not let itself be stopped.

        What it is at goes on until it returns, but nothing it does counts any more.
        """
        if not assignment.settle():
            return
        claim = assignment.claim
        logger.error("a run that blocks has timed out", extra={"run_id": str(claim.run.run_id)})
        outcome = await asyncio.to_thread(_timed_out, assignment.progress)
        await self._record(assignment, outcome)
        _log_end(claim, assignment.result, 0.0)

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
        return _stopped(assignment.order, progress)

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
                    await self._stream(graph, plan, assignment)
                    return await self._success(graph, claim, progress)
        except TimeoutError as error:
            if not timeout.expired():
                return self._failure(claim, error, progress)
            return _timed_out(progress)

    def _opening(self, claim: Claim, plan: Plan, progress: _Progress) -> list[Event]:
        run = claim.run
        metadata = encode({"run_id": str(run.run_id), "attempt": run.attempt})
        events = [Event("metadata", metadata), Event(NUMBERS, encode(claim.event_number))]
        progress.number = claim.event_number + PLAIN_END
        if plan.protocol:
            encoder = ProtocolEncoder(str(run.run_id), run.graph_id, claim.event_number)
            progress.protocol = encoder
            events += encoder.begin(self._milliseconds(), _answered(plan))
        return events

    async def _stream(self, graph: Graph, plan: Plan, assignment: Assignment) -> None:
        claim, progress = assignment.claim, assignment.progress
        if progress.protocol is not None:
            await self._stream_protocol(graph, plan, assignment, progress.protocol)
            return
        encoder = ChunkEncoder(plan.modes)
        if LIFECYCLE in plan.modes:
            progress.lifecycle = Lifecycle(show_all_errors=self._options.show_all_errors)
        if claim.run.resumable:  # readers may want to begin after a checkpoint
            plan = replace(plan, modes=plan.modes | {"checkpoints"})
        source = chunks(graph, plan, assignment.control)
        async with aclosing(source):
            async for namespace, mode, payload in source:
                if assignment.finishing:
                    raise LeaseLost(claim.run.run_id)  # it has been ended without waiting for this
                progress.note(namespace, mode, payload)
                events = encoder.events(namespace, mode, payload)
                if progress.lifecycle is not None:
                    events = [*progress.lifecycle.note(namespace, mode, payload), *events]
                if events:
                    progress.number += PLAIN_STEP * len(events)
                    await self._append(claim, events)

    async def _stream_protocol(
        self, graph: Graph, plan: Plan, assignment: Assignment, encoder: ProtocolEncoder
    ) -> None:
        claim, progress = assignment.claim, assignment.progress
        plain = ChunkEncoder(PLAIN_MODES)
        async with aclosing(native_events(graph, plan, assignment.control)) as source:
            async for event in source:
                if assignment.finishing:
                    raise LeaseLost(claim.run.run_id)  # it has been ended without waiting for this
                events = encoder.events(event)
                if event["method"] in PLAIN_MODES:
                    chunk = as_chunk(event)
                    progress.note(*chunk)
                    events += plain.events(*chunk)
                if events:
                    await self._append(claim, events)

    async def _append(self, claim: Claim, events: Sequence[Event]) -> None:
        await self._events.append(str(claim.run.run_id), events, claim.number)

    async def _success(self, graph: Graph, claim: Claim, progress: _Progress) -> Outcome:
        if not progress.interrupted:
            return Outcome("success", "idle", values=_thread_values(progress))
        state = await graph.aget_state(thread_config(claim))
        return Outcome(
            "success",
            status_after("success", has_next=bool(state.next)),
            values=_thread_values(progress),
            interrupts=encode(_interrupts(state)),
        )

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
        return _failed(describe(error, show_all=self._options.show_all_errors), progress)

    async def _record(self, assignment: Assignment, outcome: Outcome) -> None:
        """Publish and store the outcome, then end the stream.

        The status is stored before the stream ends: clients look it up when a stream closes. With
        the thread protocol they do so when they read how the run ended.
        """
        claim, stream = assignment.claim, assignment.stream
        closing = _closing_events(outcome, assignment.progress)
        protocol = assignment.progress.protocol
        number = assignment.progress.number if protocol is None else protocol.last_number
        await self._append(claim, closing if protocol is None else protocol.rest())
        told = await self._events.flush(stream)
        outcome = replace(outcome, event_number=number, untold=not told)
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
        if protocol is not None:
            waits = outcome.thread_status == "interrupted"
            end, error = run_end(outcome.status, outcome.error, waits=waits)
            ends = protocol.end(end, error, self._milliseconds())
            await self._append(claim, [*ends, *closing])
        keep = self._options
        await self._events.close(
            stream, keep.resumable_keep_seconds if claim.run.resumable else keep.keep_seconds
        )
        if claim.run.webhook is not None:
            await self._signals.publish(WEBHOOK)
        if finished.waiting:
            await self._signals.publish(WORK)

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


def _stopped(order: Order | None, progress: _Progress) -> Outcome | None:
    if not isinstance(order, Stop):
        return None
    roll_back = order.action == "rollback"
    name = "UserRollback" if roll_back else "UserInterrupt"
    return Outcome(
        "interrupted",
        "idle" if roll_back else "interrupted",
        values=None if roll_back else _thread_values(progress),
        error=described(name, order.reason),
        roll_back=roll_back,
    )


def _timed_out(progress: _Progress) -> Outcome:
    return _failed(described("TimeoutError", ""), progress, timeout=True)


def _failed(error: Encoded, progress: _Progress, *, timeout: bool = False) -> Outcome:
    return Outcome(
        "timeout" if timeout else "error",
        "error",
        values=_thread_values(progress),
        error=error,
    )


def failure_events(error: Encoded) -> list[Event]:
    """Return what ends the stream of a run that has failed."""
    return [
        Event("error", error),
        Event(RESULT, Encoded(b'{"__error__":' + error + b"}")),
    ]


def _closing_events(outcome: Outcome, progress: _Progress) -> Sequence[Event]:
    status = Event(STATUS, encode("rollback" if outcome.roll_back else outcome.status))
    ends = [] if progress.lifecycle is None else progress.lifecycle.ended(outcome)
    return [*ends, status, *_last_events(outcome, progress)]


def _last_events(outcome: Outcome, progress: _Progress) -> Sequence[Event]:
    if outcome.status in {"error", "timeout"} and outcome.error is not None:
        return failure_events(outcome.error)
    if outcome.status == "success" and progress.has_values:
        # With the interrupt, which the thread's values do not show.
        data = encode(progress.values) if progress.interrupted else outcome.values
        return [Event(RESULT, data or EMPTY_OBJECT)]
    return [Event(DONE, EMPTY_OBJECT)]


def _thread_values(progress: _Progress) -> Encoded | None:
    if not progress.has_values:
        return None
    values = progress.values
    if isinstance(values, Mapping) and "__interrupt__" in values:
        values = {key: value for key, value in values.items() if key != "__interrupt__"}
    return encode(values)


def _answered(plan: Plan) -> list[str]:
    return answered(plan.input.resume) if isinstance(plan.input, Command) else []


def _interrupts(state: StateSnapshot) -> dict[str, list[dict[str, Any]]]:
    return {
        task.id: [_interrupt(each) for each in task.interrupts]
        for task in state.tasks
        if task.interrupts
    }


def _interrupt(interrupt: Interrupt[Any]) -> dict[str, Any]:
    shown = {"id": interrupt.id, "value": interrupt.value}
    if interrupt.response_schema is not None:
        shown["response_schema"] = interrupt.response_schema
    return shown


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
