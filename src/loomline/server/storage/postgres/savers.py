"""The checkpoint writes of runs on their way to the database: many claims in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from loomline.server.storage.drain import Taken, ThreadDrain, Verdict, end_claim, held, judged
from loomline.server.storage.postgres import sql
from loomline.server.storage.postgres.checkpoint_rows import write_rows
from loomline.server.storage.postgres.connection import Connection, Database, itself

__all__ = ["drain", "end_claim", "held"]


def drain(database: Database) -> ThreadDrain:
    """Return the thread that writes the batches of sinks. It must be started."""
    return ThreadDrain(lambda taken: database.transact(partial(_write_taken, taken=taken), itself))


def _write_taken(connection: Connection, taken: Sequence[Taken]) -> Sequence[Verdict]:
    """Write the batches of the claims that are valid; return the error of each other batch."""
    verdicts, rows = judged(taken, _hold(connection, taken))
    write_rows(connection, rows)
    return verdicts


def _hold(connection: Connection, taken: Sequence[Taken]) -> dict[str, int]:
    """Lock the runs of claims that are valid; return the number of the last batch by token."""
    # In the order of the run ids, as every transaction that locks several runs.
    ordered = sorted(taken, key=lambda each: each[0].claim.run.run_id)
    values = (
        [sink.claim.run.run_id for sink, _ in ordered],
        [sink.claim.token for sink, _ in ordered],
        [batch.number for _, batch in ordered],
    )
    rows = connection.execute(sql.HOLD_MANY, values)
    return {str(token): number for token, number in rows}
