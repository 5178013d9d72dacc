"""Following a thread: the events of all its runs, one after the other, and new states."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias
from uuid import UUID

from loomline.schema import ThreadStreamMode
from loomline.server.authz.authorizer import Authorizer
from loomline.server.authz.users import Caller
from loomline.server.domain.access import EVERYTHING, Condition
from loomline.server.domain.errors import EventsLost, LoomlineError, RunNotFound, ThreadNotFound
from loomline.server.domain.events import HIDDEN, START, Cursor, Event, EventId, Live, StoredEvent
from loomline.server.domain.json import Encoded, dump
from loomline.server.domain.runs import Run
from loomline.server.ports.clock import Clock
from loomline.server.ports.events import EventLog
from loomline.server.ports.signals import STATE, THREAD, Listener, Signals
from loomline.server.ports.storage import Storage
from loomline.server.services.states import StateService

Batches: TypeAlias = AsyncGenerator[Sequence[StoredEvent]]

# How long a lost hint can hide a run.
_POLL_SECONDS = 2.0

# Runs that are looked at at a time; more than begin between two looks.
_RUNS = 100

_REMEMBERED = 1000


@dataclass(frozen=True, slots=True)
class _Followed:
    """What is followed, and by whom; the thread must meet a condition all the time."""

    caller: Caller
    thread_id: UUID
    access: Condition
    modes: frozenset[ThreadStreamMode]
    opened: datetime


class ThreadStreamService:
    def __init__(
        self,
        *,
        storage: Storage,
        events: EventLog,
        signals: Signals,
        states: StateService,
        clock: Clock,
        authz: Authorizer,
    ) -> None:
        self._storage = storage
        self._events = events
        self._signals = signals
        self._states = states
        self._clock = clock
        self._authz = authz

    async def follow(
        self,
        caller: Caller,
        thread_id: UUID,
        after: EventId | None,
        modes: frozenset[ThreadStreamMode],
    ) -> Batches:
        """Return the events of a thread, which never end.

        They begin now, not only once the first one is asked for.

        Args:
            caller: Who follows.
            thread_id: The thread, which need not exist yet.
            after: The last event the client has; None: only what comes from now on.
            modes: Which events.

        Raises:
            ThreadNotFound: not everything is for this caller, and such a thread is not.
        """
        opened = self._clock.now()
        access = await self._authz.allow(caller, "threads", "read", {"thread_id": thread_id})
        if access != EVERYTHING:
            await self._storage.threads.get(thread_id, with_values=False, access=access)
        return self._follow(_Followed(caller, thread_id, access, modes, opened), after)

    async def _follow(self, what: _Followed, after: EventId | None) -> Batches:
        thread_id, modes = what.thread_id, what.modes
        seen: OrderedDict[UUID, None] = OrderedDict()
        async with self._signals.listen(THREAD, STATE) as hints:
            cursor: Cursor | None = Live() if after is None else after
            while True:
                async with aclosing(self._runs(what, seen, cursor)) as batches:
                    async for batch in batches:
                        yield batch
                cursor = None  # whatever run is new from now on is wanted whole
                if await self._changed(hints, thread_id) and "state_update" in modes:
                    yield await self._state(what.caller, thread_id)

    async def _runs(
        self, what: _Followed, seen: OrderedDict[UUID, None], cursor: Cursor | None
    ) -> Batches:
        """Yield the events of the runs that have begun and have not been seen, oldest first."""
        modes = what.modes
        if modes == {"state_update"}:
            return
        for run in await self._begun(what, seen):
            seen[run.run_id] = None
            if len(seen) > _REMEMBERED:
                seen.popitem(last=False)
            # One that was made after the client has come may have begun before the first look. The
            # past of another one that does not keep its events is not replayed.
            whole = cursor is None or run.created_at >= what.opened
            place = START if whole or cursor is None else cursor if run.resumable else Live()
            async with aclosing(self._run(run, place)) as batches:
                async for batch in batches:
                    wanted = batch if "run_modes" in modes else _lifecycle(batch, modes)
                    if wanted:
                        yield wanted

    async def _run(self, run: Run, after: Cursor) -> Batches:
        reader = self._events.read(str(run.run_id), after)
        last: StoredEvent | None = None
        try:
            if not await self._active(run):
                reader.drain()
            async for batch in reader:
                last = batch[-1]
                yield batch
        except EventsLost as error:
            message = dump({"error": "EventsLost", "message": str(error)})
            yield [StoredEvent(_next(last), Event("error", message))]
        finally:
            await reader.aclose()
        # Without anything after the cursor its end has been seen before.
        if last is not None:
            done = dump({"status": "run_done", "run_id": str(run.run_id)})
            place = last.id if last.event.name in HIDDEN else _next(last)
            yield [StoredEvent(place, Event("metadata", done))]

    async def _begun(self, what: _Followed, seen: OrderedDict[UUID, None]) -> Sequence[Run]:
        try:
            runs = await self._storage.runs.list(
                what.thread_id, limit=_RUNS, offset=0, status=None, access=what.access
            )
        except ThreadNotFound:
            return []
        return [run for run in reversed(runs) if run.attempt > 0 and run.run_id not in seen]

    async def _active(self, run: Run) -> bool:
        try:
            return (await self._storage.runs.get(run.thread_id, run.run_id)).active
        except RunNotFound:
            return False

    async def _changed(self, hints: Listener, thread_id: UUID) -> bool:
        """Wait for news of the thread; return whether its state has been changed."""
        wanted = {str(thread_id), ""}  # hints may have been missed where none names a thread
        until = self._clock.monotonic() + _POLL_SECONDS
        while (rest := until - self._clock.monotonic()) > 0:
            topics = {topic for topic, payload in await hints.wait(rest) if payload in wanted}
            if topics:
                return STATE in topics
        return False

    async def _state(self, caller: Caller, thread_id: UUID) -> Sequence[StoredEvent]:
        milliseconds = int(self._clock.now().timestamp() * 1000)
        try:
            state = await self._states.get(caller, thread_id)
        except LoomlineError:
            return []  # the thread has been deleted in the meantime
        data = Encoded(b'{"state":%b,"thread_id":"%b"}' % (state, str(thread_id).encode()))
        return [StoredEvent(EventId(milliseconds, 0), Event("state_update", data))]


def _lifecycle(
    batch: Sequence[StoredEvent], modes: frozenset[ThreadStreamMode]
) -> Sequence[StoredEvent]:
    if "lifecycle" not in modes:
        return []
    return [stored for stored in batch if stored.event.name == "metadata"]


def _next(last: StoredEvent | None) -> EventId:
    return START if last is None else EventId(last.id.milliseconds, last.id.number + 1)
