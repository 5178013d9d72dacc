"""Threads as rows in SQLite."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from loomline.server.storage.sqlite import sql
from loomline.server.storage.sqlite.checkpoint_rows import keep_latest_checkpoints
from loomline.server.storage.sqlite.dialect import DIALECT
from loomline.server.storage.sqlite.pieces import (
    Room,
    ThreadUnderWork,
    begin_work,
    remove_all,
    work_on,
)
from loomline.server.storage.sqlite.rows import micros
from loomline.server.storage.sqlite.thread_checkpoints import checkpoints_size
from loomline.server.storage.threads import ThreadForm, ThreadTable

# The conditions and the order are those of the index.
_EXPIRED = """
    SELECT thread_id, ttl_strategy FROM threads
    WHERE ttl_minutes IS NOT NULL AND status <> 'busy' AND swept_at IS NOT updated_at
      AND updated_at + CAST(ttl_minutes * 60000000 AS INTEGER) <= ?
    ORDER BY updated_at + CAST(ttl_minutes * 60000000 AS INTEGER) LIMIT ?
"""
_DELETE = tuple(f"DELETE FROM {table} WHERE thread_id = ?" for table in ("threads", "crons"))


@dataclass(frozen=True, slots=True)
class SqliteRemoval:
    """``ThreadRemoval`` for one transaction.

    The rows that do not fit into the transaction are removed in pieces later.
    """

    connection: sqlite3.Connection
    room: Room = field(default_factory=Room)

    def delete(self, thread_id: UUID) -> None:
        # Rows that are left are invisible, since no thread has them. The active runs are deleted
        # at once, so that no worker has any.
        key = str(thread_id)
        for statement in _DELETE:
            self.connection.execute(statement, (key,))
        if self.room.fits(self.connection, key):
            remove_all(self.connection, key)
        else:
            self.connection.execute(sql.DELETE_ACTIVE_RUNS, (key,))
            begin_work(self.connection, key, "remove")

    def cut_down(self, thread_id: UUID) -> None:
        # A thread with noted work is locked.
        key = str(thread_id)
        if self.room.fits(self.connection, key):
            keep_latest_checkpoints(self.connection, key)
        else:
            begin_work(self.connection, key, "prune")


def _check_new(connection: sqlite3.Connection, thread_id: UUID) -> None:
    """Refuse a thread while rows of a deleted thread with the same id are being removed."""
    if work_on(connection, str(thread_id)) == "remove":
        raise ThreadUnderWork(str(thread_id))


# The index is named, because the database prefers that of all runs, which grows with the thread.
THREADS: Final[ThreadTable[sqlite3.Connection]] = ThreadTable(
    DIALECT,
    ThreadForm(
        runs="runs INDEXED BY runs_active",
        expired=_EXPIRED,
        moment=micros,
        passing="",
        removal=SqliteRemoval,
        size=checkpoints_size,
        added=_check_new,
    ),
)
