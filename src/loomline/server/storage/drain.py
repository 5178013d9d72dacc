"""The thread that writes the checkpoints of runs, many claims in one transaction.

For databases that execute the transactions of several connections at once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeAlias, TypeVar

from loomline.server.domain.errors import LeaseLost, StorageUnavailable
from loomline.server.domain.runs import Claim
from loomline.server.storage.checkpoints import Rows
from loomline.server.storage.pool import CLOSING, C, FenceLost, PooledDatabase
from loomline.server.storage.sinks import Batch, Rest, Sinks, WriteBehind, accepts

S = TypeVar("S")
T = TypeVar("T")
Taken: TypeAlias = tuple[WriteBehind, Batch]
Verdict: TypeAlias = Exception | None
"""The reason why a batch was not written; None: it is committed."""

LINGER_SECONDS: Final = 0.005
"""Time for which writes without a waiting caller are collected, to share a transaction."""


class ThreadDrain:
    """A thread that writes the batches of sinks.

    Args:
        write: Writes batches of several claims in one transaction, on the calling thread, and
            returns the verdict of each.
    """

    def __init__(self, write: Callable[[Sequence[Taken]], Sequence[Verdict]]) -> None:
        self._write_together = write
        self._condition = threading.Condition()
        self._sinks: list[WriteBehind] = []
        self._urgent = False
        self._closing = False
        self._thread = threading.Thread(target=self._main, name="loomline-checkpoints", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Write the batches that wait, then end."""
        with self._condition:
            self._closing = True
            self._condition.notify()
        self._thread.join()

    def put(self, sink: WriteBehind) -> None:
        with self._condition:
            if self._closing:
                raise StorageUnavailable(CLOSING)
            self._sinks.append(sink)
            if len(self._sinks) == 1:
                self._condition.notify()

    def hurry(self) -> None:
        with self._condition:
            self._urgent = True
            self._condition.notify()

    def _main(self) -> None:
        while sinks := self._next():
            self._write([(sink, batch) for sink in sinks if (batch := sink.take()) is not None])

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

    def _write(self, taken: Sequence[Taken]) -> None:
        try:
            verdicts = self._write_together(taken)
        except Exception as error:  # noqa: BLE001 - kept for the run that it belongs to
            if len(taken) == 1:
                taken[0][0].written(error)
                return
            # One batch may have failed the transaction of all: each gets one of its own.
            for each in taken:
                self._write([each])
            return
        for (sink, _), verdict in zip(taken, verdicts, strict=True):
            sink.written(verdict)


def judged(taken: Sequence[Taken], stored: Mapping[str, int]) -> tuple[list[Verdict], Rows]:
    """Return the verdict of each batch, and the rows of the batches to write.

    Args:
        taken: The batches.
        stored: The number of the last batch in the database, by the token of each claim that the
            transaction holds. The other claims are not valid.
    """
    verdicts: list[Verdict] = []
    rows = Rows()
    for sink, batch in taken:
        try:
            if accepts(_number(stored, sink.claim), batch.number):
                rows.add(batch.rows)
        except (LeaseLost, StorageUnavailable) as error:
            verdicts.append(error)
        else:
            verdicts.append(None)
    return verdicts, rows


def _number(stored: Mapping[str, int], claim: Claim) -> int:
    if claim.token not in stored:
        raise LeaseLost(claim.run.run_id)
    return stored[claim.token]


def held(
    database: PooledDatabase[C], claim: Claim, work: Callable[[C], S], read: Callable[[S], T]
) -> T:
    """Execute work in a transaction; its first statement holds a claim.

    Raises:
        LeaseLost: The claim is no longer valid.
    """
    try:
        return database.transact(work, read)
    except FenceLost:
        raise LeaseLost(claim.run.run_id) from None


def end_claim(
    database: PooledDatabase[C],
    sinks: Sinks,
    claim: Claim,
    work: Callable[[C, Rest], S],
    read: Callable[[S], T],
    *,
    strict: bool = True,
) -> T:
    """Execute the work that ends a claim together with the rows that are still unwritten.

    The claim is forgotten, unless the work fails in a way that allows another attempt.

    Raises:
        LeaseLost: The claim is no longer valid.
    """

    def act(rest: Rest) -> T:
        return held(database, claim, lambda connection: work(connection, rest), read)

    with sinks.last_use(claim):
        return sinks.of(claim).end_with(act, strict=strict)
