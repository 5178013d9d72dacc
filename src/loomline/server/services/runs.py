"""Runs: creating, watching and stopping them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeAlias
from uuid import UUID

from loomline.schema import CancelAction, RunStatus
from loomline.server.authz.authorizer import Authorizer, Value
from loomline.server.authz.users import Caller
from loomline.server.domain.access import EVERYTHING, Condition, both
from loomline.server.domain.assistants import Assistant
from loomline.server.domain.errors import (
    AssistantNotFound,
    NothingToCancel,
    RunNotFound,
    RunTargetNotFound,
    ThreadNotFound,
)
from loomline.server.domain.events import (
    LAST_FENCE,
    NEVER_BEGUN,
    START,
    Cursor,
    EventId,
    Live,
)
from loomline.server.domain.json import Encoded
from loomline.server.domain.retention import ENDED_SECONDS
from loomline.server.domain.run_spec import StoredSpec
from loomline.server.domain.runs import (
    Created,
    NewRun,
    QueueStats,
    Run,
    Stop,
    reading as reading_condition,
)
from loomline.server.domain.threads import Ttl
from loomline.server.ports.clock import Clock
from loomline.server.ports.events import EventLog, EventReader
from loomline.server.ports.signals import STOP, THREAD, WEBHOOK, WORK, Signals
from loomline.server.ports.storage import Storage
from loomline.server.services.assistants import AssistantService
from loomline.server.services.priorities import Priorities
from loomline.server.services.request_keys import batch_keys, run_key
from loomline.server.services.requests import RunCreateRequest
from loomline.server.services.run_limits import RunLimits
from loomline.server.services.run_request import RunRequest, allowed, new_run, run_value
from loomline.server.services.run_results import RunResults
from loomline.server.services.webhooks import WebhookGuard

logger: logging.Logger = logging.getLogger("loomline.runs")

_PAGE = 500


Waiting: TypeAlias = Callable[[], Awaitable[Encoded]]


@dataclass(frozen=True, slots=True)
class Joined:
    """A run somebody joins, and what is still to come of it: None for nothing."""

    run: Run
    reader: EventReader | None


@dataclass(frozen=True, slots=True)
class Admission:
    """What new runs have to meet, and what their threads get that are made for them."""

    guard: WebhookGuard
    priorities: Priorities
    limits: RunLimits
    thread_ttl: Ttl | None = None

    async def admit(self, new: NewRun, body: RunCreateRequest, assistant: Assistant) -> NewRun:
        """Return a run as it may be created.

        Raises:
            InvalidInput: it goes beyond a limit, or its webhook must not be sent.
        """
        self.limits.check(body, assistant)
        webhook = body.get("webhook")
        await self.guard.check(webhook)
        return replace(
            new,
            thread_ttl=self.thread_ttl,
            webhook=webhook if self.guard.enabled else None,
            limits=self.limits.queue,
        )


class RunService:
    def __init__(
        self,
        *,
        storage: Storage,
        events: EventLog,
        signals: Signals,
        assistants: AssistantService,
        clock: Clock,
        admission: Admission,
        authz: Authorizer,
    ) -> None:
        self._storage = storage
        self._events = events
        self._signals = signals
        self._assistants = assistants
        self._clock = clock
        self._admission = admission
        self._authz = authz
        self._results = RunResults(storage, events, clock)

    async def create(self, caller: Caller, request: RunRequest) -> Created:
        """Create a run, on a thread or on one of its own.

        Raises:
            RunTargetNotFound: the caller has no such thread or assistant.
            AlreadyAnswered: another run answers a question of ``request.answers``.
        """
        new = await self._new(caller, request)
        key = run_key(caller, request.key, request.thread_id, request.body)
        new = replace(new, key=key)
        if request.reading:
            named = {"thread_id": new.thread_id, "run_id": new.run_id}
            read = await self._authz.allow(caller, "threads", "read", named)
            new = replace(new, access=both(new.access, read))
        try:
            created = await self._storage.runs.create(new)
        except ThreadNotFound:
            raise RunTargetNotFound from None
        if not created.replayed:
            await self._announce(created)
        return replace(created, access=reading_condition(new))

    async def create_batch(
        self, caller: Caller, requests: Sequence[RunRequest], key: str | None = None
    ) -> Sequence[Run]:
        """Create runs, each on a thread of its own; none of them unless all requests are valid.

        With a key that the same caller used before, only the missing runs are created.

        Raises:
            RunTargetNotFound: the key stands for runs whose threads are not the caller's any more.
        """
        news = [await self._new(caller, request) for request in requests]
        for new in news:
            _ = new.request.encoded  # raises TooDeep before any run exists
        keys = batch_keys(caller, key, [request.body for request in requests])
        keyed = [replace(new, key=each) for new, each in zip(news, keys, strict=True)]
        try:
            created = await asyncio.gather(*[self._storage.runs.create(new) for new in keyed])
        except ThreadNotFound:
            raise RunTargetNotFound from None
        for each in created:
            await self._announce(each)
        return [each.run for each in created]

    async def get(self, caller: Caller, thread_id: UUID | None, run_id: UUID) -> Run:
        access = await self._reading(caller, thread_id, run_id)
        return await self._storage.runs.get(thread_id, run_id, access=access)

    async def list(
        self, caller: Caller, thread_id: UUID, *, limit: int, offset: int, status: RunStatus | None
    ) -> Sequence[Run]:
        named: Value = {"thread_id": thread_id}
        read = await self._authz.allow(caller, "threads", "read", named)
        named = {"thread_id": thread_id, "metadata": {}}
        found = await self._authz.allow(caller, "threads", "search", named)
        return await self._storage.runs.list(
            thread_id, limit=limit, offset=offset, status=status, access=both(read, found)
        )

    async def delete(self, caller: Caller, thread_id: UUID, run_id: UUID) -> None:
        """Remove a run and its checkpoints; a running one is stopped."""
        named = {"thread_id": thread_id, "run_id": run_id}
        access = await self._authz.allow(caller, "threads", "delete", named)
        run = await self._storage.runs.delete(thread_id, run_id, access=access)
        if run.active:
            await self._events.close(str(run_id), keep_seconds=0.0)
            await self._signals.publish(STOP, str(run_id))
            await self._signals.publish(WORK)

    async def cancel(
        self, caller: Caller, thread_id: UUID, run_id: UUID, action: CancelAction, *, reason: str
    ) -> None:
        """Stop a run: at once where it is pending, as soon as its worker can where it runs.

        Raises:
            NothingToCancel: the run is unknown or over.
        """
        await self.cancel_many(caller, thread_id, [run_id], action, reason=reason)

    async def _new(self, caller: Caller, request: RunRequest) -> NewRun:
        body, now = request.body, self._clock.now()
        try:
            assistant = await self._assistants.target(body["assistant_id"])
            new = await self._allowed(caller, request, new_run(request, assistant, now))
            self._assistants.check_target(assistant, new.access)
        except AssistantNotFound:
            raise RunTargetNotFound from None
        if body.get("feedback_keys"):
            logger.warning("feedback_keys are ignored", extra={"run_id": str(new.run_id)})
        if request.thread_events:
            new = replace(new, request=StoredSpec(spec=new.spec.with_thread_events()))
        admitted = await self._admission.admit(new, body, assistant)
        return await self._admission.priorities.prioritized(caller, admitted, assistant)

    async def _allowed(self, caller: Caller, request: RunRequest, new: NewRun) -> NewRun:
        """Return a run as the handlers let it be."""
        if caller.user is None:
            return new
        value = run_value(request, new)
        kwargs = value["kwargs"]
        access = await self._authz.allow(caller, "threads", "create_run", value)
        # A handler may change the object or put another one in its place, with some members only.
        value["kwargs"] = {**kwargs, **value["kwargs"]}
        return allowed(new, value, access, caller.dump())

    async def _reading(self, caller: Caller, thread_id: UUID | None, run_id: UUID) -> Condition:
        """Return which threads may have a run for a caller to read it."""
        if thread_id is None and caller.user is not None:
            with suppress(RunNotFound):
                thread_id = (await self._storage.runs.get(None, run_id)).thread_id
        named = {"thread_id": thread_id, "run_id": run_id}
        return await self._authz.allow(caller, "threads", "read", named)

    async def _cancel(
        self, thread_id: UUID, run_ids: Sequence[UUID], stop: Stop, access: Condition
    ) -> None:
        cancelled = await self._storage.runs.cancel(thread_id, run_ids, stop, access=access)
        for ended in cancelled.ended:
            await self._never_begun(ended)
        for stopping in cancelled.stopping:
            await self._signals.publish(STOP, str(stopping))
        if cancelled.ended:
            await self._signals.publish(WEBHOOK)
            await self._signals.publish(THREAD, str(thread_id))
        await self._signals.publish(WORK)

    async def cancel_many(
        self,
        caller: Caller,
        thread_id: UUID,
        run_ids: Sequence[UUID],
        action: CancelAction,
        *,
        reason: str,
    ) -> None:
        """Stop several runs of a thread; those that are over are passed over.

        Raises:
            NothingToCancel: none of them is pending or running.
        """
        named: Value = {
            "thread_id": thread_id,
            "action": action,
            "metadata": {"run_ids": [str(run_id) for run_id in run_ids], "status": None},
        }
        access = await self._authz.allow(caller, "threads", "update", named)
        await self._cancel(thread_id, run_ids, Stop(action, reason), access)

    async def cancel_all(
        self, caller: Caller, status: RunStatus | None, action: CancelAction, *, reason: str
    ) -> None:
        """Stop the runs of all threads that are pending or running, or (None) either.

        Raises:
            NothingToCancel: there is none.
        """
        named: Value = {
            "thread_id": None,
            "action": action,
            "metadata": {"run_ids": None, "status": status or "all"},
        }
        access = await self._authz.allow(caller, "threads", "update", named)
        stopped, after = False, None
        while True:
            page = await self._storage.runs.active(status, after=after, limit=_PAGE, access=access)
            for thread_id, run_id in page:
                with suppress(NothingToCancel):
                    await self._cancel(thread_id, [run_id], Stop(action, reason), access)
                    stopped = True
            if len(page) < _PAGE:
                break
            after = page[-1][1]
        if not stopped:
            raise NothingToCancel

    async def stats(self, graphs: Collection[str]) -> QueueStats:
        """Return how the queue stands, for a process that serves these graphs."""
        return await self._storage.runs.stats(graphs=graphs)

    def read(self, run: Run) -> EventReader:
        """Return all events of a run that has just been created."""
        return self._events.read(str(run.run_id), START)

    async def join(
        self,
        caller: Caller,
        thread_id: UUID | None,
        run_id: UUID,
        last_event_id: str | None,
        checkpoint_id: UUID | None = None,
    ) -> Joined:
        """Return a run and its events for somebody who comes later.

        Args:
            caller: Who joins.
            thread_id: The run's thread; None: whichever it is.
            run_id: The run.
            last_event_id: The last event the client has, as it names it; None: none named.
            checkpoint_id: The checkpoint whose state the client has. If the client asks for all
                events, the events before it are left out.

        Raises:
            RunNotFound: the thread has no such run.
            ThreadNotFound: the caller may not read the thread.
        """
        access = await self._joining(caller, thread_id, run_id)
        run = await self._storage.runs.get(thread_id, run_id, access=access)
        if not run.active and (last_event_id is None or not run.resumable):
            return Joined(run, None)
        cursor = _join_cursor(run, last_event_id)
        if cursor == START and checkpoint_id is not None:
            cursor = await self._results.after_checkpoint(run, checkpoint_id)
        return Joined(run, await self._results.attach(run, cursor))

    async def replay(self, created: Created) -> EventReader:
        """Return the events of a run that an earlier request has created, as far as they exist."""
        return await self._results.attach(created.run, START)

    async def wait(self, created: Created) -> Encoded:
        """Return the result of a run that was just created, or was created before, once it ended.

        Raises:
            RunNotFound: the run was deleted, or its thread is not the caller's any more.
            ResultLost: the run has no thread any more, and its log does not hold the result.
        """
        of = self._results.of_replayed if created.replayed else self._results.of_new
        return await of(created)

    async def join_result(self, caller: Caller, thread_id: UUID | None, run_id: UUID) -> Waiting:
        """Return a function that waits for the result of a run.

        The function raises ``RunNotFound`` if the thread has no such run, and ``ResultLost`` if
        the result of a run without a thread is lost.
        """
        access = await self._joining(caller, thread_id, run_id)
        return partial(self._results.of_joined, thread_id, run_id, access)

    async def ending(self, run: Run) -> str | None:
        """Return the final status of a run; None for a run that is active, or is gone.

        The caller has been allowed to read the run.
        """
        return await self._results.final_status(run)

    async def _joining(self, caller: Caller, thread_id: UUID | None, run_id: UUID) -> Condition:
        """Return which threads may have a run for a caller to join it.

        A thread of another user is refused as if it did not exist, whatever its runs are.

        Raises:
            ThreadNotFound: the caller may not read the thread.
        """
        access = await self._reading(caller, thread_id, run_id)
        if thread_id is not None and access != EVERYTHING:
            await self._storage.threads.get(thread_id, with_values=False, access=access)
        return access

    async def ended(self, thread_id: UUID, run_id: UUID) -> None:
        """Return once a run has ended or is gone; the caller has been allowed to stop it."""
        await self._results.ended(thread_id, run_id)

    async def _never_begun(self, run_id: UUID) -> None:
        """Close the log of a run that ended while it waited."""
        await self._events.append(str(run_id), NEVER_BEGUN, LAST_FENCE)
        await self._events.close(str(run_id), ENDED_SECONDS)

    async def _announce(self, created: Created) -> None:
        for run_id in created.ended:
            await self._never_begun(run_id)
        for run_id in created.superseded:
            await self._signals.publish(STOP, str(run_id))
        if created.ended:
            await self._signals.publish(WEBHOOK)
            await self._signals.publish(THREAD, str(created.run.thread_id))
        await self._signals.publish(WORK)


def _join_cursor(run: Run, last_event_id: str | None) -> Cursor:
    if not run.resumable or last_event_id is None:
        return START if run.attempt == 0 else Live()
    if last_event_id in {"-1", "-", "0"}:
        return START
    return EventId.parse(last_event_id) or Live()
