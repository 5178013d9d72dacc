"""Where checkpoints go on their way to the writer: at once, or behind a run that goes on."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from loomline.server.domain.errors import LeaseLost, StorageUnavailable
from loomline.server.domain.runs import Claim
from loomline.server.storage.checkpoints import Rows
from loomline.server.storage.sqlite import sql
from loomline.server.storage.sqlite.checkpoint_rows import write_rows
from loomline.server.storage.sqlite.connection import Writer

PENDING_BYTES = 8 * 1024 * 1024
"""What a run may have unwritten before it has to wait."""

_WRITE_BYTES = 2 * 1024
"""What a write weighs besides its content: its rows are objects while they wait."""


class DirectSink:
    """Every write is committed when it returns."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    async def write(self, rows: Rows) -> None:
        await self._writer.write(partial(write_rows, rows=rows))

    def write_blocking(self, rows: Rows) -> None:
        self._writer.write_blocking(partial(write_rows, rows=rows))

    async def settle(self) -> None:
        return

    def settle_blocking(self) -> None:
        return

    def has_nothing(self, thread_id: str, checkpoint_ns: str) -> bool:  # noqa: ARG002
        return False


class WriteBehind:
    """Writes for a claim that return before they are committed.

    What comes while the writer is busy is written together, with one look at the fence. The first
    failure is kept: it meets every later write, and the end of the run.
    """

    def __init__(self, writer: Writer, claim: Claim) -> None:
        self.error: Exception | None = None
        self._writer = writer
        self._claim = claim
        self._lock = threading.Lock()
        self._rows = Rows()
        self._queued = False
        self._unwritten = 0
        self._fresh = str(claim.run.thread_id) if claim.fresh else None
        # Namespaces of the fresh thread that have a checkpoint by now.
        self._begun: set[str] = set()

    async def write(self, rows: Rows) -> None:
        self._take(rows)
        if self._unwritten > PENDING_BYTES:
            await self.settle()

    def write_blocking(self, rows: Rows) -> None:
        self._take(rows)
        if self._unwritten > PENDING_BYTES:
            self.settle_blocking()

    async def settle(self) -> None:
        if self._unwritten:
            await self._writer.write(_nothing)
        self._raise()

    def settle_blocking(self) -> None:
        if self._unwritten:
            self._writer.write_blocking(_nothing)
        self._raise()

    def has_nothing(self, thread_id: str, checkpoint_ns: str) -> bool:
        return thread_id == self._fresh and checkpoint_ns not in self._begun

    def _take(self, rows: Rows) -> None:
        self._raise()
        rows.size += _WRITE_BYTES
        with self._lock:
            self._begun.update(row[1] for row in rows.checkpoints)
            self._rows.add(rows)
            self._unwritten += rows.size
            if not self._queued:
                # Within the lock: whoever adds to these rows relies on their being queued.
                self._post()

    def _post(self) -> None:
        drain = _Drain(self)
        try:
            self._writer.post(drain, drain.done)
        except StorageUnavailable as error:
            self.error = error
            raise
        self._queued = True

    def take_queued(self) -> Rows:
        """Hand over what has come since the last time. Called on the writer's thread."""
        with self._lock:
            rows, self._rows = self._rows, Rows()
            self._queued = False
            return rows

    def written(self, rows: Rows, error: Exception | None) -> None:
        """Note that rows are on disk, or why they are not. Called on the writer's thread."""
        with self._lock:
            self._unwritten -= rows.size
            self.error = self.error or error

    def check_fence(self, connection: sqlite3.Connection) -> None:
        run_id = self._claim.run.run_id
        row = connection.execute(sql.FENCE, (str(run_id),)).fetchone()
        if row is None or row[0] != self._claim.token:
            raise LeaseLost(run_id)

    def _raise(self) -> None:
        if self.error is not None:
            raise self.error


class _Drain:
    """One write of everything queued. It may be executed again, so it remembers what it took."""

    def __init__(self, sink: WriteBehind) -> None:
        self._sink = sink
        self._rows: Rows | None = None

    def __call__(self, connection: sqlite3.Connection) -> None:
        if self._rows is None:
            self._rows = self._sink.take_queued()
        try:
            self._sink.check_fence(connection)
            write_rows(connection, self._rows)
        except sqlite3.Error:
            raise  # it is tried again, alone
        except Exception as error:
            # At once: the end of the run may be in the same transaction, and must fail as well.
            self._sink.error = self._sink.error or error
            raise

    def done(self, error: Exception | None) -> None:
        self._sink.written(self._rows or Rows(), error)


class Savers:
    """The sinks of the claims that this process executes."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._lock = threading.Lock()
        self._sinks: dict[str, WriteBehind] = {}

    def sink(self, claim: Claim) -> WriteBehind:
        with self._lock:
            return self._sinks.setdefault(claim.token, WriteBehind(self._writer, claim))

    async def settle(self, claim: Claim) -> None:
        """Return once everything taken for this claim is committed."""
        sink = self._sinks.get(claim.token)
        if sink is not None:
            await sink.settle()

    def check(self, claim: Claim) -> None:
        """Raise what went wrong with a write of this claim."""
        sink = self._sinks.get(claim.token)
        if sink is not None and sink.error is not None:
            raise sink.error

    @contextmanager
    def last_use(self, claim: Claim) -> Iterator[None]:
        """Forget a claim with this act, unless it fails in a way that allows another attempt."""
        try:
            yield
        except LeaseLost:
            self._forget(claim)
            raise
        self._forget(claim)

    def _forget(self, claim: Claim) -> None:
        with self._lock:
            self._sinks.pop(claim.token, None)


def _nothing(_: sqlite3.Connection) -> None:
    return
