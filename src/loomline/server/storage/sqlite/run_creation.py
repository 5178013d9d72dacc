"""The transaction that adds a run to its thread in SQLite."""

from __future__ import annotations

import sqlite3
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
from loomline.server.storage.run_creation import hold_thread
from loomline.server.storage.sqlite import sql
from loomline.server.storage.sqlite.crons import move_date
from loomline.server.storage.sqlite.idempotency import claim_key
from loomline.server.storage.sqlite.rows import micros, obj, text
from loomline.server.storage.sqlite.run_changes import apply
from loomline.server.storage.sqlite.run_rows import RUNS, active_runs
from loomline.server.storage.sqlite.thread_rows import THREADS


def create_run(connection: sqlite3.Connection, new: NewRun) -> Created:
    place = claim_key(connection, new)
    if place is not None:
        return _replay(connection, new, place)
    now, key = micros(new.now), str(new.thread_id)
    _check_total(connection, new)
    before = hold_thread(THREADS, connection, new)()
    if new.firing is not None and not move_date(connection, new.firing):
        raise AlreadyFired(new.firing.cron_id)
    active = active_runs(connection, key)
    changes = supersede(new, active, RUNS.ending(connection, displaced(new, active)))
    apply(connection, new.thread_id, changes, now)
    _answer(connection, new)
    run = pending_run(new, run_metadata(new, before))
    if new.priority is not None:
        connection.execute(sql.ASSIGN_PRIORITY, (new.priority, key))
    RUNS.add(connection, run)
    after = thread_metadata_after(new, before)
    connection.execute(sql.THREAD_GETS_RUN, (text(after), text(new.thread_config), now, key))
    return Created(run, superseded=changes.stop, ended=changes.left)


def _replay(connection: sqlite3.Connection, new: NewRun, place: tuple[UUID, UUID]) -> Created:
    thread = connection.execute(sql.THREAD_METADATA, (str(place[0]),)).fetchone()
    found = RUNS.get(connection, RUNS.equal(run_id=place[1]))
    return replayed(new, place, found, None if thread is None else obj(thread[0]))


def _check_total(connection: sqlite3.Connection, new: NewRun) -> None:
    most = 0 if new.limits is None else new.limits.total
    if most and connection.execute(sql.PENDING_UP_TO, (most,)).fetchone()[0] >= most:
        raise TooManyRuns.in_all(most)


def _answer(connection: sqlite3.Connection, new: NewRun) -> None:
    """Note the questions that a run answers.

    Raises:
        AlreadyAnswered: the run alone is to answer a question that another run answers.
    """
    for interrupt_id in new.questions:
        row = (str(new.thread_id), interrupt_id, str(new.run_id))
        if connection.execute(sql.ANSWER, row).rowcount == 0 and new.answers:
            raise AlreadyAnswered(interrupt_id)
