"""Event log and signals of one process, and the four connections they share."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Sequence

from loomline.server.domain.errors import EventsUnavailable
from loomline.server.duties import Duties, Duty
from loomline.server.events.redis.fetcher import SECONDS, Fetcher
from loomline.server.events.redis.follower import Follower
from loomline.server.events.redis.link import Answer, Away, IoThread, Link, LoopFactory, link_pauses
from loomline.server.events.redis.log import RedisEventLog
from loomline.server.events.redis.options import Keys, RedisOptions, address
from loomline.server.events.redis.scripts import ALL
from loomline.server.events.redis.signals import RedisSignals
from loomline.server.events.redis.wire import Command
from loomline.server.events.redis.writer import Writer

logger: logging.Logger = logging.getLogger("loomline.events")


class RedisEvents:
    """The Redis side of a process: ``log`` is its ``EventLog``, ``signals`` its ``Signals``.

    Four connections, however many streams, readers and event loops there are: one writes, one
    follows all live streams, one replays, one hears signals. All live on a thread of their own,
    because the methods of the ports are called from loops that user code may block.

    Args:
        url: ``redis://``, ``rediss://`` or ``unix://``, as redis-py reads it.
        options: Bounds, patience and the prefix of all keys.
        loop_factory: What makes the event loop of that thread.
    """

    log: RedisEventLog
    signals: RedisSignals

    def __init__(
        self,
        url: str,
        options: RedisOptions,
        *,
        loop_factory: LoopFactory = asyncio.new_event_loop,
    ) -> None:
        self._options = options
        self._address = address(url)
        self._io = IoThread(loop_factory)
        keys = Keys(options.prefix)
        name = uuid.uuid4().hex
        seconds = options.answer_seconds
        writing, following, fetching, hearing = self._links = (
            Link(url, seconds=seconds, scripts=ALL),
            Link(url, seconds=seconds),
            Link(url, seconds=SECONDS),
            Link(url, seconds=seconds),
        )
        self._writer = Writer(self._io, writing, keys, name, options)
        follower = Follower(following, keys, name, options, ring=self._post_all)
        self._fetcher = Fetcher(self._io, fetching, keys)
        self.log = RedisEventLog(self._writer, follower, self._fetcher, options)
        self.signals = RedisSignals(self._io, hearing, keys, name, options, send=self._writer.post)
        self._duties = Duties(
            Duty(name, act, logger=logger, pauses=link_pauses())
            for name, act in (
                ("redis writer", self._writer.send),
                ("redis follower", follower.follow),
                ("redis fetcher", self._fetcher.fetch),
                ("redis signals", self.signals.hear),
            )
        )

    @property
    def available(self) -> bool:
        """Whether the server answered when something was last sent to it."""
        return not self._writer.away

    @property
    def losses(self) -> int:
        """How often events of a stream were dropped here because the server was away."""
        return self._writer.losses

    async def open(self) -> None:
        """Connect.

        Raises:
            EventsUnavailable: the server cannot be reached, or refuses.
        """
        self._io.start()
        try:
            await self._io.call(self._first_contact())
        except BaseException as error:
            await self._stop()
            if not isinstance(error, Away):
                raise
            raise EventsUnavailable(
                f"The Redis server at {self._address} cannot be used: {error}"
            ) from None
        self._io.post(self._duties.start)

    async def ping(self) -> None:
        """Return if the server answers.

        Raises:
            EventsUnavailable: it does not.
        """
        try:
            await self._fetcher.ping()
        except Away:
            raise EventsUnavailable(
                f"The Redis server at {self._address} does not answer."
            ) from None

    async def aclose(self) -> None:
        """Send what is left, for a moment, and disconnect."""
        deadline = asyncio.get_running_loop().time() + self._options.answer_seconds
        while self._writer.size and asyncio.get_running_loop().time() < deadline:
            await self._answered(self._writer.ping())
        await self._stop()

    async def _stop(self) -> None:
        await self._io.call(self._disconnect())
        await self._io.stop()

    async def _disconnect(self) -> None:
        await self._duties.stop()
        for link in self._links:
            await link.drop(wait=True)

    async def _answered(self, answer: Answer[object]) -> bool:
        try:
            await answer.within(self._options.answer_seconds)
        except TimeoutError:
            return False
        return True

    async def _first_contact(self) -> None:
        """Make every connection but the one for signals, which is made when somebody listens."""
        for link in self._links[:3]:
            (answer,) = await link.execute([("PING",)], self._options.open_seconds)
            if isinstance(answer, Exception):
                raise Away(str(answer))

    def _post_all(self, commands: Sequence[Command]) -> None:
        for command in commands:
            self._writer.post(command)
