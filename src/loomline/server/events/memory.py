"""The event log of a single process: lists of events, and readers that wait for the next one."""

from __future__ import annotations

import asyncio
import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

from loomline.server.domain.errors import EventsLost
from loomline.server.domain.events import Cursor, Event, EventId, StoredEvent
from loomline.server.events.waiting import wake
from loomline.server.ports.clock import Clock
from loomline.server.ports.events import EventReader

BATCH = 512
"""Events a reader gets at most at once, so that one reader cannot hold the loop for long."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What the log may hold: per stream, and the closed streams in all."""

    events: int = 50_000
    bytes: int = 64 * 1024 * 1024
    closed_bytes: int = 256 * 1024 * 1024


@dataclass(eq=False, slots=True)
class _Stream:
    """Events by position; ``first`` is the position of ``events[0]``."""

    events: list[StoredEvent] = field(default_factory=list)
    first: int = 0
    bytes: int = 0
    closed: bool = False
    fence: int = 0
    readers: int = 0
    waiting: list[asyncio.Future[None]] = field(default_factory=list)
    ending: list[asyncio.Future[None]] = field(default_factory=list)

    @property
    def end(self) -> int:
        return self.first + len(self.events)

    def position_after(self, cursor: EventId) -> int:
        return self.first + bisect_right(self.events, cursor, key=lambda stored: stored.id)

    def all_waiting(self) -> list[asyncio.Future[None]]:
        """Return every future there is, and forget them."""
        futures = self.waiting + self.ending
        self.waiting, self.ending = [], []
        return futures

    def take(self, position: int) -> list[StoredEvent]:
        if position < self.first:
            raise EventsLost
        start = position - self.first
        return self.events[start : start + BATCH]

    def trim(self, bounds: Bounds) -> None:
        """Drop the oldest tenth once a bound is passed: dropping one by one would cost O(n)."""
        if len(self.events) <= bounds.events and self.bytes <= bounds.bytes:
            return
        drop = min(max(1, len(self.events) // 10), len(self.events) - 1)
        self.bytes -= sum(len(stored.event.data) for stored in self.events[:drop])
        del self.events[:drop]
        self.first += drop


class MemoryEventLog:
    """An ``EventLog`` for one process, usable from all of its threads.

    A reader that has caught up leaves a future; the next append resolves it. However many events
    come before the reader's loop gets to run, they cost one wake-up.
    """

    def __init__(self, clock: Clock, bounds: Bounds | None = None) -> None:
        self._clock = clock
        self._bounds = bounds or Bounds()
        self._lock = threading.Lock()
        self._streams: dict[str, _Stream] = {}
        self._closed: OrderedDict[str, float] = OrderedDict()
        self._closed_bytes = 0
        self._last = EventId(0, 0)

    @property
    def size(self) -> int:
        """How many streams there are, closed ones included."""
        return len(self._streams)

    async def append(self, stream: str, events: Sequence[Event], fence: int = 0) -> None:
        with self._lock:
            target = self._open(stream)
            if target.closed or fence < target.fence:
                return
            target.fence = fence
            for event in events:
                target.events.append(StoredEvent(self._next_id(), event))
                target.bytes += len(event.data)
            target.trim(self._bounds)
            waiting, target.waiting = target.waiting, []
        wake(waiting)

    def read(self, stream: str, after: Cursor) -> EventReader:
        with self._lock:
            target = self._open(stream)
            target.readers += 1
            at = target.position_after(after) if isinstance(after, EventId) else target.end
        return _Reader(self, stream, target, at)

    async def flush(self, stream: str) -> bool:  # noqa: ARG002
        """Return at once: what was appended is readable."""
        return True

    async def close(self, stream: str, keep_seconds: float) -> None:
        now = self._clock.monotonic()
        with self._lock:
            target = self._open(stream)
            waiting = self._close(stream, target, now + keep_seconds)
            self._expire(now)
        wake(waiting)

    async def reopen(self, stream: str) -> None:
        with self._lock:
            target = self._streams.get(stream)
            if target is not None and target.closed:
                target.closed = False
                self._forget_closed(stream, target)

    async def discard(self, stream: str) -> None:
        with self._lock:
            target = self._streams.pop(stream, None)
            if target is None:
                return
            if target.closed:
                self._forget_closed(stream, target)
            target.closed = True
            waiting = target.all_waiting()
        wake(waiting)

    def next_batch(
        self, target: _Stream, position: int, *, follow: bool
    ) -> tuple[list[StoredEvent], asyncio.Future[None] | None]:
        """Return what is there, else a future to wait on, else None: the stream is over."""
        with self._lock:
            batch = target.take(position)
            if batch or target.closed or not follow:
                return batch, None
            future = asyncio.get_running_loop().create_future()
            target.waiting.append(future)
            return batch, future

    def last_event(
        self, target: _Stream, position: int, *, follow: bool
    ) -> tuple[StoredEvent | None, asyncio.Future[None] | None]:
        """Return the last event of a stream that is over, or a future to wait on until it is."""
        with self._lock:
            if target.closed or not follow:
                return (target.events[-1] if target.end > position else None), None
            future = asyncio.get_running_loop().create_future()
            target.ending.append(future)
            return None, future

    def leave(self, stream: str, target: _Stream, future: asyncio.Future[None] | None) -> None:
        """Forget a reader; a stream that only readers have touched goes with its last one."""
        with self._lock:
            target.readers -= 1
            for waiting in (target.waiting, target.ending):
                if future in waiting:
                    waiting.remove(future)
            unused = not (target.readers or target.events or target.closed)
            if unused and self._streams.get(stream) is target:
                del self._streams[stream]

    def _open(self, stream: str) -> _Stream:
        target = self._streams.get(stream)
        if target is None:
            target = self._streams[stream] = _Stream()
        return target

    def _close(self, stream: str, target: _Stream, expires: float) -> list[asyncio.Future[None]]:
        if not target.closed:
            target.closed = True
            self._closed_bytes += target.bytes
        self._closed[stream] = expires
        return target.all_waiting()

    def _forget_closed(self, stream: str, target: _Stream) -> None:
        del self._closed[stream]
        self._closed_bytes -= target.bytes

    def _expire(self, now: float) -> None:
        """Forget closed streams whose time is up, and the oldest ones when they weigh too much.

        Streams are looked at in closing order, so one that is kept long shields later ones that
        are kept shortly; the bound on bytes limits what that can cost.
        """
        while self._closed:
            stream, expires = next(iter(self._closed.items()))
            if expires > now and self._closed_bytes <= self._bounds.closed_bytes:
                return
            self._forget_closed(stream, self._streams.pop(stream))

    def _next_id(self) -> EventId:
        milliseconds = int(self._clock.now().timestamp() * 1000)
        last = self._last
        if milliseconds > last.milliseconds:
            self._last = EventId(milliseconds, 0)
        else:
            self._last = EventId(last.milliseconds, last.number + 1)
        return self._last


class _Reader:
    """The iterator that ``MemoryEventLog.read`` returns."""

    def __init__(self, log: MemoryEventLog, stream: str, target: _Stream, position: int) -> None:
        self._log = log
        self._stream = stream
        self._target: _Stream | None = target
        self._position = position
        self._follow = True

    def __aiter__(self) -> _Reader:
        return self

    async def __anext__(self) -> Sequence[StoredEvent]:
        while self._target is not None:
            batch, future = self._log.next_batch(self._target, self._position, follow=self._follow)
            if batch:
                self._position += len(batch)
                return batch
            if future is None:
                self._leave(None)
                break
            try:
                await future
            except asyncio.CancelledError:
                self._leave(future)
                raise
        raise StopAsyncIteration

    async def last(self) -> StoredEvent | None:
        if self._target is None:
            return None
        future = None
        try:
            found, future = self._log.last_event(self._target, self._position, follow=self._follow)
            if future is not None:
                await future
                found, _ = self._log.last_event(self._target, self._position, follow=False)
            return found
        finally:
            self._leave(future)

    def drain(self) -> None:
        self._follow = False

    async def aclose(self) -> None:
        self._leave(None)

    def _leave(self, future: asyncio.Future[None] | None) -> None:
        if self._target is not None:
            self._log.leave(self._stream, self._target, future)
            self._target = None
