"""Reading pieces of the log for readers that are not at its end."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import TypeAlias

from loomline.server.domain.events import EventId, StoredEvent
from loomline.server.events.redis.link import Answer, Away, IoThread, Link
from loomline.server.events.redis.options import Keys
from loomline.server.events.redis.wire import (
    Chunk,
    Command,
    Entry,
    chunk,
    entries_of,
    last_event,
)

_ENTRIES = 16
"""Entries of one piece: at most 4 MB with the largest batches, and more for larger events."""

_AT_ONCE = 8

SECONDS = 5.0
"""For how long an answer may take: pieces of a log may be large and the way narrow."""


_Request: TypeAlias = tuple[Command, Answer[object]]


class Fetcher:
    """Asks for all readers of the process on one connection, a few of them at once.

    The connection is not the writer's: whoever replays a long log must not delay new events.
    """

    def __init__(self, io: IoThread, link: Link, keys: Keys) -> None:
        self._io = io
        self._link = link
        self._keys = keys
        self._requests: deque[_Request] = deque()
        self._work = asyncio.Event()

    async def piece(self, stream: str, after: EventId) -> Chunk:
        """Return the beginning of what comes after a cursor.

        Raises:
            Away: the server cannot be reached.
        """
        command = ("XRANGE", self._keys.events(stream), f"({after}", "+", "COUNT", _ENTRIES)
        return chunk(await self._entries(command), after)

    async def newest(self, stream: str) -> StoredEvent | None:
        """Return the last event of a stream.

        Raises:
            Away: the server cannot be reached.
        """
        # Behind the last event there is the mark of the end, and maybe one of a gap.
        command = ("XREVRANGE", self._keys.events(stream), "+", "-", "COUNT", 3)
        return last_event(await self._entries(command))

    async def ping(self) -> None:
        """Return if the server answers.

        Raises:
            Away: it does not.
        """
        await self._ask(("PING",))

    async def fetch(self) -> float:
        """Answer the requests that wait. Belongs to the I/O loop."""
        await self._work.wait()
        self._work.clear()
        while batch := self._next():
            await self._exchange(batch)
        return 0.0

    def _next(self) -> list[_Request]:
        """Take some requests that somebody still waits for."""
        found: list[_Request] = []
        while self._requests and len(found) < _AT_ONCE:
            request = self._requests.popleft()
            if not request[1].abandoned:
                found.append(request)
        return found

    async def _entries(self, command: Command) -> Sequence[Entry]:
        found = await self._ask(command)
        if not isinstance(found, list):
            raise Away(f"it refuses: {found}")
        return entries_of(found)

    async def _ask(self, command: Command) -> object:
        answer: Answer[object] = Answer()
        self._requests.append((command, answer))
        self._io.post(self._work.set)
        found = await answer
        if isinstance(found, Away):
            raise found
        return found

    async def _exchange(self, requests: Sequence[_Request]) -> None:
        try:
            answers = await self._link.execute([command for command, _ in requests])
        except Away as error:
            # The others would only wait as long for the same answer, one after the other.
            requests = [*requests, *self._requests]
            self._requests.clear()
            answers = [error] * len(requests)
        for (_, answer), found in zip(requests, answers, strict=True):
            answer.give(found)
