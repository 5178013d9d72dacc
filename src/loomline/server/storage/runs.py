"""Runs as rows, for every database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from loomline.schema import RunStatus
from loomline.server.domain.access import EVERYTHING, Condition, meets
from loomline.server.domain.errors import RunNotFound
from loomline.server.domain.outputs import Output
from loomline.server.domain.run_spec import StoredSpec
from loomline.server.domain.runs import Run
from loomline.server.storage.checkpoints import Connection
from loomline.server.storage.records import (
    FLAG,
    ID,
    MOMENT,
    NOT_STORED,
    NUMBER,
    OBJECT,
    OPTIONAL_ENCODED,
    OPTIONAL_NUMBER,
    OPTIONAL_STRING,
    STRING,
    Codec,
    Codecs,
    Column,
    Record,
)
from loomline.server.storage.tables import Dialect, Table, Where


def _request(codecs: Codecs) -> Codec[StoredSpec]:
    read, write = codecs.content.read, codecs.content.write
    return Codec(lambda request: write(request.stored), lambda stored: StoredSpec(read(stored)))


RUN: Final = Record(
    Run,
    run_id=ID,
    thread_id=ID,
    assistant_id=ID,
    graph_id=STRING,
    status=STRING,
    metadata=OBJECT,
    request=Column(_request, "kwargs"),
    multitask_strategy=STRING,
    temporary=FLAG,
    resumable=FLAG,
    attempt=NUMBER,
    created_at=MOMENT,
    updated_at=MOMENT,
    error=OPTIONAL_ENCODED,
    webhook=OPTIONAL_STRING,
    user=OPTIONAL_ENCODED.named("caller"),
    sealing=NOT_STORED,
    number_before=OPTIONAL_NUMBER,
    last_number=OPTIONAL_NUMBER,
    stop_reason=OPTIONAL_STRING,
    output=Column(lambda _: Codec(Output.dump, Output.load)),
)

RUN_COLUMNS: Final = ", ".join(RUN.columns[field].name or field for field in RUN.fields)
"""The columns of a run, for statements that a driver has of its own."""

_CONCERNED: Final = Where(("(webhook IS NOT NULL OR temporary)",))


class RunTable(Table[Connection, Run]):
    """The table of runs, within the caller's transaction."""

    def __init__(self, dialect: Dialect[Connection]) -> None:
        super().__init__(dialect, "runs", RUN)
        written = ", ".join(self.rows.names.values())
        values = ", ".join("?" for _ in self.rows.names)
        priority = f"SELECT priority FROM {dialect.prefix}threads WHERE thread_id = ?"
        self._add = (
            f"INSERT INTO {self.name} ({written}, priority)"
            f" VALUES ({values}, coalesce(({priority}), 0))"
        )

        self._found_on = {
            part: f"SELECT {RUN_COLUMNS}, (SELECT {part} FROM {dialect.prefix}threads t"
            f" WHERE t.thread_id = {self.name}.thread_id) FROM {self.name} WHERE run_id = ?"
            for part in ("1", "t.metadata")
        }

    def add(self, connection: Connection, run: Run) -> None:
        """Insert a run with the priority of its thread."""
        thread_id = self.dialect.codecs.id.write(run.thread_id)
        self.execute(connection, self._add, *self.rows.row(run), thread_id)

    def found(
        self, connection: Connection, thread_id: UUID | None, run_id: UUID, access: Condition
    ) -> Run:
        """Return a run of a thread that meets a condition; None: of any such thread.

        Raises:
            RunNotFound: There is no such run, or its thread is gone.
        """
        part = "1" if access == EVERYTHING else "t.metadata"
        row = self.execute(
            connection, self._found_on[part], self.rows.value("run_id", run_id)
        ).fetchone()
        if row is None:
            raise RunNotFound(run_id)
        *columns, thread = row
        run = self.rows.record(columns)
        # Rows of a deleted thread may be waiting for their removal.
        if thread is None or thread_id not in {None, run.thread_id}:
            raise RunNotFound(run_id)
        if access != EVERYTHING and not meets(self.dialect.codecs.object.read(thread), access):
            raise RunNotFound(run_id)
        return run

    def ending(self, connection: Connection, run_ids: Sequence[UUID]) -> Sequence[Run]:
        """Return the runs that have a webhook or a temporary thread, which their end concerns."""
        if not run_ids:
            return []
        where = self.dialect.among("run_id", run_ids) & _CONCERNED
        return self.all(connection, where)

    def of_thread(
        self,
        connection: Connection,
        thread_id: UUID,
        status: RunStatus | None,
        *,
        limit: int,
        offset: int,
    ) -> list[Run]:
        """Return the runs of a thread, newest first."""
        where = self.matching(thread_id=thread_id, status=status)
        order = f"created_at DESC, {self.dialect.arrival} DESC"
        return self.select(connection, where, order, limit, offset)
