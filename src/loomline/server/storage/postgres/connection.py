"""Threads with a connection each, that works are handed to from any loop or thread.

A transaction never waits for anything but the database: neither for a loop that user code blocks
nor for a caller that goes away. That is why it is executed on a thread of its own.
"""

from __future__ import annotations

import asyncio
import select
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any, TypeAlias, TypeVar

import psycopg
from psycopg import errors
from psycopg.abc import Buffer
from psycopg.adapt import Loader
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import Format, TransactionStatus
from psycopg.rows import TupleRow

from loomline.server.domain.errors import StorageUnavailable
from loomline.server.ports.measures import NO_MEASURES, Measures
from loomline.server.storage.postgres.failures import (
    BUSY,
    CLOSING,
    TOO_MANY,
    not_a_url,
    unavailable,
)

T = TypeVar("T")
S = TypeVar("S")
Connection: TypeAlias = psycopg.Connection[TupleRow]
Cursor: TypeAlias = psycopg.Cursor[TupleRow]
Work: TypeAlias = Callable[[Connection], T]

QUEUE_MOST = 20_000
"""Works that may wait: every one has a caller, so more means that the database cannot follow."""

_ATTEMPTS = 5

# Of two transactions that get into each other's way one is told to come again.
_AGAIN = (errors.DeadlockDetected, errors.SerializationFailure, errors.UniqueViolation)

_DEFAULTS = {
    "application_name": "loomline",
    "connect_timeout": "5",
    # A server that has vanished without a word is noticed within half a minute.
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "25000",
}

# A process that freezes in the middle of a transaction must not hold its locks for ever.
_SESSION = """
    SELECT set_config('TimeZone', 'UTC', false),
           set_config('lock_timeout', '10s', false),
           set_config('statement_timeout', '60s', false),
           set_config('idle_in_transaction_session_timeout', '60s', false)
"""

BEGIN_READING = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"


_FENCE = "LL001"


class FenceLost(Exception):
    """The claim that a transaction depends on is no longer valid; nothing has been written."""


class _RawJson(Loader):
    """JSON as it comes: most of it goes out again without being looked at."""

    def load(self, data: Buffer) -> bytes:
        return bytes(data)


class _RawBinaryJsonb(_RawJson):
    format = Format.BINARY

    def load(self, data: Buffer) -> bytes:
        return bytes(data)[1:]  # the first byte is the version of the format


class _RawBinaryJson(_RawJson):
    format = Format.BINARY


def parameters(url: str) -> dict[str, Any]:
    """Return what to connect with.

    Raises:
        StorageUnavailable: the address cannot be read.
    """
    try:
        return _DEFAULTS | conninfo_to_dict(url)
    except psycopg.Error:
        # The driver's text may quote the address, and with it the password.
        raise not_a_url() from None


def connect(given: dict[str, Any]) -> Connection:
    """Return a connection in autocommit mode."""
    connection = psycopg.connect(**given, autocommit=True, prepare_threshold=2)
    for name, loader in (
        ("json", _RawJson),
        ("jsonb", _RawJson),
        ("json", _RawBinaryJson),
        ("jsonb", _RawBinaryJsonb),
    ):
        connection.adapters.register_loader(name, loader)
    connection.execute(_SESSION)
    return connection


class Database:
    """Executes works. A work must be repeatable: it may lose against another and is tried again.

    Every method may be called from any loop, the blocking ones from any thread without one.
    """

    def __init__(
        self, given: dict[str, Any], connections: int, measures: Measures = NO_MEASURES
    ) -> None:
        self._given = given
        self._measures = measures
        self._local = threading.local()
        self._lock = threading.Lock()
        self._open: set[Connection] = set()
        self._waiting = 0
        self._pool = ThreadPoolExecutor(connections, thread_name_prefix="loomline-database")

    async def write(self, work: Work[T]) -> T:
        """Execute a work in a transaction and return its result once it is committed.

        Cancelling the caller does not stop a work that has begun.

        Raises:
            StorageUnavailable: it could not be executed.
        """
        return await self.call(lambda: self.transact(work, itself))

    def write_blocking(self, work: Work[T]) -> T:
        return self._submit(lambda: self.transact(work, itself)).result()

    async def read(self, work: Work[T]) -> T:
        """Execute a work on one unchanging picture of the database."""
        return await self.call(lambda: self.transact(work, itself, begin=BEGIN_READING))

    def read_blocking(self, work: Work[T]) -> T:
        return self._submit(lambda: self.transact(work, itself, begin=BEGIN_READING)).result()

    async def send(self, work: Work[S], read: Callable[[S], T]) -> T:
        """Execute a work that needs no answer to any of its statements.

        All of it travels in one round trip; ``read`` takes the answers apart afterwards.
        """
        return await self.call(lambda: self.transact(work, read))

    async def ask(self, work: Work[T]) -> T:
        """Execute a single statement that reads."""
        return await self.call(lambda: self._repeat(work))

    async def point(self, work: Work[T]) -> T:
        """Execute a single statement that reads a few rows."""
        return await self.ask(work)

    async def call(self, act: Callable[[], T]) -> T:
        """Execute anything on one of the threads."""
        with self._measures.span("storage"):
            return await asyncio.wrap_future(self._submit(act))

    def transact(self, work: Work[S], read: Callable[[S], T], begin: str = "BEGIN") -> T:
        """Execute a work in a transaction on this thread, with a connection of its own."""
        return self._repeat(lambda c: read(_transaction(c, work, begin)))

    def close(self) -> None:
        """Execute what waits, then close all connections."""
        self._pool.shutdown(wait=True)
        for connection in self._open:
            connection.close()

    def _submit(self, act: Callable[[], T]) -> Future[T]:
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

    def _done(self, _: Future[T]) -> None:
        with self._lock:
            self._waiting -= 1

    def _repeat(self, work: Work[T]) -> T:
        for _ in range(_ATTEMPTS):
            with suppress(*_AGAIN):
                return self._attempt(work)
        raise StorageUnavailable(BUSY)

    def _attempt(self, work: Work[T]) -> T:
        try:
            with self._connection() as connection:
                return work(connection)
        except _AGAIN:
            raise
        except psycopg.Error as error:
            if error.sqlstate == _FENCE:
                raise FenceLost from None
            raise unavailable(error) from error

    @contextmanager
    def _connection(self) -> Iterator[Connection]:
        connection: Connection | None = getattr(self._local, "connection", None)
        if connection is None or not usable(connection):
            self._forget(connection)
            connection = self._local.connection = connect(self._given)
            with self._lock:
                self._open.add(connection)
        try:
            yield connection
        finally:
            if not _tidy(connection):
                self._forget(connection)

    def _forget(self, connection: Connection | None) -> None:
        if connection is None:
            return
        self._local.connection = None
        with self._lock:
            self._open.discard(connection)
        connection.close()


def itself(value: T) -> T:
    return value


def _transaction(connection: Connection, work: Work[T], begin: str) -> T:
    with connection.pipeline():
        connection.execute(begin)
        result = work(connection)
        connection.execute("COMMIT")
    return result


def usable(connection: Connection) -> bool:
    """Return whether a connection that was idle is still good.

    What has come meanwhile is hardly anything else than its end. Looking costs next to nothing, so
    that a restart of the database is not noticed by failing.
    """
    if connection.closed:
        return False
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    if not poll.poll(0):
        return True
    try:
        connection.execute("SELECT 1")
    except psycopg.Error:
        return False
    return True


def _tidy(connection: Connection) -> bool:
    """Leave a transaction that failed; return whether the connection can be used again."""
    try:
        if connection.info.transaction_status != TransactionStatus.IDLE:
            connection.rollback()
    except psycopg.Error:
        return False
    return not connection.closed
