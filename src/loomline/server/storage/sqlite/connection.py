"""One writer thread with group commit, and readers that never wait for it."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeAlias, TypeVar

from loomline.server.domain.errors import LoomlineError, StorageUnavailable
from loomline.server.ports.measures import NO_MEASURES, Measures
from loomline.server.storage.pool import CLOSING, UNAVAILABLE, ConnectionThreads
from loomline.server.storage.sqlite.functions import register

logger: logging.Logger = logging.getLogger("loomline.storage")

T = TypeVar("T")
Work: TypeAlias = Callable[[sqlite3.Connection], T]

# The primary result codes, in the low byte of the extended ones.
_DAMAGE = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})

QUEUE_MOST = 20_000
"""Writes that may wait: every one has a caller, so more means that the disk cannot follow."""

BATCH_MOST = 500
"""Writes in one transaction: bounds how long the first of them waits for the last."""

LINGER_SECONDS = 0.002
"""How long writes that nobody waits for are collected, to share a transaction."""

READERS = 2

_DAMAGED = "The database file is damaged. The log of the server says more."

# Without a sync at every commit a power cut may lose the last transactions, but never damages the
# file; the death of the process alone loses nothing.
_PRAGMAS = (
    # For new files only, before anything is written: an existing file keeps the size of its pages.
    "PRAGMA page_size = 8192",
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = NORMAL",
    "PRAGMA busy_timeout = 5000",
    "PRAGMA cache_size = -65536",
    "PRAGMA mmap_size = 268435456",
    "PRAGMA temp_store = MEMORY",
    "PRAGMA wal_autocheckpoint = 2000",
)


def connect(path: Path) -> sqlite3.Connection:
    """Return a connection in autocommit mode, usable from whichever thread owns it."""
    connection = sqlite3.connect(
        path, isolation_level=None, check_same_thread=False, cached_statements=256
    )
    with ExitStack() as undo:
        undo.callback(connection.close)
        for pragma in _PRAGMAS:
            connection.execute(pragma)
        register(connection)
        undo.pop_all()
    return connection


def unavailable(error: sqlite3.Error) -> StorageUnavailable:
    """Return the error for users; what the driver said goes to the log."""
    logger.error("database error: %s", error)
    if is_damage(error):
        return StorageUnavailable(_DAMAGED)
    text = str(error)
    reason = "the disk is full" if "full" in text else "reading or writing its file failed"
    return StorageUnavailable(UNAVAILABLE.format(reason=reason))


def not_opened(error: sqlite3.Error, path: Path) -> StorageUnavailable:
    """Return the error for the command line, which may show paths."""
    if not is_damage(error):
        return unavailable(error)
    return StorageUnavailable(
        f"The database file '{path}' is damaged, or is not a database of SQLite ({error}). Restore"
        f" it from a backup, or recover its rows into a new file: sqlite3 '{path}' .recover |"
        " sqlite3 recovered.db. To begin with an empty database, choose another --data-dir."
    )


def is_damage(error: sqlite3.Error) -> bool:
    """Return whether the database file has other content than SQLite has written."""
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in _DAMAGE


@dataclass(eq=False, slots=True)
class _Operation(Generic[T]):
    """A write and who is told how it went, on the writer's thread."""

    work: Work[T]
    tell: Callable[[_Operation[T]], None]
    result: T | None = None
    error: Exception | None = None


@dataclass(frozen=True, slots=True)
class _Delivery(Generic[T]):
    """A result on its way to the loop that waits for it."""

    future: asyncio.Future[T]
    operation: _Operation[T]


class Writer:
    """Executes writes in the order they come, as many as wait in one transaction.

    Works must be repeatable: when a transaction fails, its works are executed again, one by one.
    """

    def __init__(self, connection: sqlite3.Connection, measures: Measures = NO_MEASURES) -> None:
        self._connection = connection
        self._measures = measures
        self._condition = threading.Condition()
        self._queue: list[_Operation[object]] = []
        self._closing = False
        self._urgent = False
        self._deliveries: dict[asyncio.AbstractEventLoop, list[_Delivery[object]]] = defaultdict(
            list
        )
        self._thread = threading.Thread(target=self._main, name="loomline-writer", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Execute what waits, then end and close the connection."""
        with self._condition:
            self._closing = True
            self._condition.notify()
        self._thread.join()

    async def write(self, work: Work[T]) -> T:
        """Execute a write and return its result once it is committed.

        Cancelling the caller does not take a queued write back.

        Raises:
            StorageUnavailable: it could not be written.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def tell(operation: _Operation[T]) -> None:
            self._deliveries[loop].append(_Delivery(future, operation))  # type: ignore[arg-type]

        with self._measures.span("storage", "write"):
            self._put(_Operation(work, tell), urgent=True)
            return await future

    def write_blocking(self, work: Work[T]) -> T:
        """Do the same from a thread without an event loop."""
        future: Future[T] = Future()

        def tell(operation: _Operation[T]) -> None:
            if operation.error is not None:
                future.set_exception(operation.error)
            else:
                future.set_result(operation.result)  # type: ignore[arg-type]

        self._put(_Operation(work, tell), urgent=True)
        return future.result()

    def post(self, work: Work[None], done: Callable[[Exception | None], None]) -> None:
        """Queue a write nobody waits for.

        ``done`` is called on the writer's thread once it is committed or has failed, before any
        later write is executed in another transaction.
        """

        def tell(operation: _Operation[None]) -> None:
            done(operation.error)

        self._put(_Operation(work, tell), urgent=False)

    def hurry(self) -> None:
        """Execute the queued writes now: a caller waits for one that was posted."""
        with self._condition:
            if not self._urgent:
                self._urgent = True
                self._condition.notify()

    def _put(self, operation: _Operation[T], *, urgent: bool) -> None:
        with self._condition:
            if self._closing:
                raise StorageUnavailable(CLOSING)
            if len(self._queue) >= QUEUE_MOST:
                raise StorageUnavailable(UNAVAILABLE.format(reason="too many writes are waiting"))
            self._queue.append(operation)  # type: ignore[arg-type]
            if len(self._queue) == 1 or (urgent and not self._urgent):
                self._condition.notify()
            self._urgent = self._urgent or urgent

    def _main(self) -> None:
        while batch := self._next():
            self._execute(self._connection, batch)
            self._deliver()
        self._connection.close()

    def _next(self) -> Sequence[_Operation[object]]:
        with self._condition:
            while not self._queue and not self._closing:
                self._condition.wait()
            if not self._urgent and not self._closing:
                self._condition.wait(LINGER_SECONDS)
            batch = self._queue[:BATCH_MOST]
            del self._queue[:BATCH_MOST]
            self._urgent = bool(self._queue)
            return batch

    def _execute(self, connection: sqlite3.Connection, batch: Sequence[_Operation[object]]) -> None:
        try:
            _transaction(connection, batch)
        except sqlite3.Error as error:
            _roll_back(connection)
            if len(batch) == 1:
                batch[0].error = unavailable(error)
            else:
                # One of them may be to blame for all: let the others have their own chance.
                for operation in batch:
                    self._execute(connection, [operation])
                return
        for operation in batch:
            operation.tell(operation)

    def _deliver(self) -> None:
        deliveries, self._deliveries = self._deliveries, defaultdict(list)
        for loop, ready in deliveries.items():
            try:
                loop.call_soon_threadsafe(_resolve, ready)
            except RuntimeError:  # the loop has been closed, so nobody waits any more
                continue


class Readers:
    """Connections for reading: one for short reads in place, some threads for longer ones."""

    def __init__(self, path: Path, measures: Measures = NO_MEASURES) -> None:
        self._measures = measures
        self._lock = threading.Lock()
        self._near = connect(path)
        self._threads = ConnectionThreads(lambda: connect(path), READERS, "loomline-reader")

    def point(self, work: Work[T]) -> T:
        """Execute a read of a few small rows in place: a change of thread would cost more.

        Raises:
            StorageUnavailable: it could not be read.
        """
        with self._lock:
            return _read(self._near, work)

    async def read(self, work: Work[T]) -> T:
        """Execute a read of any size on a thread for that.

        Raises:
            StorageUnavailable: it could not be read.
        """
        with self._measures.span("storage", "read"):
            return await asyncio.wrap_future(self._submit(work))

    def read_blocking(self, work: Work[T]) -> T:
        """Do the same from a thread without an event loop."""
        return self._submit(work).result()

    def close(self) -> None:
        self._threads.close()
        self._near.close()

    def _submit(self, work: Work[T]) -> Future[T]:
        return self._threads.submit(lambda: self._far(work))

    def _far(self, work: Work[T]) -> T:
        try:
            return snapshot(work, self._threads.connection())
        except sqlite3.Error as error:
            raise unavailable(error) from error


class Access:
    """The writer and the readers, for who needs both."""

    def __init__(self, writer: Writer, readers: Readers) -> None:
        self._writer = writer
        self._readers = readers

    async def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return await self._writer.write(work)

    def write_blocking(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return self._writer.write_blocking(work)

    async def point(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return self._readers.point(work)

    async def ask(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return await self._readers.read(work)

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return await self._readers.read(work)

    def read_blocking(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return self._readers.read_blocking(work)


def _transaction(connection: sqlite3.Connection, batch: Sequence[_Operation[object]]) -> None:
    connection.execute("BEGIN IMMEDIATE")
    for operation in batch:
        operation.result = operation.error = None
        connection.execute("SAVEPOINT one")
        try:
            operation.result = operation.work(connection)
        except sqlite3.Error:
            raise
        except Exception as error:  # noqa: BLE001 - a refusal, or a bug: the caller's to handle
            operation.error = error
            connection.execute("ROLLBACK TO one")
        connection.execute("RELEASE one")
    connection.execute("COMMIT")


def _roll_back(connection: sqlite3.Connection) -> None:
    # If that fails too, so does the next transaction, which tries it again: the writer lives on.
    with suppress(sqlite3.Error):
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def snapshot(work: Work[T], connection: sqlite3.Connection) -> T:
    """Read in one transaction: what belongs together may be removed between two statements."""
    connection.execute("BEGIN")
    try:
        return work(connection)
    finally:
        connection.execute("ROLLBACK")


def _read(connection: sqlite3.Connection, work: Work[T]) -> T:
    try:
        return work(connection)
    except sqlite3.Error as error:
        raise unavailable(error) from error


def _resolve(ready: Sequence[_Delivery[object]]) -> None:
    for delivery in ready:
        if delivery.future.done():
            continue
        if delivery.operation.error is not None:
            delivery.future.set_exception(_own(delivery.operation.error))
        else:
            delivery.future.set_result(delivery.operation.result)


def _own(error: Exception) -> Exception:
    """Return the error without the traceback of the writer's thread, which would pin its frames."""
    return error.with_traceback(None) if isinstance(error, LoomlineError) else error
