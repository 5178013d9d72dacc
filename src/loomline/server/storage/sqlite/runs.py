"""Runs in SQLite: the queue, the leases and the outcomes."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import TypeAlias, cast
from uuid import UUID, uuid4

from loomline.schema import MultitaskStrategy, RunStatus
from loomline.server.domain.access import EVERYTHING, Condition, encode, meets
from loomline.server.domain.errors import (
    AlreadyFired,
    NothingToCancel,
    RunNotFound,
    ThreadNotFound,
    TooManyRuns,
)
from loomline.server.domain.json import Encoded, dump
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
from loomline.server.storage.sinks import Sinks, check_complete
from loomline.server.storage.sqlite import sql
from loomline.server.storage.sqlite.checkpoint_rows import delete_run_checkpoints
from loomline.server.storage.sqlite.connection import Readers, Writer
from loomline.server.storage.sqlite.crons import move_date
from loomline.server.storage.sqlite.idempotency import claim_key, forget_keys
from loomline.server.storage.sqlite.rows import encoded, micros, moment, obj, optional_text, text
from loomline.server.storage.sqlite.run_stats import queue_stats
from loomline.server.storage.sqlite.savers import fence
from loomline.server.storage.sqlite.threads import check_thread, delete_thread, insert_thread
from loomline.server.storage.sqlite.upkeep import Upkeep
from loomline.server.storage.sqlite.webhooks import note_end

_Row: TypeAlias = tuple[
    str, str, str, str, RunStatus, str, bytes, MultitaskStrategy, int, int, int, int, int,
    str | None, str | None, str | None, int | None, int | None, str | None, str | None,
]  # fmt: skip


class SqliteRuns:
    def __init__(
        self, writer: Writer, readers: Readers, sinks: Sinks, clock: Clock, upkeep: Upkeep
    ) -> None:
        self._writer = writer
        self._readers = readers
        self._upkeep = upkeep
        self._sinks = sinks
        self._clock = clock

    async def create(self, new: NewRun) -> Created:
        _ = new.request.stored  # encoded before the transaction, which others wait for
        return await self._upkeep.write(lambda connection: _create(connection, new))

    async def get(
        self, thread_id: UUID | None, run_id: UUID, *, access: Condition = EVERYTHING
    ) -> Run:
        return self._readers.point(lambda c: _get(c, thread_id, run_id, access))

    async def list(
        self,
        thread_id: UUID,
        *,
        limit: int,
        offset: int,
        status: RunStatus | None,
        access: Condition = EVERYTHING,
    ) -> Sequence[Run]:
        def work(connection: sqlite3.Connection) -> Sequence[Run]:
            key = str(thread_id)
            check_thread(connection, thread_id, access)
            rows = connection.execute(sql.LIST_RUNS, (key, status, status, limit, offset))
            return [_run(row) for row in rows]

        return await self._readers.read(work)

    async def active(
        self,
        status: RunStatus | None,
        *,
        after: UUID | None,
        limit: int,
        access: Condition = EVERYTHING,
    ) -> Sequence[tuple[UUID, UUID]]:
        condition = None if access == EVERYTHING else encode(access)
        place = "" if after is None else str(after)
        row = (status, status, place, condition, condition, limit)

        def work(connection: sqlite3.Connection) -> Sequence[tuple[UUID, UUID]]:
            rows = connection.execute(sql.ALL_ACTIVE_RUNS, row)
            return [(UUID(thread_id), UUID(run_id)) for thread_id, run_id in rows]

        return await self._readers.read(work)

    async def over(self, run_ids: Sequence[UUID]) -> frozenset[UUID]:
        given = dump([str(run_id) for run_id in run_ids]).decode()

        def work(connection: sqlite3.Connection) -> frozenset[UUID]:
            return frozenset(UUID(run_id) for (run_id,) in connection.execute(sql.OVER, (given,)))

        return await self._readers.read(work)

    async def delete(self, thread_id: UUID, run_id: UUID, *, access: Condition = EVERYTHING) -> Run:
        now = micros(self._clock.now())

        def work(connection: sqlite3.Connection) -> Run:
            run = _get(connection, thread_id, run_id, access)
            if run.temporary and run.active:
                delete_thread(connection, str(thread_id))  # nothing else would
            else:
                _remove(connection, str(thread_id), str(run_id))
                if run.status == "running":
                    connection.execute(sql.SKIP_NUMBERS, (LOST_NUMBERS, str(thread_id)))
                _number_ends(connection, str(thread_id))
                _settle(connection, str(thread_id), now)
            return run

        return await self._writer.write(work)

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

    async def ask(self, claim: Claim, interrupts: Encoded) -> None:
        def work(connection: sqlite3.Connection) -> None:
            fence(connection, claim)
            given = (interrupts.decode(), str(claim.run.thread_id))
            connection.execute(sql.SET_QUESTIONS, given)

        await self._writer.write(work)

    async def finish(self, claim: Claim, outcome: Outcome) -> Finished:
        now = micros(self._clock.now())

        def work(connection: sqlite3.Connection) -> Finished:
            # Every batch that was taken before is committed, or in this transaction.
            check_complete(fence(connection, claim), self._sinks.known(claim).taken())
            return _finish(connection, claim, outcome, now)

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

    async def cancel(
        self,
        thread_id: UUID,
        run_ids: Sequence[UUID],
        stop: Stop,
        *,
        access: Condition = EVERYTHING,
    ) -> Cancelled:
        now = micros(self._clock.now())

        def work(connection: sqlite3.Connection) -> Cancelled:
            if not _may(connection, thread_id, access):
                raise NothingToCancel
            return _cancel(connection, thread_id, run_ids, stop, now)

        return await self._writer.write(work)

    async def reclaim(self, *, max_attempts: int, orphaned: bool = False) -> Reclaimed:
        now = micros(self._clock.now())
        # Looking first: it happens every few seconds, and there is hardly ever anything to do.
        found = self._readers.point(lambda c: c.execute(sql.EXPIRED, (orphaned, now)).fetchone())
        if found is None:
            return Reclaimed()
        return await self._writer.write(lambda c: _reclaim(c, max_attempts, orphaned, now))

    async def forget_keys(self, before: datetime, limit: int) -> int:
        return await self._writer.write(lambda c: forget_keys(c, micros(before), limit))

    async def stats(self, *, graphs: Collection[str] | None = None) -> QueueStats:
        now, names = micros(self._clock.now()), _names(graphs)
        return await self._readers.read(lambda connection: queue_stats(connection, now, names))


def _names(graphs: Collection[str] | None) -> str | None:
    return None if graphs is None else dump(list(graphs)).decode()


def _get(
    connection: sqlite3.Connection, thread_id: UUID | None, run_id: UUID, access: Condition
) -> Run:
    row = connection.execute(sql.GET_RUN, (str(run_id),)).fetchone()
    if row is None or (thread_id is not None and row[1] != str(thread_id)):
        raise RunNotFound(run_id)
    # Rows of a deleted thread may be waiting for their removal.
    thread = connection.execute(sql.THREAD_METADATA, (row[1],)).fetchone()
    if thread is None or not meets(obj(thread[0]), access):
        raise RunNotFound(run_id)
    return _run(row)


def _may(connection: sqlite3.Connection, thread_id: UUID | str, access: Condition) -> bool:
    """Return whether the thread of runs meets a condition."""
    if access == EVERYTHING:
        return True
    row = connection.execute(sql.THREAD_METADATA, (str(thread_id),)).fetchone()
    return row is not None and meets(obj(row[0]), access)


def _create(connection: sqlite3.Connection, new: NewRun) -> Created:
    place = claim_key(connection, new)
    if place is not None:
        return _replay(connection, new, place)
    now = micros(new.now)
    key = str(new.thread_id)
    _check_total(connection, new)
    created = False
    if new.create_thread:
        created = insert_thread(
            connection, new.thread_id, new.thread_metadata, {}, now, ttl=new.thread_ttl
        )
    row = connection.execute(sql.THREAD_METADATA, (key,)).fetchone()
    if row is None:
        raise ThreadNotFound(new.thread_id)
    before = obj(row[0])
    if not created and not meets(before, new.access):
        raise ThreadNotFound(new.thread_id)
    if new.firing is not None and not move_date(connection, new.firing):
        raise AlreadyFired(new.firing.cron_id)
    active = _active(connection, key)
    if new.seen is not None:
        check_seen(new, active, connection.execute(sql.EVENT_NUMBER, (key,)).fetchone()[0])
    decision = decide(new.multitask_strategy, active, new.run_id, new.limits)
    _apply(connection, key, decision, now)
    metadata = run_metadata(new, before)
    connection.execute(sql.INSERT_RUN, _new_row(new, text(metadata), now))
    after = thread_metadata_after(new, before)
    connection.execute(sql.THREAD_GETS_RUN, (text(after), text(new.thread_config), now, key))
    return Created(
        pending_run(new, metadata), superseded=decision.stop, ended=decision.end + decision.remove
    )


def _replay(connection: sqlite3.Connection, new: NewRun, place: tuple[UUID, UUID]) -> Created:
    thread = connection.execute(sql.THREAD_METADATA, (str(place[0]),)).fetchone()
    row = connection.execute(sql.GET_RUN, (str(place[1]),)).fetchone()
    found = None if row is None else _run(row)
    return replayed(new, place, found, None if thread is None else obj(thread[0]))


def _check_total(connection: sqlite3.Connection, new: NewRun) -> None:
    most = 0 if new.limits is None else new.limits.total
    if most and connection.execute(sql.PENDING_UP_TO, (most,)).fetchone()[0] >= most:
        raise TooManyRuns.in_all(most)


def _active(connection: sqlite3.Connection, thread: str) -> Sequence[ActiveRun]:
    rows = connection.execute(sql.ACTIVE_RUNS, (thread,))
    return [ActiveRun(UUID(run_id), status) for run_id, status in rows]


def _apply(connection: sqlite3.Connection, thread: str, decision: Decision, now: int) -> None:
    for run_id in decision.remove:
        note_end(connection, _row(connection, run_id), "rollback", now, with_values=False)
        _remove(connection, thread, str(run_id))
    for run_id in decision.end:
        connection.execute(sql.END_PENDING, (now, decision.reason, str(run_id)))
        note_end(connection, _row(connection, run_id), "interrupted", now)
    _number_or_skip(connection, thread, len(decision.end))
    if decision.how is not None:
        how = decision.how
        rows = [(how.action, how.reason, str(run_id)) for run_id in decision.stop]
        connection.executemany(sql.MARK_STOP, rows)


def _claim(
    connection: sqlite3.Connection, where: Mapping[str, object], how: tuple[str, int, int]
) -> Sequence[Claim]:
    rows = connection.execute(sql.CLAIMABLE, where).fetchall()
    worker, lease, now = how
    claims = []
    for *row, checkpoints, action, reason, before, event_number in rows:
        token = uuid4().hex
        number = event_number or 0
        row[4], row[10], row[12] = "running", row[10] + 1, now
        row[16] = number if row[16] is None else row[16]
        connection.execute(sql.CLAIM, (worker, token, lease, now, row[16], row[0]))
        connection.execute(sql.BEGIN_BATCHES, (row[0], token))
        stop = None if action is None else Stop(action, reason)
        run = _run(cast("_Row", row))
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


def _finish(connection: sqlite3.Connection, claim: Claim, outcome: Outcome, now: int) -> Finished:
    run = claim.run
    thread = str(run.thread_id)
    last = number_at_end(claim, outcome)
    if outcome.roll_back:
        _remove(connection, thread, str(run.run_id))
    else:
        error = optional_text(outcome.error)
        shown = outcome.output.dump()
        connection.execute(sql.END_RUN, (outcome.status, error, now, last, shown, str(run.run_id)))
    gone = run.temporary and not outcome.untold
    if outcome.values is not None and not gone:
        connection.execute(sql.SET_VALUES, (thread, outcome.values))
    note_end(
        connection,
        run,
        "rollback" if outcome.roll_back else outcome.status,
        now,
        started_at=run.updated_at,
        error=outcome.error,
        with_values=not (run.temporary or outcome.roll_back),
    )
    if gone:
        delete_thread(connection, thread)
        return Finished(waiting=False)
    if run.temporary:
        connection.execute(sql.LET_EXPIRE, (UNTOLD_MINUTES, thread))
    waiting = connection.execute(sql.HAS_PENDING, (thread,)).fetchone() is not None
    status = "busy" if waiting else outcome.thread_status
    connection.execute(
        sql.THREAD_ENDS_RUN,
        (
            status,
            outcome.thread_status,
            outcome.interrupts.decode(),
            optional_text(outcome.error),
            now,
            now,
            last - claim.event_number,
            thread,
        ),
    )
    _number_ends(connection, thread, last)
    return Finished(waiting)


def _cancel(
    connection: sqlite3.Connection, thread_id: UUID, run_ids: Sequence[UUID], stop: Stop, now: int
) -> Cancelled:
    thread = str(thread_id)
    cancelled = to_cancel(_active(connection, thread), run_ids)
    temporary = _end_pending(connection, thread, cancelled.ended, stop, now)
    rows = [(stop.action, stop.reason, str(run)) for run in cancelled.stopping]
    connection.executemany(sql.MARK_STOP, rows)
    if temporary:
        delete_thread(connection, thread)
    else:
        _settle(connection, thread, now)
    return cancelled


def _end_pending(
    connection: sqlite3.Connection, thread: str, ended: Sequence[UUID], stop: Stop, now: int
) -> bool:
    """End runs that have not begun; return whether that leaves their thread without a purpose."""
    temporary = False
    for run_id in ended:
        if stop.action == "interrupt":
            connection.execute(sql.END_PENDING, (now, stop.reason, str(run_id)))
        run = _row(connection, run_id)
        temporary = temporary or run.temporary
        if stop.action == "rollback":
            note_end(connection, run, "rollback", now, with_values=False)
            _remove(connection, thread, str(run_id))
        else:
            note_end(connection, run, "interrupted", now, with_values=not run.temporary)
    _number_or_skip(connection, thread, 0 if stop.action == "rollback" else len(ended))
    return temporary


def _number_or_skip(connection: sqlite3.Connection, thread: str, count: int) -> None:
    """Number the ends of pending runs; behind a run that has begun, keep numbers for them."""
    if count and connection.execute(sql.HAS_BEGUN, (thread,)).fetchone() is not None:
        connection.execute(sql.SKIP_NUMBERS, (ENDED_NUMBERS * count, thread))
    _number_ends(connection, thread)


def _number_ends(connection: sqlite3.Connection, thread: str, after: int | None = None) -> None:
    """Number the ends that have no number yet, unless a run of the thread has begun and is active.

    Args:
        connection: The connection.
        thread: The id of the thread.
        after: The number before the first one, by default that of the thread's last event.
    """
    ended = connection.execute(sql.WITHOUT_NUMBER, (thread,)).fetchall()
    if not ended or connection.execute(sql.HAS_BEGUN, (thread,)).fetchone() is not None:
        return
    if after is None:
        (after,) = connection.execute(sql.EVENT_NUMBER, (thread,)).fetchone()
    last = after
    for (run_id,) in ended:
        before, last = last, last + ENDED_NUMBERS
        connection.execute(sql.NUMBER_END, (before, last, run_id))
    connection.execute(sql.RAISE_NUMBER, (last, thread))


def _reclaim(
    connection: sqlite3.Connection,
    max_attempts: int,
    orphaned: bool,
    now: int,
) -> Reclaimed:
    requeued: list[UUID] = []
    given_up: list[UUID] = []
    rows = connection.execute(sql.EXPIRED, (orphaned, now)).fetchall()
    for row in rows:
        run = _run(row)
        connection.execute(sql.SKIP_NUMBERS, (LOST_NUMBERS, str(run.thread_id)))
        if run.attempt < max_attempts:
            connection.execute(sql.REQUEUE, (now, str(run.run_id)))
            requeued.append(run.run_id)
        else:
            _give_up(connection, run, now)
            given_up.append(run.run_id)
    return Reclaimed(tuple(requeued), tuple(given_up))


def _give_up(connection: sqlite3.Connection, run: Run, now: int) -> None:
    thread = str(run.thread_id)
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
        delete_thread(connection, thread)
        return
    error = ATTEMPTS_EXHAUSTED.decode()
    (number,) = connection.execute(sql.EVENT_NUMBER, (thread,)).fetchone()
    shown = run.output.dump()
    connection.execute(sql.END_RUN, ("error", error, now, number, shown, str(run.run_id)))
    connection.execute(sql.THREAD_ENDS_RUN, ("busy", "error", "{}", error, now, now, 0, thread))
    _number_ends(connection, thread)
    _settle(connection, thread, now)


def _row(connection: sqlite3.Connection, run_id: UUID) -> Run:
    return _run(connection.execute(sql.GET_RUN, (str(run_id),)).fetchone())


def _remove(connection: sqlite3.Connection, thread: str, run_id: str) -> None:
    connection.execute(sql.DELETE_RUN, (run_id,))
    delete_run_checkpoints(connection, run_id, thread)


def _settle(connection: sqlite3.Connection, thread: str, now: int) -> None:
    """Give a thread without active runs the status that it had before they came."""
    connection.execute(sql.SETTLE, (now, thread, thread))


def _new_row(new: NewRun, metadata: str, now: int) -> tuple[object, ...]:
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
    )


def _run(row: _Row) -> Run:
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
