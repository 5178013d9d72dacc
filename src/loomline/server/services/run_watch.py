"""The event log, watched by the database: nobody waits for the end of a run that is over."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from uuid import UUID

from loomline.server.domain.errors import EventsLost, EventsUnavailable
from loomline.server.domain.events import START, Cursor, Event, Lost, StoredEvent, ending
from loomline.server.domain.retention import ENDED_SECONDS
from loomline.server.duties import Duty
from loomline.server.ports.clock import Clock
from loomline.server.ports.events import EventLog, EventReader
from loomline.server.ports.storage import Storage

logger: logging.Logger = logging.getLogger("loomline.runs")

LOOK_SECONDS = 1.0
"""How often the database is asked about the runs that are read, all of them at once."""

_LOOKS_OVER = 2
"""A run that is over is told by its log, unless something has gone wrong with that."""

_LOOKS_CLOSE = 10
"""What its worker could not send at once may still come: nothing does after a close."""

_AT_ONCE = 10_000


@dataclass(eq=False, slots=True)
class _Watched:
    """A run that somebody reads. ``looks``: how often it has been found to be over."""

    readers: int = 0
    looks: int = 0
    waiting: set[asyncio.Timeout] = field(default_factory=set)

    @property
    def over(self) -> bool:
        return self.looks >= _LOOKS_OVER

    @asynccontextmanager
    async def unless_over(self) -> AsyncIterator[None]:
        """Wait inside for as long as the run is not over.

        Raises:
            TimeoutError: it is.
        """
        async with asyncio.timeout(0 if self.over else None) as timeout:
            self.waiting.add(timeout)
            try:
                yield
            finally:
                self.waiting.discard(timeout)

    def found_over(self) -> None:
        self.looks += 1
        if self.looks == _LOOKS_OVER:
            for timeout in self.waiting:
                timeout.reschedule(0)


class WatchedEvents:
    """An ``EventLog`` whose readers end when the database says so.

    A worker that dies between storing the end of a run and closing its log, or an event server
    that is away or has lost its data, would leave readers waiting for ever. So while anybody reads
    the log of a run, the database is asked every second whether the run is over; of one that is
    for the second time the log is closed here.
    """

    def __init__(self, log: EventLog, storage: Storage, clock: Clock) -> None:
        self._log = log
        self._storage = storage
        self._watched: dict[UUID, _Watched] = {}
        self._duty = Duty(
            "run watch", self._look, logger=logger, sleep=clock.sleep, after_seconds=LOOK_SECONDS
        )

    @property
    def readers(self) -> int:
        """How many readers wait for something at this moment."""
        return sum(watched.readers for watched in self._watched.values())

    def start(self) -> None:
        self._duty.start()

    async def stop(self) -> None:
        await self._duty.stop()

    async def append(self, stream: str, events: Sequence[Event], fence: int = 0) -> None:
        await self._log.append(stream, events, fence)

    async def flush(self, stream: str) -> bool:
        return await self._log.flush(stream)

    async def close(self, stream: str, keep_seconds: float) -> None:
        await self._log.close(stream, keep_seconds)

    async def reopen(self, stream: str) -> None:
        await self._log.reopen(stream)

    async def discard(self, stream: str) -> None:
        await self._log.discard(stream)

    def read(self, stream: str, after: Cursor) -> EventReader:
        """Return a reader. Logs of anything else than a run are not watched."""
        reader = self._log.read(stream, after)
        run_id = _run_id(stream)
        return reader if run_id is None else _WatchedReader(self, run_id, reader)

    def again(self, run_id: UUID) -> EventReader:
        """Return another reader of a run that does not watch by itself."""
        return self._log.read(str(run_id), START)

    @contextmanager
    def watching(self, run_id: UUID) -> Iterator[_Watched]:
        """Watch a run for somebody who waits for something of it."""
        watched = self._watched.setdefault(run_id, _Watched())
        watched.readers += 1
        try:
            yield watched
        finally:
            watched.readers -= 1
            if not watched.readers and self._watched.get(run_id) is watched:
                del self._watched[run_id]

    async def _look(self) -> float:
        run_ids = list(self._watched)
        for start in range(0, len(run_ids), _AT_ONCE):
            for run_id in await self._storage.runs.over(run_ids[start : start + _AT_ONCE]):
                await self._found_over(run_id)
        return LOOK_SECONDS

    async def _found_over(self, run_id: UUID) -> None:
        watched = self._watched.get(run_id)
        if watched is None:
            return
        watched.found_over()
        if watched.looks == _LOOKS_CLOSE:
            logger.info("a log is closed in place of its worker", extra={"run_id": str(run_id)})
            await self._log.close(str(run_id), ENDED_SECONDS)


class _WatchedReader:
    """Watches while it waits, so that a reader that is never used leaves nothing behind."""

    def __init__(self, watch: WatchedEvents, run_id: UUID, reader: EventReader) -> None:
        self._watch = watch
        self._run_id = run_id
        self._reader = reader

    def __aiter__(self) -> _WatchedReader:
        return self

    async def __anext__(self) -> Sequence[StoredEvent]:
        with self._watch.watching(self._run_id):
            return await anext(self._reader)

    async def last(self) -> StoredEvent | None:
        """Return the last event.

        Raises:
            EventsLost: the run has ended, and the log does not hold its end.
            EventsUnavailable: the run has ended, and the log cannot be reached.
        """
        with self._watch.watching(self._run_id) as watched:
            with suppress(TimeoutError):
                async with watched.unless_over():
                    return await self._last()
            return await self._end_of_open_log()

    async def _end_of_open_log(self) -> StoredEvent | None:
        """Return the end of a run although its log is still open.

        The worker appends the result before it stores the end of the run, so the result is there
        however long the worker takes to close the log.
        """
        self._reader = self._watch.again(self._run_id)
        self._reader.drain()
        found = await self._reader.last()
        if isinstance(ending(found), Lost):
            raise EventsLost
        return found

    async def _last(self) -> StoredEvent | None:
        while True:
            with suppress(EventsUnavailable):
                return await self._reader.last()
            await asyncio.sleep(LOOK_SECONDS)
            self._reader = self._watch.again(self._run_id)

    def drain(self) -> None:
        self._reader.drain()

    async def aclose(self) -> None:
        await self._reader.aclose()


def _run_id(stream: str) -> UUID | None:
    try:
        return UUID(stream)
    except ValueError:
        return None
