"""The one connection that waits for events of all streams anybody in this process reads."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
import uuid
from collections.abc import Callable, Sequence

from loomline.server.domain.errors import EventsLost, EventsUnavailable
from loomline.server.domain.events import START, EventId, StoredEvent
from loomline.server.events.redis.link import Away, Link, link_pauses
from loomline.server.events.redis.options import Keys, RedisOptions
from loomline.server.events.redis.windows import Elsewhere, Ending, Window
from loomline.server.events.redis.wire import (
    Command,
    Entry,
    chunk,
    entries_of,
    event_id,
    optional_id,
    streams_of,
)
from loomline.server.events.waiting import wake

logger: logging.Logger = logging.getLogger("loomline.events")

UNREACHABLE = (
    "The event server cannot be reached at the moment. The run goes on; join it again later, or"
    " wait for its result."
)
_DATA_LOST = (
    "The event server has lost its data, and events of this run with it. The run goes on; join it"
    " again, or wait for its result."
)

_BLOCK_SECONDS = 0.5
"""A connection that has died without a word is noticed by the answer that does not come."""

_ENTRIES = 16
"""Entries of one stream that come at most at once."""


class Follower:
    """Windows and endings, and the loop that fills them. Any thread may join and leave.

    A stream that joins while the loop waits for others has to be told to the server, so the loop
    also follows a stream of its own, the bell, and is woken by an entry there. Like everything
    else it can be neither missed nor overtaken.
    """

    def __init__(
        self,
        link: Link,
        keys: Keys,
        name: str,
        options: RedisOptions,
        *,
        ring: Callable[[Sequence[Command]], None],
    ) -> None:
        self._link = link
        self._keys = keys
        self._options = options
        self._ring = ring
        self._bell = keys.bell(name)
        self._heard = START
        self._lock = threading.Lock()
        self._windows: dict[str, Window] = {}
        self._endings: dict[str, Ending] = {}
        self._asked: frozenset[str] | None = None
        self._epoch: object = None
        self._newest = START
        self._losses = 0
        self._away_since: float | None = None
        self._pauses = link_pauses()

    @property
    def size(self) -> int:
        """How many streams are followed, or their ends."""
        return len(self._windows) + len(self._endings)

    @property
    def losses(self) -> int:
        """How often the server has lost its data, as far as this process has noticed."""
        return self._losses

    # ------------------------------------------------------------------- for readers

    def join(self, stream: str, cursor: EventId, losses: int | None) -> Window:
        """Follow a stream from a position that is known to be the end of the log.

        Args:
            stream: Which stream.
            cursor: The position.
            losses: What ``losses`` was when the reader was made; None: the server knew nothing of
                the stream, so that there was nothing to lose.

        Raises:
            EventsLost: there has been a loss since then.
        """
        key = self._keys.events(stream)
        with self._lock:
            self._compare(losses)
            window = self._windows.get(key)
            if window is None:
                window = self._windows[key] = Window(stream, cursor, cursor)
            window.readers += 1
            ring = self._must_ring(key)
        if ring:
            self._ring(self._bell_commands())
        return window

    def take(
        self, window: Window, cursor: EventId
    ) -> list[StoredEvent] | Elsewhere | asyncio.Future[None]:
        """Return events, or a future to wait on for them, or where else they are.

        Raises:
            EventsLost: the stream cannot be followed any more.
        """
        with self._lock:
            found = window.take(cursor)
            if found is not Elsewhere.WAIT:
                return found
            future = asyncio.get_running_loop().create_future()
            window.waiting.append(future)
            return future

    def leave(self, window: Window, future: asyncio.Future[None] | None) -> None:
        key = self._keys.events(window.stream)
        with self._lock:
            window.readers -= 1
            if future in window.waiting:
                window.waiting.remove(future)
            if not window.readers and self._windows.get(key) is window:
                del self._windows[key]

    async def ended(self, stream: str, losses: int | None) -> None:
        """Return once a stream is closed; ``losses`` is as for ``join``.

        Raises:
            EventsLost: that cannot be told any more.
        """
        key = self._keys.end(stream)
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        with self._lock:
            self._compare(losses)
            ending = self._endings.setdefault(key, Ending(stream))
            ending.known |= losses is not None
            ending.waiting.append(future)
            ring = self._must_ring(key)
        if ring:
            self._ring(self._bell_commands())
        try:
            await future
        finally:
            self._leave_ending(key, ending, future)
        if ending.failure is not None:
            raise ending.failure

    def _compare(self, losses: int | None) -> None:
        # Who was on the way while the data went would wait for what has gone with it.
        if losses is not None and losses != self._losses:
            raise EventsLost(_DATA_LOST)

    def _leave_ending(self, key: str, ending: Ending, future: asyncio.Future[None]) -> None:
        with self._lock:
            if future in ending.waiting:
                ending.waiting.remove(future)
            if not ending.waiting and self._endings.get(key) is ending:
                del self._endings[key]

    def _must_ring(self, key: str) -> bool:
        """Return whether the loop waits for streams without this one. One ring is enough."""
        if self._asked is None or key in self._asked:
            return False
        self._asked = None
        return True

    def _bell_commands(self) -> Sequence[Command]:
        return (
            ("XADD", self._bell, "MAXLEN", 1, "*", "ring", ""),
            ("PEXPIRE", self._bell, 3_600_000),
        )

    # ------------------------------------------------------------------- on the I/O loop

    async def follow(self) -> float:
        """Take in the next entries of all streams."""
        try:
            if self._epoch is None or not self._link.connected:
                await self._connect()
            self._take_in(await self._ask())
        except Away as error:
            self._note_away(error)
            return self._pauses.after_failure()
        self._away_since = None
        self._pauses.reset()
        return 0.0

    async def _connect(self) -> None:
        """Connect, and find out whether the server still has what it had.

        Raises:
            Away: it cannot be reached.
        """
        clock = self._keys.clock
        _, known = await self._link.execute(
            [
                ("HSETNX", clock, "epoch", uuid.uuid4().hex),
                ("HMGET", clock, "epoch", "id"),
            ]
        )
        self._heard = START
        if not isinstance(known, list):
            raise Away(f"it refuses: {known}")
        epoch, newest = known[0], optional_id(known[1]) or START
        if self._epoch is not None and (epoch != self._epoch or newest < self._newest):
            logger.error("the event server has lost data")
            with self._lock:
                self._losses += 1
            self._fail_all(EventsLost(_DATA_LOST), EventsLost(_DATA_LOST), new_too=False)
        self._epoch, self._newest = epoch, newest

    async def _ask(self) -> object:
        cursors = self._cursors()
        command: Command = (
            *("XREAD", "COUNT", _ENTRIES, "BLOCK", int(_BLOCK_SECONDS * 1000), "STREAMS"),
            *(self._bell, *cursors),
            *(str(self._heard), *cursors.values()),
        )
        seconds = _BLOCK_SECONDS + self._options.answer_seconds
        try:
            (answer,) = await self._link.execute([command], seconds)
        finally:
            with self._lock:
                self._asked = None
        if isinstance(answer, Exception):
            raise Away(f"it refuses: {answer}")
        return answer

    def _cursors(self) -> dict[str, str]:
        with self._lock:
            cursors = {key: str(window.end) for key, window in self._windows.items()}
            cursors |= dict.fromkeys(self._endings, str(START))
            self._asked = frozenset(cursors)
        return cursors

    def _take_in(self, answer: object) -> None:
        woken: list[asyncio.Future[None]] = []
        with self._lock:
            for raw_key, entries in streams_of(answer):
                woken += self._hear(raw_key.decode(), entries)
        wake(woken)

    def _hear(self, key: str, entries: Sequence[Entry]) -> Sequence[asyncio.Future[None]]:
        """Take in what one stream says; return who waits for it. The lock is held."""
        if key == self._bell:
            self._heard = event_id(entries[-1][0])
        elif key in self._windows:
            return self._fill(key, entries)
        elif key in self._endings:
            return self._finish(self._endings.pop(key))
        return ()

    def _fill(self, key: str, entries: Sequence[Entry]) -> list[asyncio.Future[None]]:
        window = self._windows[key]
        found = chunk(entries_of(entries), window.end)
        self._newest = max(self._newest, found.end)
        window.add(found, self._options)
        if found.gap or found.cut:
            # Further on: whoever is at the place is behind now, and finds it in the log.
            window.end = event_id(entries[-1][0])
            window.forget()
        if window.closed:
            del self._windows[key]
        return window.all_waiting()

    @staticmethod
    def _finish(ending: Ending) -> list[asyncio.Future[None]]:
        ending.over = True
        return ending.waiting.copy()

    def _note_away(self, error: Away) -> None:
        now = time.monotonic()
        if self._away_since is None:
            logger.warning("the connection for events is lost: %s", error)
            self._away_since = now
        away = now - self._away_since
        if away >= self._options.wait_patience_seconds:
            late = away >= self._options.read_patience_seconds
            failure = EventsUnavailable(UNREACHABLE)
            self._fail_all(failure if late else None, failure)

    def _fail_all(
        self, events: EventsLost | None, ends: EventsLost, *, new_too: bool = True
    ) -> None:
        """End all waiting for ends, and (unless None) all following of events.

        Without ``new_too`` streams of which nothing is known yet are left alone: should they have
        begun after all, whoever writes them leaves a gap.
        """
        woken: list[asyncio.Future[None]] = []
        with self._lock:
            for key, ending in list(self._endings.items()):
                if new_too or ending.known:
                    ending.failure = ends
                    woken += ending.waiting
                    del self._endings[key]
            for key, window in list(self._windows.items()):
                if events is not None and (new_too or window.end > START):
                    window.failure = events
                    woken += window.all_waiting()
                    del self._windows[key]
        wake(woken)
