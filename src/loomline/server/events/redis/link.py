"""One connection to the server, and the thread that all connections live on."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Callable, Coroutine, Generator, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from typing import Generic, TypeVar, cast

from redis.asyncio import ConnectionPool
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)

from loomline.server.duties import Pauses
from loomline.server.events.redis.scripts import Script
from loomline.server.events.redis.wire import Command

LoopFactory = Callable[[], asyncio.AbstractEventLoop]
Result = TypeVar("Result")

# What a server says that will be able to execute the same command later, or another server will.
# Errors inside scripts come as plain text on some versions.
_PASSING_ERRORS = (
    NoPermissionError, NoScriptError, OutOfMemoryError, ReadOnlyError, TryAgainError,
)  # fmt: skip
_PASSING = ("READONLY", "OOM ", "MISCONF", "MasterDown", "ClusterDown", "NOREPLICAS", "BUSY ")

_FIRST_PAUSE = 0.05
_LONGEST_PAUSE = 0.5


class Away(Exception):
    """The server cannot be reached, or cannot work at the moment."""


class Link:
    """A connection that is made when it is needed and dropped when anything goes wrong on it.

    Belongs to one task of the I/O loop, apart from ``send``.
    """

    def __init__(self, url: str, *, seconds: float, scripts: Sequence[Script] = ()) -> None:
        self._pool: ConnectionPool = ConnectionPool.from_url(
            url,
            protocol=2,
            # Whether a command may be sent again is decided by those who know what it does.
            retry=Retry(NoBackoff(), 0),
            socket_timeout=None,
            socket_connect_timeout=None,
        )
        self._seconds = seconds
        self._scripts = scripts
        self._connection: AbstractConnection | None = None
        self._transport: asyncio.WriteTransport | None = None

    @property
    def connected(self) -> bool:
        return self._connection is not None

    async def execute(
        self, commands: Sequence[Command], seconds: float | None = None
    ) -> list[object]:
        """Send commands at once and return the answers; an error of one command is its answer.

        Raises:
            Away: some or all of the commands may not have been executed.
        """
        try:
            async with asyncio.timeout(seconds or self._seconds):
                connection = await self._connected()
                return await _exchange(connection, commands)
        except (RedisError, OSError, TimeoutError) as error:
            await self.drop()
            raise _away(error) from error
        except BaseException:
            # Answers that nobody has read would be taken for those of the next commands.
            await self.drop()
            raise

    async def send(self, commands: Sequence[Command]) -> None:
        """Send commands whose answers ``receive`` will return among others."""
        try:
            async with asyncio.timeout(self._seconds):
                connection = await self._connected()
                await connection.send_packed_command(connection.pack_commands(commands))
        except (RedisError, OSError, TimeoutError) as error:
            await self.drop()
            raise _away(error) from error
        except BaseException:
            # Half a command may be on its way.
            await self.drop()
            raise

    async def receive(self, seconds: float) -> object:
        """Return the next thing the server says; None when it is silent for that long."""
        connection = self._connection
        if connection is None:
            raise Away("not connected")
        try:
            return cast("object", await connection.read_response(timeout=seconds))
        except (RedisError, OSError) as error:
            await self.drop()
            raise _away(error) from error

    async def drop(self, *, wait: bool = False) -> None:
        connection, self._connection = self._connection, None
        if self._transport is not None:
            # Closing alone would keep the socket open until a stalled server has taken the rest of
            # the buffer. redis-py closes connections by itself when it is cancelled.
            self._transport.abort()
            self._transport = None
        if connection is not None:
            await connection.disconnect(nowait=not wait)

    async def _connected(self) -> AbstractConnection:
        connection = self._connection
        if connection is None:
            connection = cast("AbstractConnection", self._pool.make_connection())  # type: ignore[no-untyped-call]
            try:
                await connection.connect()  # type: ignore[no-untyped-call]
                self._transport = _transport(connection)
                await _exchange(
                    connection, [("SCRIPT", "LOAD", each.text) for each in self._scripts]
                )
            except BaseException:
                await connection.disconnect(nowait=True)
                raise
            self._connection = connection
        return connection


def _transport(connection: AbstractConnection) -> asyncio.WriteTransport | None:
    writer = connection._writer  # noqa: SLF001 - redis-py has no public way to abort
    return None if writer is None else writer.transport


async def _exchange(connection: AbstractConnection, commands: Sequence[Command]) -> list[object]:
    if not commands:
        return []
    await connection.send_packed_command(connection.pack_commands(commands))
    return [await _answer(connection) for _ in commands]


async def _answer(connection: AbstractConnection) -> object:
    """Return an answer. What would be answered otherwise a little later counts as being away."""
    try:
        return cast("object", await connection.read_response(timeout=math.inf))
    except ResponseError as error:
        text = f"{type(error).__name__} {error}"
        if isinstance(error, _PASSING_ERRORS) or any(word in text for word in _PASSING):
            raise
        return error


def _away(error: BaseException) -> Away:
    return Away(str(error) or type(error).__name__)


class IoThread:
    """A thread with an event loop on which all connections of this process live.

    The methods of the ports are called from the API's loop and from those of the runners. A runner
    that user code blocks could neither send what it has nor answer the server, its loop may end
    at any time, and a connection for each loop would be many. So nothing but this thread does I/O.
    """

    def __init__(self, loop_factory: LoopFactory) -> None:
        self._loop_factory = loop_factory
        self._started: tuple[asyncio.AbstractEventLoop, threading.Thread] | None = None

    def start(self) -> None:
        loop = self._loop_factory()
        thread = threading.Thread(target=_main, args=(loop,), name="loomline-redis", daemon=True)
        self._started = loop, thread
        thread.start()

    def post(self, callback: Callable[[], object]) -> None:
        """Have the loop call something soon; nothing happens before its start or after its end."""
        if self._started is None:
            return
        with suppress(RuntimeError):  # the loop is closed
            self._started[0].call_soon_threadsafe(callback)

    async def call(self, work: Coroutine[object, object, Result]) -> Result:
        """Run a coroutine over there and return its result. Cancelling this cancels that."""
        assert self._started is not None
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._started[0]))

    async def stop(self) -> None:
        assert self._started is not None
        loop, thread = self._started
        self.post(loop.stop)
        await asyncio.to_thread(thread.join)


def _main(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
        loop.run_until_complete(_clear())
    finally:
        loop.close()


async def _clear() -> None:
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
    # Transports that have been closed end in the rounds after.
    for _ in range(3):
        await asyncio.sleep(0)


def link_pauses() -> Pauses:
    """Return the pauses between attempts to reach the server."""
    return Pauses(_FIRST_PAUSE, _LONGEST_PAUSE)


class Answer(Generic[Result]):
    """What the I/O thread will say to one caller on any loop."""

    def __init__(self) -> None:
        self._future: Future[Result] = Future()

    def give(self, result: Result) -> None:
        with suppress(InvalidStateError):  # nobody waits any more
            self._future.set_result(result)

    @property
    def abandoned(self) -> bool:
        """Whether a caller has waited and given up."""
        return self._future.cancelled()

    def __await__(self) -> Generator[object, None, Result]:
        return asyncio.wrap_future(self._future).__await__()

    async def within(self, seconds: float) -> Result:
        """Return what was said.

        Raises:
            TimeoutError: nothing was said for so long.
        """
        if self._future.done():
            return self._future.result()
        async with asyncio.timeout(seconds):
            return await self
