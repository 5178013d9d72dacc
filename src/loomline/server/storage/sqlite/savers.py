"""The checkpoint writes of runs on their way to the writer thread."""

from __future__ import annotations

import sqlite3

from loomline.server.domain.errors import LeaseLost
from loomline.server.domain.runs import Claim
from loomline.server.storage.sinks import Batch, WriteBehind, check_complete
from loomline.server.storage.sqlite import sql
from loomline.server.storage.sqlite.checkpoint_rows import write_rows
from loomline.server.storage.sqlite.connection import Writer


def fence(connection: sqlite3.Connection, claim: Claim) -> int:
    """Check that a claim is valid; return the number of its last batch in the database.

    Raises:
        LeaseLost: another claim has taken its place.
    """
    run_id = claim.run.run_id
    row = connection.execute(sql.FENCE, (str(run_id),)).fetchone()
    if row is None or row[0] != claim.token:
        raise LeaseLost(run_id)
    number: int = row[1]
    return number


class WriterDrain:
    """Hands the batches of sinks to the writer thread, each as one write."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    def put(self, sink: WriteBehind) -> None:
        write = _BatchWrite(sink)
        self._writer.post(write, sink.written)

    def hurry(self) -> None:
        self._writer.hurry()


class _BatchWrite:
    """The write of one batch. It keeps the batch, since a failed transaction repeats its writes."""

    def __init__(self, sink: WriteBehind) -> None:
        self._sink = sink
        self._batch: Batch | None = None

    def __call__(self, connection: sqlite3.Connection) -> None:
        self._batch = self._batch or self._sink.take()
        if self._batch is None:
            return
        try:
            self._write(connection, self._batch)
        except sqlite3.Error:
            raise  # the writer repeats it in a transaction of its own
        except Exception as error:
            # At once: the end of the run may be in the same transaction, and must fail as well.
            self._sink.fail(error)
            raise

    def _write(self, connection: sqlite3.Connection, batch: Batch) -> None:
        claim = self._sink.claim
        given = {"run": str(claim.run.run_id), "token": claim.token, "number": batch.number}
        if connection.execute(sql.COUNT_BATCH, given).rowcount:
            write_rows(connection, batch.rows)
        else:
            # Repeated although its commit had succeeded, or refused.
            check_complete(fence(connection, claim), batch.number)
