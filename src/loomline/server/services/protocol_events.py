"""The events of a thread in the thread protocol: all its runs, one after the other."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from operator import itemgetter
from typing import TypeAlias
from uuid import UUID

from loomline.server.authz.authorizer import Authorizer
from loomline.server.authz.users import Caller
from loomline.server.domain.access import Condition
from loomline.server.domain.errors import RunNotFound, StorageUnavailable, ThreadNotFound
from loomline.server.domain.events import START, StoredEvent
from loomline.server.domain.last_events import Told, last_events
from loomline.server.domain.protocol import (
    PROTOCOL,
    Numbered,
    answered,
    numbered,
    run_end,
)
from loomline.server.domain.runs import Run
from loomline.server.ports.clock import Clock
from loomline.server.ports.events import EventLog
from loomline.server.ports.signals import THREAD, Listener, Signals
from loomline.server.ports.storage import Storage
from loomline.server.services.plain_events import PlainEvents

Batches: TypeAlias = AsyncGenerator[Sequence[Numbered]]

# How long a lost hint can hide a run.
_POLL_SECONDS = 5.0

# Runs of a thread that are looked at: the few that are created between two looks. If these do not
# include all runs that were in the queue at the last look, then these many, which is also what a
# reader who begins is told about.
_RUNS = (5, 100)

# What a worker needs at most to log the end of a run that it has stored.
_GRACE_SECONDS = 2.0

_REMEMBERED = 1000

_RETRY_SECONDS = 1.0


@dataclass(slots=True)
class _Reading:
    """How far a reader has come. Numbers only increase: what a lost worker adds is left out.

    ``broken``: the last look broke off, and what it did not come to is still to be read.
    ``queued``: the runs that had no events yet at the last look.
    """

    last: int
    seen: OrderedDict[UUID, None] = field(default_factory=OrderedDict)
    queued: frozenset[UUID] = frozenset()
    broken: bool = False

    def new(self, events: Iterable[Numbered]) -> list[Numbered]:
        found = []
        for event in events:
            if event.number > self.last:
                self.last = event.number
                found.append(event)
        return found

    def begin(self, run: Run) -> None:
        self.seen[run.run_id] = None
        if len(self.seen) > _REMEMBERED:
            self.seen.popitem(last=False)


@dataclass(frozen=True, slots=True)
class _Place:
    """A thread, as far as it meets a condition."""

    thread_id: UUID
    access: Condition


class ProtocolEvents:
    """Reads the events of threads.

    Args:
        keep_seconds: How long the events of a run are kept after its end.
    """

    def __init__(
        self,
        *,
        storage: Storage,
        events: EventLog,
        signals: Signals,
        clock: Clock,
        authz: Authorizer,
        keep_seconds: float,
    ) -> None:
        self._authz = authz
        self._storage = storage
        self._events = events
        self._signals = signals
        self._clock = clock
        self._keep = timedelta(seconds=keep_seconds)

    async def follow(self, caller: Caller, thread_id: UUID, after: int) -> Batches:
        """Return the events after a number, and for ever those that come.

        The thread need not exist yet. One that is not for this caller looks like one that does not.

        Raises:
            EventsLost: while they are read: the reader is so slow that events it has not read are
                gone.
        """
        place = _Place(thread_id, await self._readable(caller, thread_id))
        return self._follow(place, _Reading(after))

    async def past(self, caller: Caller, thread_id: UUID, after: int) -> Batches:
        """Return the events after a number that there are by now."""
        place = _Place(thread_id, await self._readable(caller, thread_id))
        return self._runs(place, _Reading(after), live=False)

    async def _readable(self, caller: Caller, thread_id: UUID) -> Condition:
        return await self._authz.allow(caller, "threads", "read", {"thread_id": thread_id})

    async def _follow(self, place: _Place, reading: _Reading) -> Batches:
        async with self._signals.listen(THREAD) as hints:
            while True:
                async with aclosing(self._patient_runs(place, reading)) as batches:
                    async for batch in batches:
                        yield batch
                if not reading.broken:
                    await self._news(hints, place.thread_id)

    async def _patient_runs(self, place: _Place, reading: _Reading) -> Batches:
        """Yield events; a database that is away ends this, and readers need not notice."""
        reading.broken = False
        try:
            async with aclosing(self._runs(place, reading, live=True)) as batches:
                async for batch in batches:
                    yield batch
        except StorageUnavailable:
            reading.broken = True
            await self._clock.sleep(_RETRY_SECONDS)

    async def _runs(self, place: _Place, reading: _Reading, *, live: bool) -> Batches:
        for run in await self._begun(place, reading):
            reading.begin(run)
            source = self._own if run.request.events == "thread" else self._plain
            try:
                async with aclosing(source(run, reading, live=live)) as batches:
                    async for batch in batches:
                        yield batch
            except StorageUnavailable:
                del reading.seen[run.run_id]
                raise

    async def _begun(self, place: _Place, reading: _Reading) -> Sequence[Run]:
        """Return the runs that have events and are not known yet, in the order of their numbers.

        That is the order in which they have begun, or have ended without having begun: of two runs
        in the queue the later one may be cancelled first.
        """
        new: Sequence[Run] = []
        for limit in _RUNS if reading.seen else _RUNS[-1:]:
            try:
                runs = await self._storage.runs.list(
                    place.thread_id, limit=limit, offset=0, status=None, access=place.access
                )
            except ThreadNotFound:
                return []
            new = [run for run in runs if run.run_id not in reading.seen]
            if len(new) < limit and reading.queued.issubset(run.run_id for run in runs):
                break
        reading.queued = frozenset(run.run_id for run in new if run.number_before is None)
        placed = [(run.number_before, run) for run in new if run.number_before is not None]
        return [run for _, run in sorted(placed, key=itemgetter(0))]

    async def _own(self, run: Run, reading: _Reading, *, live: bool) -> Batches:
        """Yield the events of a run that has them in its log."""
        told = Told()
        async with aclosing(self._log(run, live=live)) as batches:
            async for batch in batches:
                found = [numbered(each.event) for each in batch if each.event.mode == PROTOCOL]
                new = reading.new(told.new(found))
                if new:
                    yield new
                if told.ended:
                    break
        unbegun = run.attempt == 0 and not run.active
        if not told.ended and (live or unbegun):
            yield reading.new(told.new(await self._stored_end(run)))

    async def _plain(self, run: Run, reading: _Reading, *, live: bool) -> Batches:
        made = PlainEvents(str(run.run_id), run.graph_id, answered(run.spec.resume))
        async with aclosing(self._log(run, live=live)) as batches:
            async for batch in batches:
                new = reading.new(made.events(batch))
                if new:
                    yield new
        if not made.known:
            return
        with suppress(RunNotFound):
            run = await self._storage.runs.get(run.thread_id, run.run_id)
            if not run.active:
                end = run_end(run.status, run.error, waits=made.interrupted)
                yield reading.new(made.end(*end))

    async def _stored_end(self, run: Run) -> Sequence[Numbered]:
        """Return the stored last events of a run without an end in its log.

        Such a run was cancelled before a worker claimed it, or before another worker went on with
        it, or its worker has died.
        """
        try:
            run = await self._storage.runs.get(run.thread_id, run.run_id)
        except RunNotFound:
            return []
        if run.active or self._clock.now() - run.updated_at > self._keep:
            return []
        return last_events(run, await self._storage.runs.last_events(run.run_id))

    async def _log(self, run: Run, *, live: bool) -> AsyncGenerator[Sequence[StoredEvent]]:
        stream, cursor = str(run.run_id), START
        rest = await self._patience(run) if live else 0.0
        if rest != 0.0:
            reader = self._events.read(stream, cursor)
            try:
                while True:
                    async with asyncio.timeout(rest):
                        batch = await anext(reader)
                    cursor = batch[-1].id
                    yield batch
            except StopAsyncIteration:
                return
            except TimeoutError:
                pass  # on a busy machine also while events are there that have not been read
            finally:
                await reader.aclose()
        reader = self._events.read(stream, cursor)
        reader.drain()
        async with aclosing(reader):
            async for batch in reader:
                yield batch

    async def _patience(self, run: Run) -> float | None:
        """Return how many seconds the log may still take to change; None: any time.

        How a run has ended is logged right after it has been stored.
        """
        try:
            run = await self._storage.runs.get(run.thread_id, run.run_id)
        except RunNotFound:
            return 0.0
        if run.active:
            return None
        past = (self._clock.now() - run.updated_at).total_seconds()
        # Where the clock was set back since, the past would seem to be in the future.
        return min(max(_GRACE_SECONDS - past, 0.0), _GRACE_SECONDS)

    async def _news(self, hints: Listener, thread_id: UUID) -> None:
        """Return when a run of the thread may have begun."""
        wanted = {str(thread_id), ""}  # hints may have been missed where none names a thread
        until = self._clock.monotonic() + _POLL_SECONDS
        while (rest := until - self._clock.monotonic()) > 0:
            if any(payload in wanted for _, payload in await hints.wait(rest)):
                return
