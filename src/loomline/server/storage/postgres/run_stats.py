"""How the queue of runs stands."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from loomline.server.domain.runs import QueueStats
from loomline.server.storage.postgres.connection import Connection

_STATS = """
    SELECT count(*), (SELECT count(*) FROM loomline_runs WHERE status = 'running'),
           max(r.seconds),
           percentile_cont(0.5) WITHIN GROUP (ORDER BY r.seconds) FILTER (WHERE r.seconds >= 0),
           max(r.seconds) FILTER (WHERE r.seconds >= 0 AND NOT EXISTS (
               SELECT 1 FROM loomline_runs o
               WHERE o.thread_id = r.thread_id AND o.status = 'running')),
           count(*) FILTER (WHERE r.graph_id <> ALL(%(graphs)s::text[]))
    FROM (
        SELECT thread_id, graph_id,
               extract(epoch FROM %(now)s::timestamptz - created_at)::float8 AS seconds
        FROM loomline_runs WHERE status = 'pending') r
"""


def queue_stats(
    connection: Connection, now: datetime, graphs: Collection[str] | None
) -> QueueStats:
    given = {"now": now, "graphs": None if graphs is None else list(graphs)}
    row = connection.execute(_STATS, given).fetchone()
    assert row is not None
    pending, running, longest, median, unblocked, unknown = row
    if median is None:  # none is due
        return QueueStats(pending, running, unknown_graph=unknown)
    return QueueStats(
        pending,
        running,
        longest_wait_seconds=longest,
        median_wait_seconds=median,
        unknown_graph=unknown,
        longest_unblocked_wait_seconds=unblocked,
    )
