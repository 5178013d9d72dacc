"""Threads with a connection each, for drivers with blocking connections.

A transaction waits for the database only, not for a loop that user code blocks nor for a caller
that goes away. For this reason transactions have threads of their own.
"""

from __future__ import annotations

import asyncio
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import ClassVar, Final, Generic, Protocol, TypeVar

from loomline.server.domain.errors import StorageUnavailable
from loomline.server.ports.measures import Measures


class _Closable(Protocol):
    def close(self) -> None: ...


C = TypeVar("C", bound=_Closable)
S = TypeVar("S")
T = TypeVar("T")

QUEUE_MOST: Final = 20_000
"""Works that may wait: each has a caller, so more means that the database cannot follow."""

ATTEMPTS: Final = 5
"""Attempts at a work that loses against another transaction."""

UNAVAILABLE: Final = "The database cannot be used at the moment: {reason}. Try again later."
CLOSING: Final = "The server is shutting down. Try again later."
BUSY: Final = UNAVAILABLE.format(reason="it is too busy")
TOO_MANY: Final = UNAVAILABLE.format(reason="too many requests are waiting for it")


class FenceLost(Exception):
    """The claim that a transaction depends on is no longer valid; nothing has been written."""


def itself(value: T) -> T:
    return value


class ConnectionThreads(Generic[C]):
    """Threads that execute works, and a connection for each thread that asks for one."""

    def __init__(self, connect: Callable[[], C], threads: int, name: str) -> None:
        self._connect = connect
        self._local = threading.local()
        self._lock = threading.Lock()
        self._open: set[C] = set()
        self._waiting = 0
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name)

    def submit(self, act: Callable[[], T]) -> Future[T]:
        """Execute anything on one of the threads.

        Raises:
            StorageUnavailable: The server shuts down, or too many works are waiting.
        """
        with self._lock:
            if self._waiting >= QUEUE_MOST:
                raise StorageUnavailable(TOO_MANY)
            self._waiting += 1
        try:
            future = self._pool.submit(act)
        except RuntimeError:
            with self._lock:
                self._waiting -= 1
            raise StorageUnavailable(CLOSING) from None
        future.add_done_callback(self._done)
        return future

    def connection(self, usable: Callable[[C], bool] = lambda _: True) -> C:
        """Return the connection of the calling thread: a new one if the present is not usable."""
        current: C | None = getattr(self._local, "connection", None)
        if current is not None and usable(current):
            return current
        if current is not None:
            self.forget(current)
        made = self._local.connection = self._connect()
        with self._lock:
            self._open.add(made)
        return made

    def forget(self, connection: C) -> None:
        """Close the connection of the calling thread."""
        self._local.connection = None
        with self._lock:
            self._open.discard(connection)
        connection.close()

    def close(self) -> None:
        """Execute the works that wait, then close all connections."""
        self._pool.shutdown(wait=True)
        for connection in self._open:
            connection.close()

    def _done(self, _: Future[T]) -> None:
        with self._lock:
            self._waiting -= 1


class PooledDatabase(ABC, Generic[C]):
    """Executes works, which must be repeatable: a work that loses against another is tried again.

    Every method may be called from any loop, the blocking ones from any thread without one.
    """

    reading: ClassVar[str]
    """The statement that begins a transaction on one unchanging picture of the database."""

    again: ClassVar[tuple[type[Exception], ...]]
    """Errors after which a work is tried again."""

    error: ClassVar[type[Exception]]
    """The base class of the errors of connections."""

    def __init__(self, connections: int, measures: Measures) -> None:
        self._measures = measures
        self._threads = ConnectionThreads(self.connect, connections, "loomline-database")

    @abstractmethod
    def connect(self) -> C: ...

    @abstractmethod
    def usable(self, connection: C) -> bool:
        """Return whether a connection that was idle can still be used."""

    @abstractmethod
    def tidied(self, connection: C) -> bool:
        """End a transaction that failed; return whether the connection can be used again."""

    @abstractmethod
    def failed(self, error: Exception) -> Exception:
        """Return the error for callers: ``FenceLost``, or ``StorageUnavailable`` for users."""

    @abstractmethod
    def transaction(self, connection: C, work: Callable[[C], T], begin: str) -> T:
        """Begin a transaction, execute a work and commit it."""

    async def write(self, work: Callable[[C], T]) -> T:
        """Execute a work in a transaction and return its result once it is committed.

        Cancelling the caller does not stop a work that has begun.

        Raises:
            StorageUnavailable: The work could not be executed.
        """
        return await self.send(work, itself)

    def write_blocking(self, work: Callable[[C], T]) -> T:
        return self._threads.submit(lambda: self.transact(work, itself)).result()

    async def read(self, work: Callable[[C], T]) -> T:
        """Execute a work on one unchanging picture of the database."""
        return await self.call(lambda: self.transact(work, itself, self.reading))

    def read_blocking(self, work: Callable[[C], T]) -> T:
        return self._threads.submit(lambda: self.transact(work, itself, self.reading)).result()

    async def send(self, work: Callable[[C], S], read: Callable[[S], T]) -> T:
        """Execute a work that needs no answer to any of its statements.

        All of it travels in one round trip; ``read`` takes the answers apart afterwards.
        """
        return await self.call(lambda: self.transact(work, read))

    async def ask(self, work: Callable[[C], T]) -> T:
        """Execute a single statement that reads."""
        return await self.call(lambda: self._repeat(work))

    async def point(self, work: Callable[[C], T]) -> T:
        """Execute a single statement that reads a few rows."""
        return await self.ask(work)

    async def call(self, act: Callable[[], T]) -> T:
        """Execute anything on one of the threads."""
        with self._measures.span("storage"):
            return await asyncio.wrap_future(self._threads.submit(act))

    def transact(self, work: Callable[[C], S], read: Callable[[S], T], begin: str = "BEGIN") -> T:
        """Execute a work in a transaction on this thread, with a connection of its own."""
        return self._repeat(lambda c: read(self.transaction(c, work, begin)))

    def close(self) -> None:
        """Execute the works that wait, then close all connections."""
        self._threads.close()

    def _repeat(self, work: Callable[[C], T]) -> T:
        for _ in range(ATTEMPTS):
            with suppress(*self.again):
                return self._attempt(work)
        raise StorageUnavailable(BUSY)

    def _attempt(self, work: Callable[[C], T]) -> T:
        try:
            with self._connection() as connection:
                return work(connection)
        except self.again:
            raise
        except self.error as error:
            failure = self.failed(error)
            raise failure from (None if isinstance(failure, FenceLost) else error)

    @contextmanager
    def _connection(self) -> Iterator[C]:
        connection = self._threads.connection(self.usable)
        try:
            yield connection
        finally:
            if not self.tidied(connection):
                self._threads.forget(connection)
