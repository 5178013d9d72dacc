"""The transaction that adds a run to its thread in SQLite."""

from __future__ import annotations

import sqlite3
from uuid import UUID

from loomline.server.domain.access import meets
from loomline.server.domain.errors import AlreadyAnswered, AlreadyFired, ThreadNotFound, TooManyRuns
from loomline.server.domain.json import JsonObject
from loomline.server.domain.lifecycle import displaced, supersede
from loomline.server.domain.runs import (
    Created,
    NewRun,
    pending_run,
    replayed,
    run_metadata,
    thread_metadata_after,
)
from loomline.server.storage.sqlite import sql
from loomline.server.storage.sqlite.crons import move_date
from loomline.server.storage.sqlite.idempotency import claim_key
from loomline.server.storage.sqlite.rows import micros, obj, text
from loomline.server.storage.sqlite.run_changes import apply
from loomline.server.storage.sqlite.run_rows import active_runs, ending_runs, new_row, run_of
from loomline.server.storage.sqlite.threads import insert_thread


def create_run(connection: sqlite3.Connection, new: NewRun) -> Created:
    place = claim_key(connection, new)
    if place is not None:
        return _replay(connection, new, place)
    now, key = micros(new.now), str(new.thread_id)
    _check_total(connection, new)
    before = _thread(connection, new, now)
    if new.firing is not None and not move_date(connection, new.firing):
        raise AlreadyFired(new.firing.cron_id)
    active = active_runs(connection, key)
    changes = supersede(new, active, ending_runs(connection, displaced(new, active)))
    apply(connection, new.thread_id, changes, now)
    _answer(connection, new)
    metadata = run_metadata(new, before)
    if new.priority is not None:
        connection.execute(sql.ASSIGN_PRIORITY, (new.priority, key))
    connection.execute(sql.INSERT_RUN, new_row(new, text(metadata), now))
    after = thread_metadata_after(new, before)
    connection.execute(sql.THREAD_GETS_RUN, (text(after), text(new.thread_config), now, key))
    return Created(pending_run(new, metadata), superseded=changes.stop, ended=changes.left)


def _replay(connection: sqlite3.Connection, new: NewRun, place: tuple[UUID, UUID]) -> Created:
    thread = connection.execute(sql.THREAD_METADATA, (str(place[0]),)).fetchone()
    row = connection.execute(sql.GET_RUN, (str(place[1]),)).fetchone()
    found = None if row is None else run_of(row)
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


def _thread(connection: sqlite3.Connection, new: NewRun, now: int) -> JsonObject:
    """Return the metadata of the run's thread, which is created where the run asks for it.

    Raises:
        ThreadNotFound: the thread does not exist, or does not meet the condition of the request.
    """
    created = new.create_thread and insert_thread(
        connection, new.thread_id, new.thread_metadata, {}, now, ttl=new.thread_ttl
    )
    row = connection.execute(sql.THREAD_METADATA, (str(new.thread_id),)).fetchone()
    if row is None:
        raise ThreadNotFound(new.thread_id)
    before = obj(row[0])
    if not created and not meets(before, new.access):
        raise ThreadNotFound(new.thread_id)
    return before
