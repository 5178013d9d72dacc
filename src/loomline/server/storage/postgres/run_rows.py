"""Rows of runs in PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from loomline.server.domain.lifecycle import ActiveRun
from loomline.server.storage.postgres.connection import Connection, Cursor
from loomline.server.storage.postgres.dialect import DIALECT
from loomline.server.storage.runs import RunTable

RUNS: Final[RunTable[Connection]] = RunTable(DIALECT)


def active_runs(rows: Cursor) -> Sequence[ActiveRun]:
    return [ActiveRun(run_id, status) for run_id, status in rows]
