"""Runs in PostgreSQL: the queue, the leases and the outcomes."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final
from uuid import UUID

from loomline.server.domain import lifecycle
from loomline.server.domain.json import Encoded
from loomline.server.domain.runs import (
    LOST_NUMBERS,
    Claim,
    Finished,
    Outcome,
    Renewal,
    Stop,
)
from loomline.server.ports.clock import Clock
from loomline.server.storage.idempotency import Keys
from loomline.server.storage.postgres import sql
from loomline.server.storage.postgres.checkpoint_rows import write_rows
from loomline.server.storage.postgres.connection import Connection, Cursor, Database, itself
from loomline.server.storage.postgres.dialect import DIALECT
from loomline.server.storage.postgres.run_changes import apply
from loomline.server.storage.postgres.run_rows import RUNS, active_runs
from loomline.server.storage.postgres.savers import end_claim, held
from loomline.server.storage.postgres.thread_rows import THREADS
from loomline.server.storage.run_rows import RunForm
from loomline.server.storage.run_stats import RunStats
from loomline.server.storage.runs import DatabaseRuns
from loomline.server.storage.sinks import Rest, Sinks

RUN_FORM: Final[RunForm[Connection]] = RunForm(
    runs=RUNS,
    threads=THREADS,
    keys=Keys(DIALECT),
    stats=RunStats(DIALECT),
    active_runs=active_runs,
    apply=apply,
    expired=(sql.LOOK_EXPIRED, sql.LOCK_EXPIRED_THREADS, sql.EXPIRED),
)


class PostgresRuns(DatabaseRuns[Connection]):
    """``RunStorage`` on PostgreSQL."""

    def __init__(self, database: Database, sinks: Sinks, clock: Clock) -> None:
        super().__init__(database, RUN_FORM, clock)
        self._database = database
        self._sinks = sinks

    async def over(self, run_ids: Sequence[UUID]) -> frozenset[UUID]:
        rows = await self._database.ask(lambda c: c.execute(sql.OVER, (list(run_ids),)).fetchall())
        return frozenset(run_id for (run_id,) in rows)

    async def claim(
        self,
        worker: str,
        limit: int,
        lease_seconds: float,
        *,
        graphs: Collection[str] | None = None,
    ) -> Sequence[Claim]:
        names = None if graphs is None else list(graphs)

        def work(connection: Connection) -> Cursor:
            # Not before: the lease begins when there is a connection for the statement.
            now = self._clock.now()
            values = {"worker": worker, "limit": limit, "now": now, "lease": lease_seconds}
            return connection.execute(sql.CLAIM, {**values, "graphs": names})

        return await self._database.send(work, _claims)

    async def next_due(self, after: datetime) -> datetime | None:
        row = await self._database.ask(lambda c: c.execute(sql.NEXT_DUE, (after,)).fetchone())
        return None if row is None else row[0]

    async def renew(self, worker: str, claims: Sequence[Claim], lease_seconds: float) -> Renewal:
        held = sorted(claims, key=lambda claim: claim.run.run_id)
        values = {
            "runs": [claim.run.run_id for claim in held],
            "tokens": [claim.token for claim in held],
            "worker": worker,
            "lease": lease_seconds,
        }
        return await self._database.send(
            lambda c: c.execute(sql.RENEW, {**values, "now": self._clock.now()}),
            lambda cursor: _renewal(claims, cursor),
        )

    async def ask(self, claim: Claim, interrupts: Encoded, asked: Sequence[str]) -> None:
        def work(connection: Connection) -> None:
            _hold(connection, claim, None)
            given = (interrupts.decode(), claim.run.thread_id)
            connection.execute(sql.SET_QUESTIONS, given)
            connection.execute(sql.ASK_AGAIN, (claim.run.thread_id, list(asked)))

        await self._database.call(partial(held, self._database, claim, work, itself))

    async def finish(self, claim: Claim, outcome: Outcome) -> Finished:
        now = self._clock.now()

        def work(connection: Connection, rest: Rest) -> Cursor | None:
            _hold(connection, claim, rest.written)
            write_rows(connection, rest.rows)
            return apply(connection, claim.run.thread_id, lifecycle.finish(claim, outcome), now)

        return await self._database.call(
            partial(end_claim, self._database, self._sinks, claim, work, _finished)
        )

    async def release(self, claim: Claim, *, pause_seconds: float = 0.0) -> None:
        now = self._clock.now()
        until = now + timedelta(seconds=pause_seconds) if pause_seconds else None

        def work(connection: Connection, rest: Rest) -> None:
            _hold(connection, claim, rest.written)
            write_rows(connection, rest.rows)
            connection.execute(sql.RELEASE, (now, until, claim.run.run_id))
            connection.execute(sql.SKIP_NUMBERS, (LOST_NUMBERS, claim.run.thread_id))

        await self._database.call(
            partial(end_claim, self._database, self._sinks, claim, work, itself, strict=False)
        )


def _claims(rows: Cursor) -> Sequence[Claim]:
    width = len(RUNS.rows.columns)
    found = [(_claim(row[:width], row[width:-2]), row[-2:]) for row in rows]
    # An update returns its rows in any order.
    found.sort(key=lambda each: (each[1][0], each[0].run.created_at, each[1][1]))
    return [claim for claim, _ in found]


def _claim(row: Sequence[object], rest: Sequence[Any]) -> Claim:
    token, action, reason, has_checkpoint, number, event_number = rest
    stop = None if action is None else Stop(action, reason)
    return Claim(
        RUNS.rows.record(row),
        str(token),
        fresh=not has_checkpoint,
        stop=stop,
        number=number,
        event_number=event_number or 0,
    )


def _renewal(claims: Sequence[Claim], rows: Cursor) -> Renewal:
    held = {str(token): rest for token, *rest in rows}
    lost = tuple(claim.run.run_id for claim in claims if claim.token not in held)
    stops = {run_id: Stop(action, reason) for run_id, action, reason in held.values() if action}
    return Renewal(lost, stops)


def _hold(connection: Connection, claim: Claim, written: int | None) -> None:
    connection.execute(sql.LOCK_THREAD, (claim.run.thread_id,))
    connection.execute(sql.HOLD, (claim.run.run_id, claim.token, written))


def _finished(cursor: Cursor | None) -> Finished:
    row = None if cursor is None else cursor.fetchone()
    return Finished(waiting=row is not None and row[0])
