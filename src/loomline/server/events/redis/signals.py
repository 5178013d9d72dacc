"""Signals between processes, on Redis pub/sub."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from loomline.server.events.hints import HintBox
from loomline.server.events.redis.link import Answer, Away, IoThread, Link, link_pauses
from loomline.server.events.redis.options import Keys, RedisOptions
from loomline.server.events.redis.wire import Command

logger: logging.Logger = logging.getLogger("loomline.events")

_SILENCE_SECONDS = 1.0
"""After so much silence the server is asked whether it is there."""


class RedisSignals:
    """``Signals`` among all processes of one server, usable from all threads of each.

    Listeners in this process get a hint at once, whatever the server does; those in others get it
    through the server, or never. Hints are not kept for a server that is away. When the connection
    has been lost and is back, every listener gets each of its topics without payload: it cannot
    know what it missed.
    """

    def __init__(
        self,
        io: IoThread,
        link: Link,
        keys: Keys,
        name: str,
        options: RedisOptions,
        *,
        send: Callable[[Command], None],
    ) -> None:
        self._io = io
        self._link = link
        self._keys = keys
        self._name = name
        self._options = options
        self._send = send
        self._lock = threading.Lock()
        self._listeners: frozenset[HintBox] = frozenset()
        self._topics: dict[str, str] = {}
        self._wanted = asyncio.Event()
        self._subscribed: set[str] = set()
        self._confirmed: dict[str, list[Answer[None]]] = {}
        self._silent = self._hearing = self._again = False
        self._pauses = link_pauses()

    async def publish(self, topic: str, payload: str = "") -> None:
        self._offer(topic, payload)
        self._send(("PUBLISH", self._keys.channel(topic), f"{self._name}\0{payload}"))

    @asynccontextmanager
    async def listen(self, *topics: str) -> AsyncIterator[HintBox]:
        """Listen; after a moment of waiting for the server also if it does not answer."""
        listener = HintBox(frozenset(topics))
        with self._lock:
            self._listeners |= {listener}
        try:
            await self._subscribe(topics)
            yield listener
        finally:
            with self._lock:
                self._listeners -= {listener}

    async def hear(self) -> float:
        """Take in the next message of another process. Belongs to the I/O loop."""
        await self._wanted.wait()
        hearing, self._hearing = self._hearing, False
        try:
            if not hearing:
                await self._begin()
            await self._hear()
        except Away as error:
            if not self._again:
                logger.warning("the connection for signals is lost: %s", error)
            self._again = True
            return self._pauses.after_failure()
        self._hearing = True
        return 0.0

    def _offer(self, topic: str, payload: str) -> None:
        for listener in self._listeners:
            if topic in listener.topics:
                listener.offer(topic, payload)

    async def _subscribe(self, topics: tuple[str, ...]) -> None:
        answers = []
        with self._lock:
            for topic in topics:
                channel = self._keys.channel(topic)
                self._topics[channel] = topic
                if channel not in self._subscribed:
                    answers.append(Answer[None]())
                    self._confirmed.setdefault(channel, []).append(answers[-1])
        if not answers:
            return
        self._io.post(self._want)
        try:
            async with asyncio.timeout(self._options.answer_seconds):
                for answer in answers:
                    await answer
        except TimeoutError:
            return

    def _want(self) -> None:
        """Subscribe to what is new; a connection that is not there will subscribe to everything."""
        first = not self._wanted.is_set()
        self._wanted.set()
        if not first and self._link.connected:
            task = asyncio.get_running_loop().create_task(self._ask_for(self._missing()))
            task.add_done_callback(_forget)

    def _missing(self) -> list[str]:
        with self._lock:
            return [channel for channel in self._topics if channel not in self._subscribed]

    async def _ask_for(self, channels: list[str]) -> None:
        if channels:
            await self._link.send([("SUBSCRIBE", *channels)])

    async def _begin(self) -> None:
        with self._lock:
            self._subscribed.clear()
        self._silent = False
        await self._ask_for(self._missing())

    async def _hear(self) -> None:
        said = await self._link.receive(_SILENCE_SECONDS)
        if said is None:
            await self._break_silence()
            return
        self._silent = False
        self._pauses.reset()
        self._take_in(said)

    async def _break_silence(self) -> None:
        """Ask a silent server whether it is there.

        Raises:
            Away: it has been asked before.
        """
        if self._silent:
            await self._link.drop()
            raise Away("it does not answer")
        self._silent = True
        # A topic may have been wanted while this connection was being made.
        await self._ask_for(self._missing())
        await self._link.send([("PING",)])

    def _take_in(self, said: object) -> None:
        match said:
            case [b"message", bytes(channel), bytes(data)]:
                sender, _, payload = data.decode().partition("\0")
                topic = self._topics.get(channel.decode())
                if topic is not None and sender != self._name:
                    self._offer(topic, payload)
            case [b"subscribe", bytes(channel), _]:
                self._confirm(channel.decode())

    def _confirm(self, channel: str) -> None:
        with self._lock:
            self._subscribed.add(channel)
            answers = self._confirmed.pop(channel, [])
        for answer in answers:
            answer.give(None)
        if self._again:
            self._offer(self._topics[channel], "")


def _forget(task: asyncio.Task[None]) -> None:
    """Look at a failure so that nobody complains: the connection is made again anyway."""
    if not task.cancelled():
        task.exception()
