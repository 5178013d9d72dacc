"""Threads as rows in PostgreSQL."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from uuid import UUID

from loomline.server.storage.postgres.checkpoint_rows import (
    delete_thread_checkpoints,
    keep_latest_checkpoints,
)
from loomline.server.storage.postgres.connection import Connection
from loomline.server.storage.postgres.dialect import DIALECT
from loomline.server.storage.postgres.thread_checkpoints import checkpoints_size
from loomline.server.storage.threads import ThreadForm, ThreadTable

# The conditions and the order are those of the index.
_EXPIRED = """
    SELECT thread_id, ttl_strategy FROM loomline_threads
    WHERE ttl_minutes IS NOT NULL AND status <> 'busy' AND swept_at IS DISTINCT FROM updated_at
      AND loomline_expires(updated_at, ttl_minutes) <= ?
    ORDER BY loomline_expires(updated_at, ttl_minutes) LIMIT ?
"""
_DELETE_RUNS = """
    WITH answers AS (DELETE FROM loomline_run_answers WHERE thread_id = %(thread)s)
    DELETE FROM loomline_runs WHERE thread_id = %(thread)s
"""
_DELETE = (
    _DELETE_RUNS,
    *(
        f"DELETE FROM {table} WHERE thread_id = %(thread)s"
        for table in ("loomline_thread_values", "loomline_crons", "loomline_threads")
    ),
)


@dataclass(frozen=True, slots=True)
class PostgresRemoval:
    """``ThreadRemoval`` for threads that are locked."""

    connection: Connection

    def delete(self, thread_id: UUID) -> None:
        # The runs go before the checkpoints: a worker that writes checkpoints holds its run until
        # they are written, and no worker can begin to write afterwards.
        for statement in _DELETE:
            self.connection.execute(statement, {"thread": thread_id})
        delete_thread_checkpoints(self.connection, str(thread_id))

    def cut_down(self, thread_id: UUID) -> None:
        keep_latest_checkpoints(self.connection, str(thread_id))


THREADS: Final[ThreadTable[Connection]] = ThreadTable(
    DIALECT,
    ThreadForm(
        runs="loomline_runs",
        expired=_EXPIRED,
        moment=lambda now: now.timestamp(),
        passing=" FOR UPDATE SKIP LOCKED",
        removal=PostgresRemoval,
        size=checkpoints_size,
    ),
)
