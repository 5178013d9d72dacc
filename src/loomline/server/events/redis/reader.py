"""The iterator that ``RedisEventLog.read`` returns."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from loomline.server.domain.errors import EventsLost, EventsUnavailable
from loomline.server.domain.events import START, Cursor, EventId, Live, StoredEvent
from loomline.server.events.redis.follower import UNREACHABLE, Follower
from loomline.server.events.redis.link import Answer, Away
from loomline.server.events.redis.options import RedisOptions
from loomline.server.events.redis.windows import Elsewhere, Window
from loomline.server.events.redis.wire import Chunk, optional_id

Result = TypeVar("Result")

_PAUSE_SECONDS = 0.1

_TRIES = 20
"""A window and a log that send a reader to each other have lost the events between them."""

_GAP = (
    "Events of this run are lost: the event server was away for too long. The run goes on; join it"
    " again for what comes, or wait for its result."
)


@dataclass(frozen=True, slots=True)
class Source:
    """What a reader uses to look at a stream. All raise ``Away`` if the server is."""

    look: Callable[[], Answer[object]]
    piece: Callable[[EventId], Awaitable[Chunk]]
    newest: Callable[[], Awaitable[StoredEvent | None]]


class RedisReader:
    """Reads the log up to its end, then waits at a window of the follower for what comes.

    Both are positions in the same log: whenever the window has moved on without the reader, or
    holds a gap, the reader goes back to the log. Nothing is kept for a reader that does not read.
    """

    def __init__(
        self,
        stream: str,
        after: Cursor,
        source: Source,
        follower: Follower,
        options: RedisOptions,
    ) -> None:
        self._stream = stream
        self._source = source
        self._follower = follower
        self._options = options
        self._after = after
        self._losses: int | None = follower.losses
        self._look = source.look()
        self._cursor: EventId | None = None
        self._settled: Answer[object] | None = None
        self._closed = False
        self._at_end = False
        self._window: Window | None = None
        self._future: asyncio.Future[None] | None = None
        self._follow = True
        self._over = False

    def __aiter__(self) -> RedisReader:
        return self

    async def __anext__(self) -> Sequence[StoredEvent]:
        if self._over:
            raise StopAsyncIteration
        try:
            events = await self._next()
        except BaseException:
            self._leave()
            raise
        if not events:
            self._leave()
            raise StopAsyncIteration
        self._cursor = events[-1].id
        return events

    async def last(self) -> StoredEvent | None:
        if self._over:
            return None
        patience = self._options.wait_patience_seconds
        try:
            cursor = await self._position(patience)
            if self._follow and not self._closed:
                await self._follower.ended(self._stream, self._losses)
            found = await self._patiently(self._source.newest, patience)
            return found if found is not None and found.id > cursor else None
        finally:
            self._leave()

    def drain(self) -> None:
        self._follow = False
        # What this process has handed in up to now precedes the answer.
        self._settled = self._source.look()

    async def aclose(self) -> None:
        self._leave()

    async def _next(self) -> Sequence[StoredEvent]:
        """Return the next events; none: the stream is over."""
        patience = self._options.read_patience_seconds
        cursor = await self._position(patience)
        for _ in range(_TRIES):
            if self._follow and self._at_end:
                self._join(cursor)
            if self._follow and self._window is not None:
                found = await self._from_window(self._window, cursor)
                if found is not None:
                    return found
            piece = await self._patiently(lambda: self._source.piece(cursor), patience)
            found = self._from_log(piece)
            if found is not None:
                return found
            self._leave_window()
            self._at_end = True
        raise EventsLost

    def _from_log(self, piece: Chunk) -> Sequence[StoredEvent] | None:
        """Return the events of a piece, none if it ends the stream; None: there are none yet."""
        if piece.cut:
            raise EventsLost
        if piece.events:
            return piece.events
        if piece.gap:
            raise EventsLost(_GAP)
        return [] if piece.closed or not self._follow else None

    async def _from_window(self, window: Window, cursor: EventId) -> Sequence[StoredEvent] | None:
        """Return the next events, none if the stream is over; None: they are in the log."""
        while True:
            found = self._follower.take(window, cursor)
            if isinstance(found, asyncio.Future):
                self._future = found
                await found
                self._future = None
            elif isinstance(found, list):
                return found
            else:
                return [] if found is Elsewhere.OVER else None

    async def _position(self, patience: float) -> EventId:
        """Return the cursor; at first, what it was when the reader was made.

        Raises:
            EventsUnavailable: the server does not tell in time.
        """
        if self._cursor is None:
            last, self._closed, trimmed = await self._state(self._look, patience)
            end = last or START
            if end == trimmed == START and not self._closed:
                self._losses = None
            # An id of the future is no position: it would hide what comes before it.
            after = end if isinstance(self._after, Live) else min(self._after, end)
            self._cursor = max(after, trimmed)
            self._at_end = not self._closed and end <= self._cursor
        settled, self._settled = self._settled, None
        if settled is not None:
            await self._state(settled, patience)
        return self._cursor

    async def _state(
        self, look: Answer[object], patience: float
    ) -> tuple[EventId | None, bool, EventId]:
        try:
            state = await look.within(patience)
        except TimeoutError:
            raise EventsUnavailable(UNREACHABLE) from None
        if not isinstance(state, list):  # it has been logged where it was received
            raise EventsUnavailable(UNREACHABLE)
        last, closed, trimmed = state
        return optional_id(last), closed is not None, optional_id(trimmed) or START

    async def _patiently(self, ask: Callable[[], Awaitable[Result]], patience: float) -> Result:
        timeout = asyncio.timeout(patience)
        try:
            async with timeout:
                while True:
                    try:
                        return await ask()
                    except Away:
                        await asyncio.sleep(_PAUSE_SECONDS)
        except TimeoutError:
            raise EventsUnavailable(UNREACHABLE) from None

    def _join(self, cursor: EventId) -> None:
        self._at_end = False
        if self._window is None:
            self._window = self._follower.join(self._stream, cursor, self._losses)

    def _leave_window(self) -> None:
        window, self._window = self._window, None
        future, self._future = self._future, None
        if window is not None:
            self._follower.leave(window, future)

    def _leave(self) -> None:
        self._over = True
        self._leave_window()
