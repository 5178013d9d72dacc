"""Reading pieces of the log for readers that are not at its end."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence

from weft.server.domain.events import START, EventId, StoredEvent
from weft.server.events.redis.link import Answer, Away, IoThread, Link
from weft.server.events.redis.options import Keys
from weft.server.events.redis.reader import Piece
from weft.server.events.redis.wire import (
    Command,
    chunk,
    entries_of,
    last_event,
    optional_id,
)

_ENTRIES = 16
"""Entries of one piece: at most 4 MB with the largest batches, and more for larger events."""

_AT_ONCE = 8

_Commands = Sequence[Command]
_Answers = list[object]


class Fetcher:
    """Asks for all readers of the process on one connection, a few of them at once.

    The connection is not the writer's: whoever replays a long log must not delay new events.
    """

    def __init__(self, io: IoThread, link: Link, keys: Keys) -> None:
        self._io = io
        self._link = link
        self._keys = keys
        self._requests: deque[tuple[_Commands, Answer[_Answers | Away]]] = deque()
        self._work = asyncio.Event()

    async def piece(self, stream: str, after: EventId) -> Piece:
        """Return the beginning of what comes after a cursor.

        Raises:
            Away: the server cannot be reached.
        """
        answers = await self._ask(
            [
                ("MULTI",),
                ("XRANGE", self._keys.events(stream), f"({after}", "+", "COUNT", _ENTRIES),
                ("HGET", self._keys.meta(stream), "trimmed"),
                ("EXEC",),
            ]
        )
        both = answers[-1]
        if not isinstance(both, list):
            raise Away(f"it refuses: {both}")
        return Piece(chunk(entries_of(both[0]), after), optional_id(both[1]) or START)

    async def newest(self, stream: str) -> StoredEvent | None:
        """Return the last event of a stream.

        Raises:
            Away: the server cannot be reached.
        """
        # Behind the last event there is the mark of the end, and maybe one of a gap.
        command = ("XREVRANGE", self._keys.events(stream), "+", "-", "COUNT", 3)
        (entries,) = await self._ask([command])
        if not isinstance(entries, list):
            raise Away(f"it refuses: {entries}")
        return last_event(entries_of(entries))

    async def ping(self) -> None:
        """Return if the server answers.

        Raises:
            Away: it does not.
        """
        await self._ask([("PING",)])

    async def run(self) -> None:
        """Ask for ever. Belongs to the I/O loop."""
        while True:
            await self._work.wait()
            self._work.clear()
            while self._requests:
                count = min(_AT_ONCE, len(self._requests))
                await self._exchange([self._requests.popleft() for _ in range(count)])

    async def _ask(self, commands: _Commands) -> _Answers:
        answer: Answer[_Answers | Away] = Answer()
        self._requests.append((commands, answer))
        self._io.post(self._work.set)
        found = await answer
        if isinstance(found, Away):
            raise found
        return found

    async def _exchange(
        self, requests: Sequence[tuple[_Commands, Answer[_Answers | Away]]]
    ) -> None:
        try:
            answers = await self._link.execute([each for some, _ in requests for each in some])
        except Away as error:
            for _, answer in requests:
                answer.give(error)
            return
        start = 0
        for commands, answer in requests:
            answer.give(answers[start : start + len(commands)])
            start += len(commands)
