"""Rows of runs in SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import Final
from uuid import UUID

from loomline.server.domain.lifecycle import ActiveRun
from loomline.server.storage.run_rows import RunTable
from loomline.server.storage.sqlite import sql
from loomline.server.storage.sqlite.dialect import DIALECT

RUNS: Final[RunTable[sqlite3.Connection]] = RunTable(DIALECT)


def active_runs(
    connection: sqlite3.Connection, thread_id: UUID, _: bool
) -> Callable[[], Sequence[ActiveRun]]:
    rows = connection.execute(sql.ACTIVE_RUNS, (str(thread_id),)).fetchall()
    return lambda: [ActiveRun(UUID(run_id), status) for run_id, status in rows]
