"""Rows of runs in PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias
from uuid import UUID

from loomline.server.domain.lifecycle import ActiveRun
from loomline.server.domain.outputs import Output
from loomline.server.domain.run_spec import StoredSpec
from loomline.server.domain.runs import NewRun, Run
from loomline.server.storage.postgres import sql
from loomline.server.storage.postgres.connection import Connection, Cursor
from loomline.server.storage.postgres.rows import encoded, obj, optional_text

RunRow: TypeAlias = tuple[Any, ...]


def active_runs(rows: Cursor) -> Sequence[ActiveRun]:
    return [ActiveRun(run_id, status) for run_id, status in rows]


def ending_runs(connection: Connection, run_ids: Sequence[UUID]) -> Sequence[Run]:
    """Return the runs that have a webhook or a temporary thread, which their end concerns too."""
    if not run_ids:
        return []
    return [run_of(row) for row in connection.execute(sql.ENDING_RUNS, (list(run_ids),))]


def new_row(new: NewRun, metadata: str) -> RunRow:
    return (
        new.run_id,
        new.thread_id,
        new.assistant_id,
        new.graph_id,
        metadata,
        new.request.stored.decode(),
        new.multitask_strategy,
        new.spec.temporary,
        new.spec.resumable,
        new.created_at,
        new.now,
        new.webhook,
        optional_text(new.user),
        new.thread_id,
    )


def run_of(row: RunRow) -> Run:
    return Run(
        run_id=row[0],
        thread_id=row[1],
        assistant_id=row[2],
        graph_id=row[3],
        status=row[4],
        metadata=obj(row[5]),
        request=StoredSpec(row[6]),
        multitask_strategy=row[7],
        temporary=row[8],
        resumable=row[9],
        attempt=row[10],
        created_at=row[11],
        updated_at=row[12],
        error=encoded(row[13]),
        webhook=row[14],
        user=encoded(row[15]),
        number_before=row[16],
        last_number=row[17],
        stop_reason=row[18],
        output=Output.load(row[19]),
    )
