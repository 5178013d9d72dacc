"""The event log, watched by the database: nobody waits for the end of a run that is over."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from uuid import UUID

from weft.server.domain.errors import EventsLost, EventsUnavailable, StorageUnavailable
from weft.server.domain.events import START, Cursor, Event, StoredEvent
from weft.server.ports.clock import Clock
from weft.server.ports.events import EventLog, EventReader
from weft.server.ports.storage import Storage

logger: logging.Logger = logging.getLogger("weft.runs")

LOOK_SECONDS = 1.0
"""How often the database is asked about the runs that are read, all of them at once."""

_KEEP_SECONDS = 30.0

_AT_ONCE = 10_000


@dataclass(eq=False, slots=True)
class _Watched:
    """A run that somebody reads. ``suspected``: it was over already when last looked at."""

    readers: int = 0
    suspected: bool = False
    over: asyncio.Event = field(default_factory=asyncio.Event)


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
        self._clock = clock
        self._watched: dict[UUID, _Watched] = {}
        self._task: asyncio.Task[None] | None = None

    @property
    def readers(self) -> int:
        """How many readers wait for something at this moment."""
        return sum(watched.readers for watched in self._watched.values())

    def start(self) -> None:
        self._task = asyncio.create_task(self._look_again_and_again(), name="run watch")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def append(self, stream: str, events: Sequence[Event], fence: int = 0) -> None:
        await self._log.append(stream, events, fence)

    async def flush(self, stream: str) -> None:
        await self._log.flush(stream)

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
    def watching(self, run_id: UUID) -> Iterator[asyncio.Event]:
        """Watch a run; the event is set when it is over."""
        watched = self._watched.setdefault(run_id, _Watched())
        watched.readers += 1
        try:
            yield watched.over
        finally:
            watched.readers -= 1
            if not watched.readers and self._watched.get(run_id) is watched:
                del self._watched[run_id]

    async def _look_again_and_again(self) -> None:
        while True:
            await self._clock.sleep(LOOK_SECONDS)
            try:
                await self._look()
            except StorageUnavailable as error:
                logger.warning("the database is away: %s", error)
            except Exception:  # a bug in one round must not end the watch
                logger.exception("looking after the runs that are read failed")

    async def _look(self) -> None:
        run_ids = list(self._watched)
        for start in range(0, len(run_ids), _AT_ONCE):
            for run_id in await self._storage.runs.over(run_ids[start : start + _AT_ONCE]):
                await self._found_over(run_id)

    async def _found_over(self, run_id: UUID) -> None:
        watched = self._watched.get(run_id)
        if watched is None:
            return
        if watched.suspected and not watched.over.is_set():
            # What its worker has appended was in the log before the database knew of the end.
            logger.info("a log is closed in place of its worker", extra={"run_id": str(run_id)})
            watched.over.set()
            await self._log.close(str(run_id), _KEEP_SECONDS)
        watched.suspected = True


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
        """Return the last event; while the log is away, wait for what the database says."""
        with self._watch.watching(self._run_id) as over:
            while True:
                try:
                    return await self._reader.last()
                except EventsUnavailable:
                    with suppress(TimeoutError):
                        await asyncio.wait_for(over.wait(), LOOK_SECONDS)
                if over.is_set():
                    raise EventsLost
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
