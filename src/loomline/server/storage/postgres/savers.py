"""Where checkpoints go on their way to the database: at once, or behind a run that goes on."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import TypeAlias, TypeVar

from loomline.server.domain.errors import LeaseLost, LoomlineError, StorageUnavailable
from loomline.server.domain.runs import Claim
from loomline.server.storage.checkpoints import Rows
from loomline.server.storage.postgres import sql
from loomline.server.storage.postgres.checkpoint_rows import write_rows
from loomline.server.storage.postgres.connection import Connection, Database, FenceLost, itself
from loomline.server.storage.postgres.failures import CLOSING

S = TypeVar("S")
T = TypeVar("T")
LastWork: TypeAlias = Callable[[Connection, Rows], T]

PENDING_BYTES = 8 * 1024 * 1024
"""What a run may have unwritten before it has to wait."""

LINGER_SECONDS = 0.005
"""How long writes that nobody waits for are collected, to share a transaction."""

_WRITE_BYTES = 2 * 1024
"""What a write weighs besides its content: its rows are objects while they wait."""


class DirectSink:
    """Every write is committed when it returns."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def write(self, rows: Rows) -> None:
        await self._database.write(partial(write_rows, rows=rows))

    def write_blocking(self, rows: Rows) -> None:
        self._database.write_blocking(partial(write_rows, rows=rows))

    async def settle(self) -> None:
        return

    def settle_blocking(self) -> None:
        return

    def has_nothing(self, thread_id: str, checkpoint_ns: str) -> bool:  # noqa: ARG002
        return False


def _told() -> Future[None]:
    future: Future[None] = Future()
    # From now on it cannot be cancelled by one of those who wait for it.
    future.set_running_or_notify_cancel()
    return future


@dataclass(eq=False, slots=True)
class _Batch:
    """Rows that are written together. ``done`` tells when that is over, not how it went."""

    rows: Rows = field(default_factory=Rows)
    done: Future[None] = field(default_factory=_told)


class WriteBehind:
    """Writes for a claim that return before they are committed.

    What comes until the drain takes it is written together. The first failure is kept: it meets
    every later write, and the end of the run.
    """

    def __init__(self, drain: Drain, claim: Claim) -> None:
        self.claim = claim
        self.error: Exception | None = None
        self._drain = drain
        self._lock = threading.Lock()
        self._open: _Batch | None = None
        self._flying: _Batch | None = None
        self._fresh = str(claim.run.thread_id) if claim.fresh else None
        # Namespaces of the fresh thread that have a checkpoint by now.
        self._begun: set[str] = set()

    async def write(self, rows: Rows) -> None:
        if self._put(rows) > PENDING_BYTES:
            await self.settle()

    def write_blocking(self, rows: Rows) -> None:
        if self._put(rows) > PENDING_BYTES:
            self.settle_blocking()

    async def settle(self) -> None:
        batch = self._last()
        if batch is not None:
            await asyncio.wrap_future(batch.done)
        self._raise()

    def settle_blocking(self) -> None:
        batch = self._last()
        if batch is not None:
            batch.done.result()
        self._raise()

    def has_nothing(self, thread_id: str, checkpoint_ns: str) -> bool:
        return thread_id == self._fresh and checkpoint_ns not in self._begun

    def take(self) -> Rows | None:
        """Hand over what has come since the last time; ``written`` must follow."""
        with self._lock:
            if self._open is None or self._flying is not None:
                # The end of the claim took it, and what came afterwards has a place of its own.
                return None
            self._flying, self._open = self._open, None
            return self._flying.rows

    def written(self, error: Exception | None) -> None:
        with self._lock:
            self.error = self.error or error
            batch, self._flying = self._flying, None
        if batch is not None:
            batch.done.set_result(None)

    def end_with(self, act: Callable[[Rows], T], *, strict: bool) -> T:
        """Hand over everything that is left to the transaction that ends the claim.

        After a failure nothing more is written. With ``strict`` the end fails, too.
        """
        batch = self._take_rest()
        try:
            if strict:
                self._raise()
            return act(batch.rows if self.error is None else Rows())
        except LoomlineError as error:
            self.error = self.error or error
            raise
        finally:
            batch.done.set_result(None)

    def _take_rest(self) -> _Batch:
        while True:
            with self._lock:
                flying = self._flying
                if flying is None:
                    batch, self._open = self._open or _Batch(), None
                    return batch
            flying.done.result()

    def _put(self, rows: Rows) -> int:
        """Add rows; return how many bytes are waiting with them."""
        self._raise()
        rows.size += _WRITE_BYTES
        with self._lock:
            self._begun.update(row[1] for row in rows.checkpoints)
            batch, begins = self._open, self._open is None
            if batch is None:
                batch = self._open = _Batch()
            batch.rows.add(rows)
            waiting = batch.rows.size + (self._flying.rows.size if self._flying else 0)
        if begins:
            self._drain.put(self)
        return waiting

    def _last(self) -> _Batch | None:
        batch = self._open or self._flying
        if batch is not None:
            self._drain.hurry()
        return batch

    def _raise(self) -> None:
        if self.error is not None:
            raise self.error


class Drain:
    """A thread that writes what the sinks have collected: many claims in one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._condition = threading.Condition()
        self._sinks: list[WriteBehind] = []
        self._urgent = False
        self._closing = False
        self._thread = threading.Thread(target=self._main, name="loomline-checkpoints", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Write what waits, then end."""
        with self._condition:
            self._closing = True
            self._condition.notify()
        self._thread.join()

    def put(self, sink: WriteBehind) -> None:
        with self._condition:
            closing = self._closing
            if not closing:
                self._sinks.append(sink)
                if len(self._sinks) == 1:
                    self._condition.notify()
        if closing:
            sink.take()
            sink.written(StorageUnavailable(CLOSING))
            raise StorageUnavailable(CLOSING)

    def hurry(self) -> None:
        with self._condition:
            self._urgent = True
            self._condition.notify()

    def _main(self) -> None:
        while sinks := self._next():
            self._write([(sink, rows) for sink in sinks if (rows := sink.take()) is not None])

    def _next(self) -> Sequence[WriteBehind]:
        with self._condition:
            while not self._sinks and not self._closing:
                self._condition.wait()
                self._urgent = self._urgent and bool(self._sinks)
            if not self._urgent and not self._closing:
                self._condition.wait(LINGER_SECONDS)
            sinks, self._sinks = self._sinks, []
            self._urgent = False
            return sinks

    def _write(self, batches: Sequence[tuple[WriteBehind, Rows]]) -> None:
        try:
            held = self._database.transact(partial(_write_held, batches=batches), itself)
        except Exception as error:  # noqa: BLE001 - kept for the run that it belongs to
            if len(batches) == 1:
                batches[0][0].written(error)
                return
            # One of them may be to blame for all: let the others have their own chance.
            for batch in batches:
                self._write([batch])
            return
        for sink, _ in batches:
            lost = sink.claim.token not in held
            sink.written(LeaseLost(sink.claim.run.run_id) if lost else None)


class Savers:
    """The sinks of the claims that this process executes."""

    def __init__(self, database: Database, drain: Drain) -> None:
        self._database = database
        self._drain = drain
        self._lock = threading.Lock()
        self._sinks: dict[str, WriteBehind] = {}

    def sink(self, claim: Claim) -> WriteBehind:
        with self._lock:
            found = self._sinks.get(claim.token)
            if found is None:
                found = self._sinks[claim.token] = WriteBehind(self._drain, claim)
            return found

    async def settle(self, claim: Claim) -> None:
        """Return once everything taken for this claim is committed."""
        sink = self._sinks.get(claim.token)
        if sink is not None:
            await sink.settle()

    def last(
        self, claim: Claim, work: LastWork[S], read: Callable[[S], T], *, strict: bool = True
    ) -> T:
        """Execute the work that ends a claim together with the rows that are still unwritten.

        The claim is forgotten, unless the work fails in a way that allows another attempt.

        Raises:
            LeaseLost: the claim is no longer valid.
        """

        def act(rows: Rows) -> T:
            try:
                return self._database.transact(lambda c: work(c, rows), read)
            except FenceLost:
                raise LeaseLost(claim.run.run_id) from None

        sink = self._sinks.get(claim.token) or WriteBehind(self._drain, claim)
        try:
            result = sink.end_with(act, strict=strict)
        except LeaseLost:
            self._forget(claim)
            raise
        self._forget(claim)
        return result

    def _forget(self, claim: Claim) -> None:
        with self._lock:
            self._sinks.pop(claim.token, None)


def _write_held(
    connection: Connection, batches: Sequence[tuple[WriteBehind, Rows]]
) -> frozenset[str]:
    """Write the rows of the claims that are valid; return the tokens of those."""
    claims = sorted((sink.claim for sink, _ in batches), key=lambda claim: claim.run.run_id)
    values = [[claim.run.run_id for claim in claims], [claim.token for claim in claims]]
    held = frozenset(str(token) for (token,) in connection.execute(sql.HOLD_MANY, values))
    rows = Rows()
    for sink, each in batches:
        if sink.claim.token in held:
            rows.add(each)
    write_rows(connection, rows)
    return held
