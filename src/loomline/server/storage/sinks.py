"""The checkpoint writes of a run on their way to the database, for all drivers.

The writes of a claim form a sequence of numbered batches. A batch is handed to the database only
after the batch before it has been committed, and the database accepts batch n only after batch
n - 1. A checkpoint refers to values that earlier batches have stored, so a gap would leave
checkpoints without their values.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Generic, Protocol, TypeVar

from loomline.server.domain.errors import LeaseLost, LoomlineError, StorageUnavailable
from loomline.server.domain.runs import Claim
from loomline.server.storage.checkpoints import Access, Rows, writing
from loomline.server.storage.steps import Steps, awaited, nothing, step

Connection = TypeVar("Connection")
T = TypeVar("T")

PENDING_BYTES = 8 * 1024 * 1024
"""Unwritten bytes of one run beyond which the run waits for the database."""

_WRITE_BYTES = 2 * 1024
"""Memory of a write besides its content: rows are Python objects while they wait."""

_GAP = "An earlier write of this run was lost, so a later one was refused. Try again later."


def accepts(stored: int, number: int) -> bool:
    """Return whether a batch has to be written; False where its commit was only not confirmed.

    Args:
        stored: The number of the claim's last batch in the database, 0 if there is none.
        number: The number of the batch.

    Raises:
        StorageUnavailable: a batch between the two is missing.
    """
    if stored == number - 1:
        return True
    if stored == number:
        return False
    raise StorageUnavailable(_GAP)


def check_complete(stored: int, number: int) -> None:
    """Compare the last batch that was taken for a claim with the last one in the database.

    Raises:
        StorageUnavailable: the two differ.
    """
    if stored != number:
        raise StorageUnavailable(_GAP)


def _done() -> Future[None]:
    future: Future[None] = Future()
    # A waiter that is cancelled must not cancel the future for the other waiters.
    future.set_running_or_notify_cancel()
    return future


@dataclass(eq=False, slots=True)
class Batch:
    """Rows that are committed together. ``done`` ends when their fate is known, good or bad."""

    rows: Rows = field(default_factory=Rows)
    number: int = 0
    done: Future[None] = field(default_factory=_done)


@dataclass(frozen=True, slots=True)
class Rest:
    """Rows that the transaction at the end of a claim has to write.

    ``written`` is the number of the last batch that is in the database; None after a failure, when
    nothing more is written.
    """

    rows: Rows
    written: int | None


class Drain(Protocol):
    """Writes the batches of sinks."""

    def put(self, sink: WriteBehind) -> None:
        """Arrange for ``sink.take()`` and ``sink.written()`` to be called on another thread.

        Raises:
            StorageUnavailable: the server shuts down, or too many writes are waiting.
        """
        ...

    def hurry(self) -> None:
        """Write the open batches now: a caller waits for one."""
        ...


class WriteBehind:
    """Checkpoint writes of one claim that return before they are committed.

    Rows collect in the open batch while the batch before is in flight. The first failure ends the
    sequence: the open batch is dropped, and every later write and the end of the run raise it.
    """

    def __init__(self, claim: Claim, drain: Drain) -> None:
        self.claim = claim
        self._drain = drain
        self._lock = threading.Lock()
        self._error: Exception | None = None
        self._open: Batch | None = None
        self._flying: Batch | None = None
        self._taken = 0
        self._fresh = str(claim.run.thread_id) if claim.fresh else None
        # Namespaces of the fresh thread that have a checkpoint by now.
        self._begun: set[str] = set()

    def write(self, rows: Rows) -> Steps[None]:
        if self._put(rows) > PENDING_BYTES:
            yield from self.settle()

    def settle(self) -> Steps[None]:
        batch = self._last()
        if batch is not None:
            yield from step(partial(asyncio.wrap_future, batch.done), batch.done.result)
        self.check()

    def has_nothing(self, thread_id: str, checkpoint_ns: str) -> bool:
        return thread_id == self._fresh and checkpoint_ns not in self._begun

    def check(self) -> None:
        """Raise the error that has ended the sequence, if there is one."""
        if self._error is not None:
            raise self._error

    def taken(self) -> int:
        """Return the number of the last batch that was handed over.

        Raises:
            Exception: the error that has ended the sequence.
        """
        with self._lock:
            self.check()
            return self._taken

    def take(self) -> Batch | None:
        """Hand over the open batch; a call of ``written`` must follow.

        None: the sequence has ended, or another thread has taken the batch.
        """
        with self._lock:
            batch = self._open
            if batch is None or self._flying is not None:
                return None
            self._open, self._flying = None, batch
            self._taken += 1
            batch.number = self._taken
            return batch

    def written(self, error: Exception | None) -> None:
        """Note that the batch in flight is committed, or why it is not."""
        with self._lock:
            landed, self._flying = self._flying, None
            dropped = None if error is None else self._end(error)
        _finish(landed, dropped)

    def fail(self, error: Exception) -> None:
        """End the sequence, whether or not a batch is in flight."""
        with self._lock:
            dropped = self._end(error)
        _finish(dropped)

    def end_with(self, act: Callable[[Rest], T], *, strict: bool) -> T:
        """Hand over everything that is left to the transaction that ends the claim.

        With ``strict`` an earlier failure fails the end too; without it the end writes no rows. No
        batch is handed over meanwhile: it could be committed between the count and the end.
        """
        batch = self._take_rest()
        try:
            if strict:
                self.check()
            failed = self._error is not None
            return act(Rest(Rows(), None) if failed else Rest(batch.rows, self._taken))
        except LoomlineError as error:
            self.fail(error)
            raise
        finally:
            self._go_on()
            batch.done.set_result(None)

    def _go_on(self) -> None:
        """Queue the rows that came during the end, so that their writers hear of its outcome."""
        with self._lock:
            self._flying = None
            if self._open is not None:
                with suppress(StorageUnavailable):
                    self._queue()

    def _take_rest(self) -> Batch:
        while True:
            with self._lock:
                flying = self._flying
                if flying is None:
                    batch = self._flying = self._open or Batch()
                    self._open = None
                    return batch
            flying.done.result()

    def _put(self, rows: Rows) -> int:
        """Add rows to the open batch; return the number of bytes that wait with them."""
        rows.size += _WRITE_BYTES
        with self._lock:
            self.check()
            self._begun.update(row.checkpoint_ns for row in rows.checkpoints)
            batch = self._open
            if batch is None:
                # Within the lock: a thread that adds to this batch relies on its being queued.
                batch = self._open = Batch()
                self._queue()
            batch.rows.add(rows)
            return batch.rows.size + (self._flying.rows.size if self._flying else 0)

    def _queue(self) -> None:
        try:
            self._drain.put(self)
        except StorageUnavailable as error:
            _finish(self._end(error))
            raise

    def _end(self, error: Exception) -> Batch | None:
        """Keep the first error and return the open batch, which is not going to be written."""
        self._error = self._error or error
        dropped, self._open = self._open, None
        return dropped

    def _last(self) -> Batch | None:
        with self._lock:
            batch = self._open or self._flying
        if batch is not None:
            self._drain.hurry()
        return batch


def _finish(*batches: Batch | None) -> None:
    for batch in batches:
        if batch is not None:
            batch.done.set_result(None)


class Sinks:
    """The sinks of the claims that this process executes."""

    def __init__(self, drain: Drain) -> None:
        self._drain = drain
        self._lock = threading.Lock()
        self._sinks: dict[str, WriteBehind] = {}

    def of(self, claim: Claim) -> WriteBehind:
        """Return the sink of a claim, the same one each time."""
        with self._lock:
            found = self._sinks.get(claim.token)
            if found is None:
                found = self._sinks[claim.token] = WriteBehind(claim, self._drain)
            return found

    def known(self, claim: Claim) -> WriteBehind:
        """Return the sink of a claim, or a new one that is not kept."""
        return self._sinks.get(claim.token) or WriteBehind(claim, self._drain)

    async def settle(self, claim: Claim) -> None:
        """Return once everything that was taken for a claim is committed."""
        await awaited(self.known(claim).settle())

    @contextmanager
    def last_use(self, claim: Claim) -> Iterator[None]:
        """Forget a claim after this block, unless the block fails in a way that allows a retry."""
        try:
            yield
        except LeaseLost:
            self._forget(claim)
            raise
        self._forget(claim)

    def _forget(self, claim: Claim) -> None:
        with self._lock:
            self._sinks.pop(claim.token, None)


class DirectSink(Generic[Connection]):
    """A sink of which every write is committed when it returns, outside of claims."""

    def __init__(
        self, access: Access[Connection], write_rows: Callable[[Connection, Rows], None]
    ) -> None:
        self._access = access
        self._write_rows = write_rows

    def write(self, rows: Rows) -> Steps[None]:
        return writing(self._access, lambda connection: self._write_rows(connection, rows))

    def settle(self) -> Steps[None]:
        return nothing()

    def has_nothing(self, thread_id: str, checkpoint_ns: str) -> bool:  # noqa: ARG002
        return False
