"""The event log on Redis."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from loomline.server.domain.events import Cursor, Event
from loomline.server.events.redis.fetcher import Fetcher
from loomline.server.events.redis.follower import Follower
from loomline.server.events.redis.link import Answer
from loomline.server.events.redis.options import RedisOptions
from loomline.server.events.redis.reader import RedisReader, Source
from loomline.server.events.redis.writer import Writer
from loomline.server.ports.events import EventReader


class RedisEventLog:
    """An ``EventLog`` that all processes share, usable from all threads of each.

    ``append`` hands events over and returns; they are on the server a few milliseconds later, in
    order. ``close``, ``reopen``, ``discard`` and ``flush`` return once the server has done that and
    everything before it, or after ``answer_seconds``; then it is done as soon as the server is
    back. None of them fails because the server is away.

    While it is away, up to ``pending_events`` or ``pending_bytes`` of each stream are kept. Beyond
    that they are dropped and a gap takes their place: readers that come to it get ``EventsLost``,
    those that begin after it or wait for the end do not notice. The same happens when the server
    comes back without its data. The run goes on in any case, and its outcome is in the database.

    Readers of events wait ``read_patience_seconds`` for a server that is away and go on where they
    were; readers of the end are told after ``wait_patience_seconds``, to look into the database.
    """

    def __init__(
        self, writer: Writer, follower: Follower, fetcher: Fetcher, options: RedisOptions
    ) -> None:
        self._writer = writer
        self._follower = follower
        self._fetcher = fetcher
        self._options = options

    @property
    def size(self) -> int:
        """How many streams this process follows or has something to send to."""
        return self._writer.size + self._follower.size

    async def append(self, stream: str, events: Sequence[Event], fence: int = 0) -> None:
        if events:
            await self._writer.append(stream, events, fence)

    def read(self, stream: str, after: Cursor) -> EventReader:
        source = Source(
            look=partial(self._writer.look, stream),
            piece=partial(self._fetcher.piece, stream),
            newest=partial(self._fetcher.newest, stream),
        )
        return RedisReader(stream, after, source, self._follower, self._options)

    async def flush(self, stream: str) -> bool:
        return await self._done(self._writer.flush(stream))

    async def close(self, stream: str, keep_seconds: float) -> None:
        await self._done(self._writer.close(stream, keep_seconds))

    async def reopen(self, stream: str) -> None:
        await self._done(self._writer.reopen(stream))

    async def discard(self, stream: str) -> None:
        await self._done(self._writer.discard(stream))

    async def _done(self, answer: Answer[object]) -> bool:
        try:
            await answer.within(self._options.answer_seconds)
        except TimeoutError:
            return False
        return True
