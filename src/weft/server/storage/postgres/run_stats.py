"""How the queue of runs stands."""

from __future__ import annotations

from datetime import datetime

from weft.server.domain.runs import QueueStats
from weft.server.storage.postgres.connection import Connection

_STATS = """
    SELECT count(*), (SELECT count(*) FROM weft_runs WHERE status = 'running'),
           max(r.seconds),
           percentile_cont(0.5) WITHIN GROUP (ORDER BY r.seconds) FILTER (WHERE r.seconds >= 0),
           max(r.seconds) FILTER (WHERE r.seconds >= 0 AND NOT EXISTS (
               SELECT 1 FROM weft_runs o WHERE o.thread_id = r.thread_id AND o.status = 'running'))
    FROM (
        SELECT thread_id, extract(epoch FROM %(now)s::timestamptz - created_at)::float8 AS seconds
        FROM weft_runs WHERE status = 'pending') r
"""


def queue_stats(connection: Connection, now: datetime) -> QueueStats:
    row = connection.execute(_STATS, {"now": now}).fetchone()
    assert row is not None
    pending, running, longest, median, unblocked = row
    if median is None:  # none is due
        return QueueStats(pending, running)
    return QueueStats(
        pending,
        running,
        longest_wait_seconds=longest,
        median_wait_seconds=median,
        longest_unblocked_wait_seconds=unblocked,
    )
