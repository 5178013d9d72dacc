"""The transaction that adds a run to its thread in PostgreSQL."""

from __future__ import annotations

from uuid import UUID

from loomline.server.domain.errors import AlreadyAnswered, AlreadyFired, TooManyRuns
from loomline.server.domain.lifecycle import displaced, supersede
from loomline.server.domain.runs import (
    Created,
    NewRun,
    pending_run,
    replayed,
    run_metadata,
    thread_metadata_after,
)
from loomline.server.storage.postgres import sql
from loomline.server.storage.postgres.connection import Connection
from loomline.server.storage.postgres.crons import move_date
from loomline.server.storage.postgres.idempotency import claim_key
from loomline.server.storage.postgres.rows import jsonb, obj
from loomline.server.storage.postgres.run_changes import apply
from loomline.server.storage.postgres.run_rows import RUNS, active_runs
from loomline.server.storage.postgres.thread_rows import THREADS
from loomline.server.storage.run_creation import hold_thread


def create_run(connection: Connection, new: NewRun) -> Created:
    place = claim_key(connection, new)
    if place is not None:
        return _replay(connection, new, place)
    _check_total(connection, new)
    thread = hold_thread(THREADS, connection, new)
    supersedes = new.multitask_strategy in {"interrupt", "rollback"}
    statement = sql.LOCK_ACTIVE_RUNS if supersedes else sql.ACTIVE_RUNS
    runs = connection.execute(statement, (new.thread_id,))
    before = thread()
    if new.firing is not None and not move_date(connection, new.firing):
        raise AlreadyFired(new.firing.cron_id)
    active = active_runs(runs)
    changes = supersede(new, active, RUNS.ending(connection, displaced(new, active)))
    apply(connection, new.thread_id, changes, new.now)
    _answer(connection, new)
    run = pending_run(new, run_metadata(new, before))
    if new.priority is not None:
        connection.execute(sql.ASSIGN_PRIORITY, (new.priority, new.thread_id))
    RUNS.add(connection, run)
    after = jsonb(thread_metadata_after(new, before))
    config = jsonb(new.thread_config)
    connection.execute(sql.THREAD_GETS_RUN, (after, config, new.now, new.thread_id))
    return Created(run, superseded=changes.stop, ended=changes.left)


def _answer(connection: Connection, new: NewRun) -> None:
    """Note the questions that a run answers.

    Raises:
        AlreadyAnswered: the run alone is to answer a question that another run answers.
    """
    questions = new.questions
    if not questions:
        return
    noted = connection.execute(sql.ANSWER, (new.thread_id, list(questions), new.run_id))
    if not new.answers:
        return
    taken = set(new.answers).difference(interrupt_id for (interrupt_id,) in noted)
    if taken:
        raise AlreadyAnswered(min(taken))


def _replay(connection: Connection, new: NewRun, place: tuple[UUID, UUID]) -> Created:
    thread = connection.execute(sql.THREAD_METADATA, (place[0],)).fetchone()
    found = RUNS.get(connection, RUNS.equal(run_id=place[1]))
    return replayed(new, place, found, None if thread is None else obj(thread[0]))


def _check_total(connection: Connection, new: NewRun) -> None:
    most = 0 if new.limits is None else new.limits.total
    if not most:
        return
    row = connection.execute(sql.PENDING_UP_TO, (most,)).fetchone()
    if row is not None and row[0] >= most:
        raise TooManyRuns.in_all(most)
