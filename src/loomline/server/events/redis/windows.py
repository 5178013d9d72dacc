"""What a process holds of the streams it follows: their newest events, for all readers together."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from dataclasses import dataclass, field
from enum import Enum

from loomline.server.domain.errors import EventsLost
from loomline.server.domain.events import EventId, StoredEvent
from loomline.server.events.redis.options import RedisOptions
from loomline.server.events.redis.wire import Chunk


class Elsewhere(Enum):
    """Why a window has no events for a reader."""

    BEHIND = "they are in the log, before what the window holds"
    OVER = "the stream is closed and everything has been read"
    WAIT = "they have not happened yet"


@dataclass(eq=False, slots=True)
class Window:
    """The events of a stream after ``start`` and up to ``end``, without gaps.

    It holds no more than the bounds: a reader that is slower than the window moves goes back to
    the log. So nothing piles up for anybody. Guarded by the lock of the follower.
    """

    stream: str
    start: EventId
    end: EventId
    events: list[StoredEvent] = field(default_factory=list)
    bytes: int = 0
    closed: bool = False
    failure: EventsLost | None = None
    readers: int = 0
    waiting: list[asyncio.Future[None]] = field(default_factory=list)

    def take(self, cursor: EventId) -> list[StoredEvent] | Elsewhere:
        """Return the events after a cursor, or where they are.

        Raises:
            EventsLost: the stream cannot be followed any more.
        """
        if self.failure is not None:
            raise self.failure
        if cursor < self.start:
            return Elsewhere.BEHIND
        found = self.events[bisect_right(self.events, cursor, key=_id) :]
        if not found:
            return Elsewhere.OVER if self.closed else Elsewhere.WAIT
        if self.readers == 1:
            self.forget()
        return found

    def add(self, chunk: Chunk, options: RedisOptions) -> None:
        """Take what has come. A gap is left to the log: readers come to it there."""
        self.events += chunk.events
        self.bytes += sum(len(stored.event.data) for stored in chunk.events)
        self.end = chunk.end
        self.closed = chunk.closed
        if len(self.events) > options.window_events or self.bytes > options.window_bytes:
            self.forget()

    def forget(self) -> None:
        self.start = self.end
        self.events = []
        self.bytes = 0

    def all_waiting(self) -> list[asyncio.Future[None]]:
        waiting, self.waiting = self.waiting, []
        return waiting


@dataclass(eq=False, slots=True)
class Ending:
    """The end of a stream, for those who wait for nothing else.

    ``known``: one of them has found something of the stream on the server.
    """

    stream: str
    known: bool = False
    over: bool = False
    failure: EventsLost | None = None
    waiting: list[asyncio.Future[None]] = field(default_factory=list)


def _id(stored: StoredEvent) -> EventId:
    return stored.id
