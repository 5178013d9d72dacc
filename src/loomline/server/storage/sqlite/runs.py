"""Runs in SQLite: the queue, the leases and the outcomes."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, cast
from uuid import UUID, uuid4

from loomline.server.domain import lifecycle
from loomline.server.domain.json import Encoded, dump
from loomline.server.domain.runs import (
    LOST_NUMBERS,
    PRIORITIES,
    Claim,
    Finished,
    Outcome,
    Renewal,
    Stop,
)
from loomline.server.ports.clock import Clock
from loomline.server.storage.idempotency import Keys
from loomline.server.storage.run_rows import RunForm
from loomline.server.storage.run_stats import RunStats
from loomline.server.storage.runs import DatabaseRuns
from loomline.server.storage.sinks import Sinks, check_complete
from loomline.server.storage.sqlite import sql
from loomline.server.storage.sqlite.connection import Readers, Writer
from loomline.server.storage.sqlite.dialect import DIALECT
from loomline.server.storage.sqlite.rows import micros, moment
from loomline.server.storage.sqlite.run_changes import apply, ask_again
from loomline.server.storage.sqlite.run_rows import RUNS, active_runs
from loomline.server.storage.sqlite.savers import fence
from loomline.server.storage.sqlite.thread_rows import THREADS
from loomline.server.storage.sqlite.upkeep import PatientAccess, Upkeep

RUN_FORM: Final[RunForm[sqlite3.Connection]] = RunForm(
    runs=RUNS,
    threads=THREADS,
    keys=Keys(DIALECT),
    stats=RunStats(DIALECT, running="runs INDEXED BY one_running_run_per_thread"),
    active_runs=active_runs,
    apply=apply,
    expired=(sql.EXPIRED, sql.EXPIRED),
)


class SqliteRuns(DatabaseRuns[sqlite3.Connection]):
    """``RunStorage`` on SQLite."""

    def __init__(
        self, writer: Writer, readers: Readers, sinks: Sinks, clock: Clock, upkeep: Upkeep
    ) -> None:
        super().__init__(PatientAccess(writer, readers, upkeep), RUN_FORM, clock)
        self._writer = writer
        self._readers = readers
        self._sinks = sinks

    async def over(self, run_ids: Sequence[UUID]) -> frozenset[UUID]:
        given = dump([str(run_id) for run_id in run_ids]).decode()

        def work(connection: sqlite3.Connection) -> frozenset[UUID]:
            return frozenset(UUID(run_id) for (run_id,) in connection.execute(sql.OVER, (given,)))

        return await self._readers.read(work)

    async def claim(
        self,
        worker: str,
        limit: int,
        lease_seconds: float,
        *,
        graphs: Collection[str] | None = None,
    ) -> Sequence[Claim]:
        names, seconds = _names(graphs), int(lease_seconds * 1_000_000)

        def work(connection: sqlite3.Connection) -> Sequence[Claim]:
            # Not before: the lease begins when the write does, however long that waits for a lock.
            now = micros(self._clock.now())
            where = {"now": now, "graphs": names, "limit": limit}
            return _claim(connection, where, (worker, now + seconds, now))

        return await self._writer.write(work)

    async def next_due(self, after: datetime) -> datetime | None:
        given = (micros(after),)
        (due,) = self._readers.point(lambda c: c.execute(sql.NEXT_DUE, given).fetchone())
        return None if due is None else moment(due)

    async def renew(self, worker: str, claims: Sequence[Claim], lease_seconds: float) -> Renewal:
        seconds = int(lease_seconds * 1_000_000)

        def work(connection: sqlite3.Connection) -> Renewal:
            return _renew(connection, worker, claims, micros(self._clock.now()) + seconds)

        return await self._writer.write(work)

    async def ask(self, claim: Claim, interrupts: Encoded, asked: Sequence[str]) -> None:
        def work(connection: sqlite3.Connection) -> None:
            fence(connection, claim)
            given = (interrupts.decode(), str(claim.run.thread_id))
            connection.execute(sql.SET_QUESTIONS, given)
            ask_again(connection, str(claim.run.thread_id), asked)

        await self._writer.write(work)

    async def finish(self, claim: Claim, outcome: Outcome) -> Finished:
        now = self._clock.now()

        def work(connection: sqlite3.Connection) -> Finished:
            # Every batch that was taken before is committed, or in this transaction.
            check_complete(fence(connection, claim), self._sinks.known(claim).taken())
            waiting = apply(connection, claim.run.thread_id, lifecycle.finish(claim, outcome), now)
            return Finished(waiting)

        with self._sinks.last_use(claim):
            return await self._writer.write(work)

    async def release(self, claim: Claim, *, pause_seconds: float = 0.0) -> None:
        now = micros(self._clock.now())
        until = now + int(pause_seconds * 1_000_000) if pause_seconds else 0

        def work(connection: sqlite3.Connection) -> None:
            fence(connection, claim)
            connection.execute(sql.RELEASE, (now, until, str(claim.run.run_id)))
            connection.execute(sql.SKIP_NUMBERS, (LOST_NUMBERS, str(claim.run.thread_id)))

        with self._sinks.last_use(claim):
            await self._writer.write(work)


def _names(graphs: Collection[str] | None) -> str | None:
    return None if graphs is None else dump(list(graphs)).decode()


def _claim(
    connection: sqlite3.Connection, where: Mapping[str, object], how: tuple[str, int, int]
) -> Sequence[Claim]:
    rows = _claimable(connection, where)
    worker, lease, now = how
    claims = []
    for run_id, checkpoints, action, reason, before, event_number in rows:
        token = uuid4().hex
        number = event_number or 0
        given = (worker, token, lease, now, number, run_id)
        run = RUNS.rows.record(connection.execute(sql.CLAIM, given).fetchone())
        connection.execute(sql.BEGIN_BATCHES, (run_id, token))
        stop = None if action is None else Stop(action, reason)
        claims.append(
            Claim(
                run,
                token,
                fresh=not checkpoints,
                stop=stop,
                number=before + 1,
                event_number=number,
            )
        )
    return claims


def _claimable(connection: sqlite3.Connection, where: Mapping[str, object]) -> list[Any]:
    """Return the rows of the runs that are next, from one priority after the other."""
    limit = cast("int", where["limit"])
    rows: list[Any] = []
    priority = PRIORITIES.start - 1
    while len(rows) < limit:
        (found,) = connection.execute(sql.NEXT_PRIORITY, (priority,)).fetchone()
        if found is None:
            break
        priority = found
        given = {**where, "priority": priority, "limit": limit - len(rows)}
        rows += connection.execute(sql.CLAIMABLE, given).fetchall()
    return rows


def _renew(
    connection: sqlite3.Connection, worker: str, claims: Sequence[Claim], lease: int
) -> Renewal:
    lost: list[UUID] = []
    stops: dict[UUID, Stop] = {}
    for claim in claims:
        key = (lease, str(claim.run.run_id), claim.token, worker)
        row = connection.execute(sql.RENEW, key).fetchone()
        if row is None:
            lost.append(claim.run.run_id)
        elif row[0] is not None:
            stops[claim.run.run_id] = Stop(row[0], row[1])
    return Renewal(tuple(lost), stops)
