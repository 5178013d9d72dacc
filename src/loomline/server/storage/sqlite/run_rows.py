"""Rows of runs in SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import TypeAlias
from uuid import UUID

from loomline.schema import MultitaskStrategy, RunStatus
from loomline.server.domain.json import Encoded, dump
from loomline.server.domain.lifecycle import ActiveRun
from loomline.server.domain.outputs import Output
from loomline.server.domain.run_spec import StoredSpec
from loomline.server.domain.runs import NewRun, Run
from loomline.server.storage.sqlite import sql
from loomline.server.storage.sqlite.rows import encoded, micros, moment, obj, optional_text

RunRow: TypeAlias = tuple[
    str, str, str, str, RunStatus, str, bytes, MultitaskStrategy, int, int, int, int, int,
    str | None, str | None, str | None, int | None, int | None, str | None, str | None,
]  # fmt: skip


def active_runs(connection: sqlite3.Connection, thread: str) -> Sequence[ActiveRun]:
    rows = connection.execute(sql.ACTIVE_RUNS, (thread,))
    return [ActiveRun(UUID(run_id), status) for run_id, status in rows]


def ending_runs(connection: sqlite3.Connection, run_ids: Sequence[UUID]) -> Sequence[Run]:
    """Return the runs that have a webhook or a temporary thread, which their end concerns too."""
    if not run_ids:
        return []
    named = dump([str(run_id) for run_id in run_ids]).decode()
    return [run_of(row) for row in connection.execute(sql.ENDING_RUNS, (named,))]


def new_row(new: NewRun, metadata: str, now: int) -> tuple[object, ...]:
    return (
        str(new.run_id),
        str(new.thread_id),
        str(new.assistant_id),
        new.graph_id,
        metadata,
        new.request.stored,
        new.multitask_strategy,
        new.spec.temporary,
        new.spec.resumable,
        micros(new.created_at),
        now,
        new.webhook,
        optional_text(new.user),
        str(new.thread_id),
    )


def run_of(row: RunRow) -> Run:
    return Run(
        run_id=UUID(row[0]),
        thread_id=UUID(row[1]),
        assistant_id=UUID(row[2]),
        graph_id=row[3],
        status=row[4],
        metadata=obj(row[5]),
        request=StoredSpec(Encoded(row[6])),
        multitask_strategy=row[7],
        temporary=bool(row[8]),
        resumable=bool(row[9]),
        attempt=row[10],
        created_at=moment(row[11]),
        updated_at=moment(row[12]),
        error=encoded(row[13]),
        webhook=row[14],
        user=encoded(row[15]),
        number_before=row[16],
        last_number=row[17],
        stop_reason=row[18],
        output=Output.load(row[19]),
    )
