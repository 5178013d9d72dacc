"""Runs in PostgreSQL: the queue, the leases and the outcomes."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeAlias
from uuid import UUID

from loomline.schema import RunStatus
from loomline.server.domain.access import EVERYTHING, Condition, meets
from loomline.server.domain.errors import (
    AlreadyFired,
    NothingToCancel,
    RunNotFound,
    ThreadNotFound,
    TooManyRuns,
)
from loomline.server.domain.json import EMPTY_OBJECT, Encoded
from loomline.server.domain.multitask import ActiveRun, Decision, check_seen, decide, to_cancel
from loomline.server.domain.outputs import Output
from loomline.server.domain.run_spec import StoredSpec
from loomline.server.domain.runs import (
    ATTEMPTS_EXHAUSTED,
    ENDED_NUMBERS,
    LOST_NUMBERS,
    UNTOLD_MINUTES,
    Cancelled,
    Claim,
    Created,
    Finished,
    NewRun,
    Outcome,
    QueueStats,
    Reclaimed,
    Renewal,
    Run,
    Stop,
    number_at_end,
    pending_run,
    replayed,
    run_metadata,
    thread_metadata_after,
)
from loomline.server.ports.clock import Clock
from loomline.server.storage.postgres import sql
from loomline.server.storage.postgres.checkpoint_rows import delete_run_checkpoints, write_rows
from loomline.server.storage.postgres.connection import Connection, Cursor, Database, itself
from loomline.server.storage.postgres.crons import move_date
from loomline.server.storage.postgres.idempotency import claim_key, forget_keys
from loomline.server.storage.postgres.rows import (
    access_parameter,
    encoded,
    jsonb,
    obj,
    optional_text,
)
from loomline.server.storage.postgres.run_stats import queue_stats
from loomline.server.storage.postgres.savers import end_claim, held
from loomline.server.storage.postgres.threads import delete_thread, insert_thread
from loomline.server.storage.postgres.webhooks import note_end
from loomline.server.storage.sinks import Rest, Sinks

_Row: TypeAlias = tuple[Any, ...]


class PostgresRuns:
    def __init__(self, database: Database, sinks: Sinks, clock: Clock) -> None:
        self._database = database
        self._sinks = sinks
        self._clock = clock

    async def create(self, new: NewRun) -> Created:
        _ = new.request.stored  # encoded before the transaction, which others wait for
        return await self._database.write(partial(_create, new=new))

    async def get(
        self, thread_id: UUID | None, run_id: UUID, *, access: Condition = EVERYTHING
    ) -> Run:
        return await self._database.ask(lambda c: _get(c, thread_id, run_id, access))

    async def list(
        self,
        thread_id: UUID,
        *,
        limit: int,
        offset: int,
        status: RunStatus | None,
        access: Condition = EVERYTHING,
    ) -> Sequence[Run]:
        def work(connection: Connection) -> Sequence[Run]:
            thread = connection.execute(sql.THREAD_METADATA, (thread_id,))
            rows = connection.execute(sql.LIST_RUNS, (thread_id, status, status, limit, offset))
            found = thread.fetchone()
            if found is None or not meets(obj(found[0]), access):
                raise ThreadNotFound(thread_id)
            return [_run(row) for row in rows]

        return await self._database.read(work)

    async def active(
        self,
        status: RunStatus | None,
        *,
        after: UUID | None,
        limit: int,
        access: Condition = EVERYTHING,
    ) -> Sequence[tuple[UUID, UUID]]:
        condition = access_parameter(access)
        place = UUID(int=0) if after is None else after
        row = (status, status, place, condition, condition, limit)
        return await self._database.read(
            lambda connection: list(connection.execute(sql.ALL_ACTIVE_RUNS, row))
        )

    async def over(self, run_ids: Sequence[UUID]) -> frozenset[UUID]:
        rows = await self._database.ask(lambda c: c.execute(sql.OVER, (list(run_ids),)).fetchall())
        return frozenset(run_id for (run_id,) in rows)

    async def delete(self, thread_id: UUID, run_id: UUID, *, access: Condition = EVERYTHING) -> Run:
        now = self._clock.now()

        def work(connection: Connection) -> Run:
            connection.execute(sql.LOCK_THREAD, (thread_id,))
            # A run that began now would read values that are about to be removed.
            connection.execute(sql.LOCK_ACTIVE_RUNS, (thread_id,))
            run = _get(connection, thread_id, run_id, access)
            if run.temporary and run.active:
                delete_thread(connection, thread_id)  # nothing else would
            else:
                _remove(connection, thread_id, run_id)
                if run.status == "running":
                    connection.execute(sql.SKIP_NUMBERS, (LOST_NUMBERS, thread_id))
                _number_ends(connection, thread_id)
                connection.execute(sql.SETTLE, (now, thread_id))
            return run

        return await self._database.write(work)

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

    async def ask(self, claim: Claim, interrupts: Encoded) -> None:
        def work(connection: Connection) -> None:
            _hold(connection, claim, None)
            given = (interrupts.decode(), claim.run.thread_id)
            connection.execute(sql.SET_QUESTIONS, given)

        await self._database.call(partial(held, self._database, claim, work, itself))

    async def finish(self, claim: Claim, outcome: Outcome) -> Finished:
        now = self._clock.now()

        def work(connection: Connection, rest: Rest) -> Cursor | None:
            _hold(connection, claim, rest.written)
            write_rows(connection, rest.rows)
            return _finish(connection, claim, outcome, now)

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

    async def cancel(
        self,
        thread_id: UUID,
        run_ids: Sequence[UUID],
        stop: Stop,
        *,
        access: Condition = EVERYTHING,
    ) -> Cancelled:
        now = self._clock.now()
        return await self._database.write(
            lambda connection: _cancel(connection, thread_id, run_ids, stop, now=now, access=access)
        )

    async def reclaim(self, *, max_attempts: int, orphaned: bool = False) -> Reclaimed:
        now = self._clock.now()
        # Looking first: it happens every few seconds, and there is hardly ever anything to do.
        found = await self._database.ask(
            lambda c: c.execute(sql.LOOK_EXPIRED, (orphaned, now)).fetchone()
        )
        if found is None:
            return Reclaimed()
        return await self._database.write(lambda c: _reclaim(c, max_attempts, orphaned, now))

    async def forget_keys(self, before: datetime, limit: int) -> int:
        return await self._database.send(
            lambda c: forget_keys(c, before, limit), lambda cursor: cursor.rowcount
        )

    async def stats(self, *, graphs: Collection[str] | None = None) -> QueueStats:
        now = self._clock.now()
        return await self._database.ask(partial(queue_stats, now=now, graphs=graphs))


def _create(connection: Connection, new: NewRun) -> Created:
    place = claim_key(connection, new)
    if place is not None:
        return _replay(connection, new, place)
    _check_total(connection, new)
    inserted: Cursor | None = None
    if new.create_thread:
        inserted = insert_thread(
            connection, new.thread_id, new.thread_metadata, new.now, ttl=new.thread_ttl
        )
    thread = connection.execute(sql.LOCK_THREAD, (new.thread_id,))
    supersedes = new.multitask_strategy in {"interrupt", "rollback"}
    statement = sql.LOCK_ACTIVE_RUNS if supersedes else sql.ACTIVE_RUNS
    active = connection.execute(statement, (new.thread_id,))
    row = thread.fetchone()
    if row is None:
        raise ThreadNotFound(new.thread_id)
    before = obj(row[0])
    created = inserted is not None and inserted.fetchone() is not None
    if not created and not meets(before, new.access):
        raise ThreadNotFound(new.thread_id)
    if new.firing is not None and not move_date(connection, new.firing):
        raise AlreadyFired(new.firing.cron_id)
    others = _active(active)
    if new.seen is not None:
        row = connection.execute(sql.EVENT_NUMBER, (new.thread_id,)).fetchone()
        check_seen(new, others, 0 if row is None else row[0])
    decision = decide(new.multitask_strategy, others, new.run_id, new.limits)
    _apply(connection, new, decision)
    metadata = run_metadata(new, before)
    connection.execute(sql.INSERT_RUN, _new_row(new, jsonb(metadata)))
    after = jsonb(thread_metadata_after(new, before))
    config = jsonb(new.thread_config)
    connection.execute(sql.THREAD_GETS_RUN, (after, config, new.now, new.thread_id))
    return Created(
        pending_run(new, metadata), superseded=decision.stop, ended=decision.end + decision.remove
    )


def _replay(connection: Connection, new: NewRun, place: tuple[UUID, UUID]) -> Created:
    thread = connection.execute(sql.THREAD_METADATA, (place[0],)).fetchone()
    row = connection.execute(sql.GET_RUN, (place[1],)).fetchone()
    found = None if row is None else _run(row)
    return replayed(new, place, found, None if thread is None else obj(thread[0]))


def _check_total(connection: Connection, new: NewRun) -> None:
    most = 0 if new.limits is None else new.limits.total
    if not most:
        return
    row = connection.execute(sql.PENDING_UP_TO, (most,)).fetchone()
    if row is not None and row[0] >= most:
        raise TooManyRuns.in_all(most)


def _apply(connection: Connection, new: NewRun, decision: Decision) -> None:
    _note_ended(connection, decision.remove, "rollback", new.now)
    for run_id in decision.remove:
        _remove(connection, new.thread_id, run_id)
    if decision.end:
        connection.execute(sql.END_PENDING, (new.now, decision.reason, list(decision.end)))
        _note_ended(connection, decision.end, "interrupted", new.now)
    if decision.end or decision.remove:
        _number_or_keep(connection, new.thread_id, len(decision.end))
    if decision.how is not None and decision.stop:
        _mark(connection, decision.stop, decision.how)


def _note_ended(connection: Connection, ended: Sequence[UUID], status: str, now: datetime) -> None:
    """Note the end of runs that have not begun."""
    if not ended:
        return
    for row in connection.execute(sql.WITH_WEBHOOK, (list(ended),)).fetchall():
        run = _run(row)
        with_values = not run.temporary and status != "rollback"
        note_end(connection, run, status, now, with_values=with_values)


def _number_or_keep(connection: Connection, thread_id: UUID, count: int) -> None:
    """Number the ends of pending runs; behind a run that has begun, keep numbers for them."""
    kept = {"thread": thread_id, "count": ENDED_NUMBERS * count}
    connection.execute(sql.KEEP_NUMBERS, kept)
    _number_ends(connection, thread_id)


def _number_ends(connection: Connection, thread_id: UUID, after: int | None = None) -> None:
    """Number the ends that have no number yet, unless a run of the thread has begun and is active.

    Args:
        connection: The connection.
        thread_id: The thread.
        after: The number before the first one, by default that of the thread's last event.
    """
    values = {"thread": thread_id, "after": after, "numbers": ENDED_NUMBERS}
    connection.execute(sql.NUMBER_ENDS, values)


def _mark(connection: Connection, run_ids: Sequence[UUID], stop: Stop) -> None:
    connection.execute(sql.MARK_STOP, (stop.action, stop.reason, list(run_ids)))


def _active(rows: Cursor) -> Sequence[ActiveRun]:
    return [ActiveRun(run_id, status) for run_id, status in rows]


def _claims(rows: Cursor) -> Sequence[Claim]:
    # An update returns its rows in any order.
    found = sorted(rows, key=lambda row: (row[11], row[23]))
    return [_claim(_run(row), row[20:]) for row in found]


def _claim(run: Run, rest: _Row) -> Claim:
    token, action, reason, _, has_checkpoint, number, event_number = rest
    stop = None if action is None else Stop(action, reason)
    return Claim(
        run,
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


def _finish(connection: Connection, claim: Claim, outcome: Outcome, now: datetime) -> Cursor | None:
    """End a run that is held; what comes back tells whether another one waits."""
    run = claim.run
    if run.temporary and not outcome.untold:
        _note_finished(connection, run, outcome, now)
        delete_thread(connection, run.thread_id)
        return None
    if run.temporary:
        connection.execute(sql.LET_EXPIRE, (UNTOLD_MINUTES, run.thread_id))
    error = optional_text(outcome.error)
    last = number_at_end(claim, outcome)
    if outcome.roll_back:
        _remove(connection, run.thread_id, run.run_id)
    else:
        shown = outcome.output.dump()
        connection.execute(sql.END_RUN, (outcome.status, error, now, last, shown, run.run_id))
    if outcome.values is not None:
        connection.execute(sql.SET_VALUES, (run.thread_id, outcome.values.decode()))
    _note_finished(connection, run, outcome, now)
    values = {
        "status": outcome.thread_status,
        "interrupts": outcome.interrupts.decode(),
        "error": error,
        "now": now,
        "used": last - claim.event_number,
        "thread": run.thread_id,
    }
    finished = connection.execute(sql.THREAD_ENDS_RUN, values)
    _number_ends(connection, run.thread_id, last)
    return finished


def _note_finished(connection: Connection, run: Run, outcome: Outcome, now: datetime) -> None:
    note_end(
        connection,
        run,
        "rollback" if outcome.roll_back else outcome.status,
        now,
        started_at=run.updated_at,
        error=outcome.error,
        with_values=not (run.temporary or outcome.roll_back),
    )


def _finished(cursor: Cursor | None) -> Finished:
    row = None if cursor is None else cursor.fetchone()
    return Finished(waiting=row is not None and row[0])


def _cancel(
    connection: Connection,
    thread_id: UUID,
    run_ids: Sequence[UUID],
    stop: Stop,
    *,
    now: datetime,
    access: Condition,
) -> Cancelled:
    thread = connection.execute(sql.LOCK_THREAD, (thread_id,))
    active = connection.execute(sql.LOCK_ACTIVE_RUNS, (thread_id,))
    row = thread.fetchone()
    if row is None or not meets(obj(row[0]), access):
        raise NothingToCancel
    cancelled = to_cancel(_active(active), run_ids)
    ended = list(cancelled.ended)
    rolled_back = stop.action == "rollback"
    if not rolled_back:
        connection.execute(sql.END_PENDING, (now, stop.reason, ended))
    _note_ended(connection, ended, "rollback" if rolled_back else "interrupted", now)
    temporary = connection.execute(sql.HAS_TEMPORARY, (ended,)).fetchone() is not None
    _mark(connection, cancelled.stopping, stop)
    if temporary:
        delete_thread(connection, thread_id)
        return cancelled
    if rolled_back:
        for run_id in ended:
            _remove(connection, thread_id, run_id)
    if ended:
        _number_or_keep(connection, thread_id, 0 if rolled_back else len(ended))
    connection.execute(sql.SETTLE, (now, thread_id))
    return cancelled


def _reclaim(connection: Connection, max_attempts: int, orphaned: bool, now: datetime) -> Reclaimed:
    requeued: list[UUID] = []
    given_up: list[UUID] = []
    connection.execute(sql.LOCK_EXPIRED_THREADS, (orphaned, now))
    rows = connection.execute(sql.EXPIRED, (orphaned, now)).fetchall()
    for run in map(_run, rows):
        connection.execute(sql.SKIP_NUMBERS, (LOST_NUMBERS, run.thread_id))
        if run.attempt < max_attempts:
            connection.execute(sql.REQUEUE, (now, run.run_id))
            requeued.append(run.run_id)
        else:
            _give_up(connection, run, now)
            given_up.append(run.run_id)
    return Reclaimed(tuple(requeued), tuple(given_up))


def _give_up(connection: Connection, run: Run, now: datetime) -> None:
    note_end(
        connection,
        run,
        "error",
        now,
        started_at=run.updated_at,
        error=ATTEMPTS_EXHAUSTED,
        with_values=not run.temporary,
    )
    if run.temporary:
        delete_thread(connection, run.thread_id)
        return
    error = ATTEMPTS_EXHAUSTED.decode()
    connection.execute(sql.GIVE_UP_RUN, (error, now, run.run_id))
    values = {
        "status": "error",
        "interrupts": EMPTY_OBJECT.decode(),
        "error": error,
        "now": now,
        "used": 0,
        "thread": run.thread_id,
    }
    connection.execute(sql.THREAD_ENDS_RUN, values)
    _number_ends(connection, run.thread_id)


def _remove(connection: Connection, thread_id: UUID, run_id: UUID) -> None:
    connection.execute(sql.DELETE_RUN, (run_id,))
    delete_run_checkpoints(connection, str(run_id), str(thread_id))


def _get(connection: Connection, thread_id: UUID | None, run_id: UUID, access: Condition) -> Run:
    row = connection.execute(sql.GET_RUN, (run_id,)).fetchone()
    if row is None or (thread_id is not None and row[1] != thread_id):
        raise RunNotFound(run_id)
    if access != EVERYTHING:
        thread = connection.execute(sql.THREAD_METADATA, (row[1],)).fetchone()
        if thread is None or not meets(obj(thread[0]), access):
            raise RunNotFound(run_id)
    return _run(row)


def _new_row(new: NewRun, metadata: str) -> _Row:
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
    )


def _run(row: _Row) -> Run:
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
