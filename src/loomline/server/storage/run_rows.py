"""Runs as rows for every database, and the differences between databases."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Generic
from uuid import UUID

from loomline.schema import RunStatus
from loomline.server.domain.access import EVERYTHING, Condition, meets
from loomline.server.domain.errors import RunNotFound
from loomline.server.domain.json import Encoded
from loomline.server.domain.lifecycle import ActiveRun, Changes
from loomline.server.domain.outputs import Output
from loomline.server.domain.run_spec import StoredSpec
from loomline.server.domain.runs import Run
from loomline.server.storage.checkpoints import Connection
from loomline.server.storage.idempotency import Keys
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
    nullable,
)
from loomline.server.storage.run_stats import RunStats
from loomline.server.storage.tables import Dialect, Table, Where
from loomline.server.storage.threads import ThreadTable


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


@dataclass(frozen=True, slots=True)
class RunForm(Generic[Connection]):
    """The differences between databases in how runs are stored and found.

    Args:
        runs: The table of runs.
        threads: The table of threads.
        keys: The table of idempotency keys.
        stats: Reads the state of the queue.
        active_runs: Sends the query for the active runs of a thread, and returns a function that
            returns them. With True no pending run begins before the end of the transaction.
        apply: Applies changes to the runs of a thread, which must be locked.
        expired: Statements that take whether all leases have expired, and the moment: whether a
            lease has expired, locks in their order, and the runs with an expired lease.
    """

    runs: RunTable[Connection]
    threads: ThreadTable[Connection]
    keys: Keys[Connection]
    stats: RunStats[Connection]
    active_runs: Callable[[Connection, UUID, bool], Callable[[], Sequence[ActiveRun]]]
    apply: Callable[[Connection, UUID, Changes, datetime], object]
    expired: tuple[str, ...]


class RunTable(Table[Connection, Run]):
    """The table of runs, within the caller's transaction."""

    def __init__(self, dialect: Dialect[Connection]) -> None:
        super().__init__(dialect, "runs", RUN)
        self._events = nullable(dialect.codecs.encoded)
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

    def active(
        self,
        connection: Connection,
        table: str,
        status: RunStatus | None,
        *,
        after: UUID | None,
        limit: int,
        access: Condition,
    ) -> list[tuple[UUID, UUID]]:
        """Return active runs and their threads, in the order of the runs.

        Args:
            connection: The connection.
            table: The table of runs, with its index of active runs where it must be named.
            status: Only pending or only running ones; None: both.
            after: Only runs with a greater id.
            limit: The most runs to return.
            access: Only runs on a thread that meets this condition.
        """
        read = self.dialect.codecs.id.read
        where = Where(("status IN ('pending', 'running')",)) & self.matching(status=status)
        if after is not None:
            where &= Where(("run_id > ?",), (self.rows.value("run_id", after),))
        where &= self.dialect.meets("t.metadata", access).within(
            f"EXISTS (SELECT 1 FROM {self.dialect.prefix}threads t"
            f" WHERE t.thread_id = {self.name}.thread_id AND {{}})"
        )
        statement = f"SELECT thread_id, run_id FROM {table}{where.clause()} ORDER BY run_id LIMIT ?"
        rows = self.execute(connection, statement, *where.values, limit).fetchall()
        return [(read(thread_id), read(run_id)) for thread_id, run_id in rows]

    def last_events(self, connection: Connection, run_id: UUID) -> Encoded | None:
        statement = f"SELECT last_events FROM {self.name} WHERE run_id = ?"
        key = self.rows.value("run_id", run_id)
        row = self.execute(connection, statement, key).fetchone()
        return None if row is None else self._events.read(row[0])

    def pending_up_to(self, connection: Connection, most: int) -> int:
        """Return the number of pending runs; of more than ``most`` only these are counted."""
        counted = f"SELECT 1 FROM {self.name} WHERE status = 'pending' LIMIT ?"
        statement = f"SELECT count(*) FROM ({counted}) p"
        ((number,),) = self.execute(connection, statement, most).fetchall()
        return int(number)
