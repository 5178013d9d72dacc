"""The state of the queue of runs, for every database."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Generic

from loomline.server.domain.runs import QueueStats
from loomline.server.storage.checkpoints import Connection
from loomline.server.storage.tables import Dialect


class RunStats(Generic[Connection]):
    """The state of the queue, in one statement.

    ``running`` is the table of runs for the query of running ones, with the name of an index where
    the database would read all runs.
    """

    def __init__(self, dialect: Dialect[Connection], running: str | None = None) -> None:
        self._dialect = dialect
        name = f"{dialect.prefix}runs"
        pending = f"FROM {name} WHERE status = 'pending'"
        due = f"{pending} AND created_at <= ?"
        middle = f"SELECT created_at {due} ORDER BY created_at LIMIT 1 OFFSET"
        self._statement = f"""
            SELECT (SELECT count(*) {pending}),
                   (SELECT count(*) {pending} AND NOT {dialect.one_of.format("graph_id")}),
                   (SELECT count(*) FROM {running or name} WHERE status = 'running'),
                   (SELECT min(created_at) {due}),
                   ({middle} (SELECT (count(*) - 1) / 2 {due})),
                   ({middle} (SELECT count(*) / 2 {due})),
                   (SELECT min(created_at) FROM {name} r
                    WHERE status = 'pending' AND created_at <= ? AND NOT EXISTS (
                        SELECT 1 FROM {name} o
                        WHERE o.thread_id = r.thread_id AND o.status = 'running'))
        """

    def read(
        self, connection: Connection, now: datetime, graphs: Collection[str] | None
    ) -> QueueStats:
        codecs = self._dialect.codecs
        moment, names = codecs.moment.write(now), self._dialect.many(list(graphs or ()))
        values = (names, *[moment] * 6)
        ((pending, unknown, running, *times),) = self._dialect.execute(
            connection, self._statement, values
        ).fetchall()
        unknown = 0 if graphs is None else unknown
        oldest, lower, upper, unblocked = times
        if oldest is None:  # no run is due
            return QueueStats(pending, running, unknown_graph=unknown)

        def waited(time: object) -> float:
            return (now - codecs.moment.read(time)).total_seconds()

        return QueueStats(
            pending,
            running,
            longest_wait_seconds=waited(oldest),
            median_wait_seconds=(waited(lower) + waited(upper)) / 2,
            unknown_graph=unknown,
            longest_unblocked_wait_seconds=None if unblocked is None else waited(unblocked),
        )
