"""How the queue of runs stands."""

from __future__ import annotations

import sqlite3

from loomline.server.domain.runs import QueueStats

# Named, because by itself the database would go through all runs.
_COUNTS = """
    SELECT (SELECT count(*) FROM runs WHERE status = 'pending'),
           (SELECT count(*) FROM runs WHERE status = 'pending'
            AND graph_id NOT IN (SELECT value FROM json_each(:graphs))),
           (SELECT count(*) FROM runs INDEXED BY one_running_run_per_thread
            WHERE status = 'running'),
           (SELECT count(*) FROM runs WHERE status = 'pending' AND created_at <= :now)
"""
_MIDDLE = """
    SELECT avg(created_at) FROM (
        SELECT created_at FROM runs WHERE status = 'pending' AND created_at <= ?
        ORDER BY created_at LIMIT ? OFFSET ?)
"""
_OLDEST = "SELECT min(created_at) FROM runs WHERE status = 'pending'"
_OLDEST_UNBLOCKED = """
    SELECT min(created_at) FROM runs r WHERE status = 'pending' AND created_at <= ?
      AND NOT EXISTS (
        SELECT 1 FROM runs o WHERE o.thread_id = r.thread_id AND o.status = 'running')
"""


def queue_stats(connection: sqlite3.Connection, now: int, graphs: str | None) -> QueueStats:
    given = {"now": now, "graphs": graphs}
    pending, unknown, running, due = connection.execute(_COUNTS, given).fetchone()
    unknown = 0 if graphs is None else unknown
    if due == 0:
        return QueueStats(pending, running, unknown_graph=unknown)
    middle = (now, 2 - due % 2, (due - 1) // 2)
    (median,) = connection.execute(_MIDDLE, middle).fetchone()
    (oldest,) = connection.execute(_OLDEST).fetchone()
    (unblocked,) = connection.execute(_OLDEST_UNBLOCKED, (now,)).fetchone()
    return QueueStats(
        pending,
        running,
        longest_wait_seconds=_seconds(now, oldest),
        median_wait_seconds=_seconds(now, median),
        unknown_graph=unknown,
        longest_unblocked_wait_seconds=None if unblocked is None else _seconds(now, unblocked),
    )


def _seconds(now: int, then: float) -> float:
    return (now - then) / 1_000_000
