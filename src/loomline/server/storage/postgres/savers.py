"""The checkpoint writes of runs on their way to the database: many claims in one transaction."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeAlias, TypeVar

from loomline.server.domain.errors import LeaseLost, StorageUnavailable
from loomline.server.domain.runs import Claim
from loomline.server.storage.checkpoints import Rows
from loomline.server.storage.postgres import sql
from loomline.server.storage.postgres.checkpoint_rows import write_rows
from loomline.server.storage.postgres.connection import (
    Connection,
    Database,
    FenceLost,
    Work,
    itself,
)
from loomline.server.storage.postgres.failures import CLOSING
from loomline.server.storage.sinks import Batch, Rest, Sinks, WriteBehind, accepts

S = TypeVar("S")
T = TypeVar("T")
LastWork: TypeAlias = Callable[[Connection, Rest], T]

_Taken: TypeAlias = tuple[WriteBehind, Batch]
_Verdict: TypeAlias = Exception | None

LINGER_SECONDS = 0.005
"""Time for which writes without a waiting caller are collected, to share a transaction."""


class ThreadDrain:
    """A thread that writes the batches of sinks."""

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

    def _write(self, taken: Sequence[_Taken]) -> None:
        try:
            verdicts = self._database.transact(partial(_write_taken, taken=taken), itself)
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


def held(database: Database, claim: Claim, work: Work[S], read: Callable[[S], T]) -> T:
    """Execute work in a transaction; its first statement holds a claim.

    Raises:
        LeaseLost: the claim is no longer valid.
    """
    try:
        return database.transact(work, read)
    except FenceLost:
        raise LeaseLost(claim.run.run_id) from None


def end_claim(
    database: Database,
    sinks: Sinks,
    claim: Claim,
    work: LastWork[S],
    read: Callable[[S], T],
    *,
    strict: bool = True,
) -> T:
    """Execute the work that ends a claim together with the rows that are still unwritten.

    The claim is forgotten, unless the work fails in a way that allows another attempt.

    Raises:
        LeaseLost: the claim is no longer valid.
    """

    def act(rest: Rest) -> T:
        return held(database, claim, lambda connection: work(connection, rest), read)

    with sinks.last_use(claim):
        return sinks.of(claim).end_with(act, strict=strict)


def _write_taken(connection: Connection, taken: Sequence[_Taken]) -> Sequence[_Verdict]:
    """Write the batches of the claims that are valid; return the error of each other batch."""
    stored = _hold(connection, taken)
    verdicts: list[_Verdict] = []
    rows = Rows()
    for sink, batch in taken:
        try:
            if accepts(_number(stored, sink.claim), batch.number):
                rows.add(batch.rows)
        except (LeaseLost, StorageUnavailable) as error:
            verdicts.append(error)
        else:
            verdicts.append(None)
    write_rows(connection, rows)
    return verdicts


def _hold(connection: Connection, taken: Sequence[_Taken]) -> dict[str, int]:
    """Lock the runs of claims that are valid; return the number of the last batch by token."""
    # In the order of the run ids, as every transaction that locks several runs.
    held = sorted(taken, key=lambda each: each[0].claim.run.run_id)
    values = (
        [sink.claim.run.run_id for sink, _ in held],
        [sink.claim.token for sink, _ in held],
        [batch.number for _, batch in held],
    )
    rows = connection.execute(sql.HOLD_MANY, values)
    return {str(token): number for token, number in rows}


def _number(stored: dict[str, int], claim: Claim) -> int:
    if claim.token not in stored:
        raise LeaseLost(claim.run.run_id)
    return stored[claim.token]
