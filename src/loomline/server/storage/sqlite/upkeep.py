"""A thread that does long work on the rows of threads in pieces, between the writes of others."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from loomline.server.domain.errors import StorageUnavailable
from loomline.server.duties import Failures
from loomline.server.storage.pool import CLOSING
from loomline.server.storage.sqlite.connection import (
    Access,
    Readers,
    Work,
    Writer,
    connect,
    snapshot,
    unavailable,
)
from loomline.server.storage.sqlite.pieces import (
    Change,
    Piece,
    ThreadUnderWork,
    changed_rows,
    end_work,
    pieces,
    remove_piece,
    work_on,
)
from loomline.server.storage.sqlite.pruning import (
    has_running_run,
    older_checkpoints,
    unused_rows,
)

logger: logging.Logger = logging.getLogger("loomline.storage")

S = TypeVar("S")
T = TypeVar("T")

JOBS_MOST: Final = 1000
"""Jobs that may wait: each has a caller."""

RETRY_SECONDS: Final = 10.0
"""The pause before work is tried again that has failed, or that waits for the end of a run."""

_ALL = "SELECT thread_id, work FROM upkeep WHERE work <> 'copy'"

# Nothing continues a copy after a restart, so the rows that have arrived are removed.
_ABANDON_COPIES = "UPDATE upkeep SET work = 'remove' WHERE work = 'copy'"
_ABANDON = "UPDATE upkeep SET work = 'remove' WHERE thread_id = ? AND work = 'copy'"

# A temporary trigger, so that no code that notes work can forget to wake the thread.
_TRIGGER = """
    CREATE TEMP TRIGGER upkeep_is_due AFTER INSERT ON main.upkeep
    BEGIN
        SELECT wake_upkeep();
    END
"""


class Upkeep:
    """Executes the work that the table ``upkeep`` lists, and the jobs of callers before it.

    Each piece is a write like any other: it joins the queue of the writer behind the writes that
    wait there. So other writes wait for two pieces at most, however large a thread is.

    Args:
        writer: The writer that executes the pieces.
        connection: The connection of the writer.
        path: The path of the database file.
    """

    def __init__(self, writer: Writer, connection: sqlite3.Connection, path: Path) -> None:
        self._writer = writer
        self._path = path
        self._condition = threading.Condition()
        self._jobs: deque[Callable[[], None]] = deque()
        self._listed: Iterator[None] | None = None
        self._due = True
        self._retry = False
        self._closing = True
        self._failures = Failures("upkeep", logger)
        self._connection = connection
        self._thread = threading.Thread(target=self._main, name="loomline-upkeep", daemon=True)

    def prepare(self) -> None:
        """Set up the connection of the writer, before the writer starts.

        Not called beside a server, whose copies must not be touched.
        """
        self._connection.execute(_ABANDON_COPIES)
        self._connection.create_function("wake_upkeep", 0, self._wake)
        self._connection.execute(_TRIGGER)
        self._reader = connect(self._path)
        self._closing = False

    def start(self) -> None:
        """Continue the work that the table lists, and take jobs."""
        self._thread.start()

    def close(self) -> None:
        """Stop after the current piece. The work that is left continues after the next start."""
        with self._condition:
            self._closing = True
            self._condition.notify()
        if self._thread.ident is None:
            return
        self._thread.join()
        for job in self._jobs:
            job()  # fails at its first read or write
        self._reader.close()

    async def write(self, work: Work[T]) -> T:
        """Execute a write as soon as no work on its thread is in the way.

        Raises:
            StorageUnavailable: The write failed.
        """
        while True:
            try:
                return await self._writer.write(work)
            except ThreadUnderWork as error:
                await self.settle(error.thread_id)

    async def settle(self, thread_id: str) -> None:
        """Do the work that is noted for a thread before everything else.

        Raises:
            StorageUnavailable: A piece could not be written.
        """

        def job() -> None:
            work = self.read(lambda connection: work_on(connection, thread_id))
            for _ in self._steps(thread_id, work):
                pass

        await self.do(job)

    async def do(self, job: Callable[[], T]) -> T:
        """Execute a job on the upkeep thread and return its result.

        Cancelling the caller takes a job back that has not begun.

        Raises:
            StorageUnavailable: The server is shutting down, or too many jobs are waiting.
        """
        future: Future[T] = Future()

        def execute() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(job())
            except BaseException as error:  # noqa: BLE001 - the caller's to handle
                future.set_exception(error)

        self._put(execute)
        return await asyncio.wrap_future(future)

    def read(self, work: Work[T]) -> T:
        """Execute a read in one transaction. For jobs.

        Raises:
            StorageUnavailable: The database could not be read, or the server is shutting down.
        """
        self._check_open()
        try:
            return snapshot(work, self._reader)
        except sqlite3.Error as error:
            raise unavailable(error) from error

    def write_piece(self, work: Work[T]) -> T:
        """Execute a piece behind the writes that wait, and return its result. For jobs.

        Raises:
            StorageUnavailable: The piece could not be written, or the server is shutting down.
        """
        self._check_open()
        results: list[T] = []
        future: Future[None] = Future()

        def execute(connection: sqlite3.Connection) -> None:
            results.append(work(connection))

        def done(error: Exception | None) -> None:
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)

        self._writer.post(execute, done)
        future.result()
        return results[-1]

    def clear_copy(self, thread_id: str) -> None:
        """Remove the rows of a copy that begins again."""
        while self.write_piece(lambda connection: remove_piece(connection, thread_id)):
            pass

    def abandon_copy(self, thread_id: str) -> None:
        """Remove the rows of a copy that cannot be completed."""
        self.write_piece(lambda connection: connection.execute(_ABANDON, (thread_id,)).close())
        self._wake()

    def _check_open(self) -> None:
        if self._closing:
            raise StorageUnavailable(CLOSING)

    def _put(self, job: Callable[[], None]) -> None:
        with self._condition:
            self._check_open()
            if len(self._jobs) >= JOBS_MOST:
                raise StorageUnavailable(
                    f"{JOBS_MOST} copies and deletions of large threads are waiting. Try again"
                    " later."
                )
            self._jobs.append(job)
            self._condition.notify()

    def _wake(self) -> None:
        with self._condition:
            self._due = True
            self._condition.notify()

    def _main(self) -> None:
        while (job := self._next()) is not None:
            job()

    def _next(self) -> Callable[[], None] | None:
        with self._condition:
            while not (self._jobs or self._due or self._listed or self._closing):
                if not self._condition.wait(RETRY_SECONDS if self._retry else None):
                    self._due = True
            if self._closing:
                return None
            return self._jobs.popleft() if self._jobs else self._continue

    def _continue(self) -> None:
        """Do one piece of the work that the table lists, so that jobs wait for one piece only."""
        if self._listed is None:
            self._due = self._retry = False
            self._listed = self._pass()
        try:
            next(self._listed)
        except StopIteration:
            self._listed = None
            self._failures.end()
        except Exception as error:  # noqa: BLE001 - a defect in one piece must not end the thread
            self._listed, self._retry = None, True
            self._failures.note(error)

    def _pass(self) -> Iterator[None]:
        # By the writer: the transaction whose trigger woke this thread may not be committed yet.
        for thread_id, work in self.write_piece(lambda c: c.execute(_ALL).fetchall()):
            yield from self._steps(thread_id, work)

    def _steps(self, thread_id: str, work: str | None) -> Iterable[None]:
        if work == "remove":
            return self._remove(thread_id)
        if work == "prune":
            return self._prune(thread_id)
        if work == "tidy":
            return self._tidy(thread_id)
        return ()

    def _remove(self, thread_id: str) -> Iterator[None]:
        def piece(connection: sqlite3.Connection) -> bool:
            if work_on(connection, thread_id) != "remove":
                return False
            more = remove_piece(connection, thread_id)
            if not more:
                end_work(connection, thread_id, "remove")
            return more

        while self.write_piece(piece):
            yield

    def _prune(self, thread_id: str) -> Iterator[None]:
        yield from self._apply(thread_id, "prune", older_checkpoints)
        yield from self._apply(thread_id, "prune", unused_rows)
        self.write_piece(lambda connection: end_work(connection, thread_id, "prune"))

    def _tidy(self, thread_id: str) -> Iterator[None]:
        # The next checkpoint of a running run may refer to values that no checkpoint refers to now.
        if self.read(lambda connection: has_running_run(connection, thread_id)):
            self._retry = True
            return
        yield from self._apply(thread_id, "tidy", unused_rows)
        self.write_piece(lambda connection: end_work(connection, thread_id, "tidy"))

    def _apply(
        self,
        thread_id: str,
        work: str,
        plan: Callable[[sqlite3.Connection, str], list[Change]],
    ) -> Iterator[None]:
        for each in pieces(self.read(lambda connection: plan(connection, thread_id))):
            if not self.write_piece(partial(_applied, thread_id=thread_id, work=work, piece=each)):
                return
            yield


class PatientAccess(Access):
    """The writer and the readers. Writes wait for the work on their threads."""

    def __init__(self, writer: Writer, readers: Readers, upkeep: Upkeep) -> None:
        super().__init__(writer, readers)
        self._upkeep = upkeep

    async def write(self, work: Work[T]) -> T:
        return await self._upkeep.write(work)

    async def send(self, work: Work[S], read: Callable[[S], T]) -> T:
        return await self._upkeep.write(lambda connection: read(work(connection)))


def _applied(connection: sqlite3.Connection, thread_id: str, work: str, piece: Piece) -> bool:
    """Execute a piece; return False if its work is no longer noted for the thread."""
    if work_on(connection, thread_id) != work:
        return False
    changed_rows(connection, piece)
    return True
