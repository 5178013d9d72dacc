"""Rows of runs in PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final
from uuid import UUID

from loomline.server.domain.lifecycle import ActiveRun
from loomline.server.storage.postgres import sql
from loomline.server.storage.postgres.connection import Connection
from loomline.server.storage.postgres.dialect import DIALECT
from loomline.server.storage.run_rows import RunTable

RUNS: Final[RunTable[Connection]] = RunTable(DIALECT)


def active_runs(
    connection: Connection, thread_id: UUID, lock: bool
) -> Callable[[], Sequence[ActiveRun]]:
    statement = sql.LOCK_ACTIVE_RUNS if lock else sql.ACTIVE_RUNS
    rows = connection.execute(statement, (thread_id,))
    return lambda: [ActiveRun(run_id, status) for run_id, status in rows]
