"""Runs: creating, watching and stopping them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from uuid import UUID

from weft.schema import CancelAction, RunStatus
from weft.server.domain.errors import (
    EventsLost,
    NothingToCancel,
    RunNotFound,
    RunTargetNotFound,
    ThreadNotFound,
)
from weft.server.domain.events import RESULT, START, Cursor, EventId, Live, StoredEvent
from weft.server.domain.json import EMPTY_OBJECT, Encoded
from weft.server.domain.runs import Created, NewRun, QueueStats, Run, Stop
from weft.server.domain.threads import Ttl
from weft.server.ports.clock import Clock
from weft.server.ports.events import EventLog, EventReader
from weft.server.ports.signals import STOP, WORK, Signals
from weft.server.ports.storage import Storage
from weft.server.services.assistants import AssistantService
from weft.server.services.requests import RunCreateRequest
from weft.server.services.run_request import new_run

logger: logging.Logger = logging.getLogger("weft.runs")

# Long enough for readers of a run that ended before it began to learn that it is over.
_KEEP_ENDED_SECONDS = 30.0

_PAGE = 500


@dataclass(frozen=True, slots=True)
class Joined:
    """A run somebody joins, and what is still to come of it: None for nothing."""

    run: Run
    reader: EventReader | None


class RunService:
    def __init__(
        self,
        *,
        storage: Storage,
        events: EventLog,
        signals: Signals,
        assistants: AssistantService,
        clock: Clock,
        thread_ttl: Ttl | None = None,
    ) -> None:
        self._storage = storage
        self._events = events
        self._signals = signals
        self._assistants = assistants
        self._clock = clock
        self._thread_ttl = thread_ttl

    async def create(
        self,
        thread_id: UUID | None,
        body: RunCreateRequest,
        *,
        request_id: str,
        headers: Mapping[str, str] | None = None,
    ) -> Run:
        """Create a run, on a thread or (None) on one of its own.

        ``headers`` are those of the request that its graph may read.
        """
        new = await self._new(thread_id, body, request_id, headers)
        try:
            created = await self._storage.runs.create(new)
        except ThreadNotFound:
            raise RunTargetNotFound from None
        await self._announce(created)
        return created.run

    async def create_batch(
        self,
        bodies: Sequence[RunCreateRequest],
        *,
        request_id: str,
        headers: Mapping[str, str] | None = None,
    ) -> Sequence[Run]:
        """Create runs, each on a thread of its own; none of them unless all requests are valid."""
        news = [await self._new(None, body, request_id, headers) for body in bodies]
        created = await asyncio.gather(*[self._storage.runs.create(new) for new in news])
        for each in created:
            await self._announce(each)
        return [each.run for each in created]

    async def get(self, thread_id: UUID | None, run_id: UUID) -> Run:
        return await self._storage.runs.get(thread_id, run_id)

    async def list(
        self, thread_id: UUID, *, limit: int, offset: int, status: RunStatus | None
    ) -> Sequence[Run]:
        return await self._storage.runs.list(thread_id, limit=limit, offset=offset, status=status)

    async def delete(self, thread_id: UUID, run_id: UUID) -> None:
        """Remove a run and its checkpoints; a running one is stopped."""
        run = await self._storage.runs.delete(thread_id, run_id)
        if run.active:
            await self._events.close(str(run_id), keep_seconds=0.0)
            await self._signals.publish(STOP, str(run_id))
            await self._signals.publish(WORK)

    async def cancel(
        self, thread_id: UUID, run_id: UUID, action: CancelAction, *, reason: str
    ) -> None:
        """Stop a run: at once where it is pending, as soon as its worker can where it runs.

        Raises:
            NothingToCancel: the run is unknown or over.
        """
        await self._cancel(thread_id, [run_id], Stop(action, reason))

    async def _new(
        self,
        thread_id: UUID | None,
        body: RunCreateRequest,
        request_id: str,
        headers: Mapping[str, str] | None,
    ) -> NewRun:
        assistant = await self._assistants.resolve(body["assistant_id"])
        now = self._clock.now()
        new = new_run(thread_id, body, assistant, request_id=request_id, now=now, headers=headers)
        if body.get("feedback_keys"):
            logger.warning("feedback_keys are ignored", extra={"run_id": str(new.run_id)})
        return replace(new, thread_ttl=self._thread_ttl)

    async def _cancel(self, thread_id: UUID, run_ids: Sequence[UUID], stop: Stop) -> None:
        cancelled = await self._storage.runs.cancel(thread_id, run_ids, stop)
        for ended in cancelled.ended:
            await self._events.close(str(ended), _KEEP_ENDED_SECONDS)
        for stopping in cancelled.stopping:
            await self._signals.publish(STOP, str(stopping))
        await self._signals.publish(WORK)

    async def cancel_many(
        self, thread_id: UUID, run_ids: Sequence[UUID], action: CancelAction, *, reason: str
    ) -> None:
        """Stop several runs of a thread; those that are over are passed over.

        Raises:
            NothingToCancel: none of them is pending or running.
        """
        await self._cancel(thread_id, run_ids, Stop(action, reason))

    async def cancel_all(
        self, status: RunStatus | None, action: CancelAction, *, reason: str
    ) -> None:
        """Stop the runs of all threads that are pending or running, or (None) either.

        Raises:
            NothingToCancel: there is none.
        """
        stopped, after = False, None
        while True:
            page = await self._storage.runs.active(status, after=after, limit=_PAGE)
            for thread_id, run_id in page:
                with suppress(NothingToCancel):
                    await self._cancel(thread_id, [run_id], Stop(action, reason))
                    stopped = True
            if len(page) < _PAGE:
                break
            after = page[-1][1]
        if not stopped:
            raise NothingToCancel

    async def stats(self) -> QueueStats:
        return await self._storage.runs.stats()

    def read(self, run: Run) -> EventReader:
        """Return all events of a run that has just been created."""
        return self._events.read(str(run.run_id), START)

    async def join(self, thread_id: UUID | None, run_id: UUID, last_event_id: str | None) -> Joined:
        """Return a run and its events for somebody who comes later.

        Args:
            thread_id: The run's thread; None: whichever it is.
            run_id: The run.
            last_event_id: The last event the client has, as it names it; None: none named.

        Raises:
            RunNotFound: the thread has no such run.
        """
        run = await self._storage.runs.get(thread_id, run_id)
        if not run.active and (last_event_id is None or not run.resumable):
            return Joined(run, None)
        return Joined(run, await self._attach(run, _join_cursor(run, last_event_id)))

    async def wait(self, run: Run) -> Encoded:
        """Return the result of a run that has just been created, once it is over."""
        return await self._result(run, self.read(run))

    async def join_result(self, thread_id: UUID | None, run_id: UUID) -> Encoded:
        """Return the result of a run, once it is over.

        Raises:
            RunNotFound: the thread has no such run.
        """
        run = await self._storage.runs.get(thread_id, run_id)
        if not run.active:
            return await self._stored_result(run)
        return await self._result(run, await self._attach(run, START))

    async def ended(self, thread_id: UUID, run_id: UUID) -> None:
        """Return once a run is over, or gone."""
        try:
            run = await self._storage.runs.get(thread_id, run_id)
        except RunNotFound:
            return
        await self._last(run, await self._attach(run, START))

    async def _announce(self, created: Created) -> None:
        for run_id in created.ended:
            await self._events.close(str(run_id), _KEEP_ENDED_SECONDS)
        for run_id in created.superseded:
            await self._signals.publish(STOP, str(run_id))
        await self._signals.publish(WORK)

    async def _attach(self, run: Run, after: Cursor) -> EventReader:
        """Return a reader that ends even when the run ends at this very moment."""
        reader = self._events.read(str(run.run_id), after)
        # Only now can nothing be missed: whoever is still active here will close the log.
        if not await self._active(run):
            reader.drain()
        return reader

    async def _active(self, run: Run) -> bool:
        try:
            return (await self._storage.runs.get(run.thread_id, run.run_id)).active
        except RunNotFound:
            return False

    async def _result(self, run: Run, reader: EventReader) -> Encoded:
        last = await self._last(run, reader)
        if last is not None and last.event.name == RESULT:
            return last.event.data
        return await self._stored_result(run)

    async def _last(self, run: Run, reader: EventReader) -> StoredEvent | None:
        """Return the last event of a run once it is over. The database decides when that is."""
        while True:
            try:
                return await reader.last()
            except EventsLost:
                if not await self._active(run):
                    return None
            reader = self._events.read(str(run.run_id), START)

    async def _stored_result(self, run: Run) -> Encoded:
        """Return what the database knows of a run's result: its error, or the thread's values."""
        try:
            run = await self._storage.runs.get(run.thread_id, run.run_id)
            if run.error is not None and run.status in {"error", "timeout"}:
                return Encoded(b'{"__error__":' + run.error + b"}")
            thread = await self._storage.threads.get(run.thread_id)
        except (RunNotFound, ThreadNotFound):
            return EMPTY_OBJECT
        return thread.values or EMPTY_OBJECT


def _join_cursor(run: Run, last_event_id: str | None) -> Cursor:
    if not run.resumable or last_event_id is None:
        return START if run.attempt == 0 else Live()
    if last_event_id in {"-1", "-", "0"}:
        return START
    return EventId.parse(last_event_id) or Live()
