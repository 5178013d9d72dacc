"""Changes to the runs of a thread, applied in SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from loomline.server.domain.json import dump
from loomline.server.domain.lifecycle import Changes, RunEnd, ThreadEnd
from loomline.server.domain.runs import ENDED_NUMBERS, UNTOLD_MINUTES
from loomline.server.storage.sqlite import sql
from loomline.server.storage.sqlite.checkpoint_rows import delete_run_checkpoints
from loomline.server.storage.sqlite.rows import micros, optional_text
from loomline.server.storage.sqlite.thread_rows import THREADS, SqliteRemoval
from loomline.server.storage.sqlite.webhooks import note_end


def apply(connection: sqlite3.Connection, thread_id: UUID, changes: Changes, at: datetime) -> bool:
    """Apply changes; return whether another run of the thread can start after the end of one."""
    thread, now = str(thread_id), micros(at)
    _change_runs(connection, thread, changes, now)
    if changes.values is not None:
        THREADS.set_values(connection, thread_id, changes.values)
    for notice in changes.notices:
        note_end(connection, notice, now)
    if changes.delete_thread:
        SqliteRemoval(connection).delete(thread_id)
        return False
    for run_id in changes.remove:
        connection.execute(sql.DELETE_RUN, (str(run_id),))
        delete_run_checkpoints(connection, str(run_id), thread)
    if changes.expires:
        connection.execute(sql.LET_EXPIRE, (UNTOLD_MINUTES, thread))
    waiting = changes.thread is not None and _end_thread(connection, thread, changes.thread, now)
    if changes.asked:
        ask_again(connection, thread, changes.asked)
    if changes.number:
        _number(connection, thread, changes)
    if changes.settle:
        connection.execute(sql.SETTLE, (now, thread, thread))
    return waiting


def ask_again(connection: sqlite3.Connection, thread: str, asked: Sequence[str]) -> None:
    """Let questions be answered that may have been answered before, and are asked now."""
    connection.execute(sql.ASK_AGAIN, (thread, dump(list(asked)).decode()))


def _change_runs(connection: sqlite3.Connection, thread: str, changes: Changes, now: int) -> None:
    if changes.skip:
        connection.execute(sql.SKIP_NUMBERS, (changes.skip, thread))
    how = changes.how
    if how is not None:
        ended = [(now, how.reason, str(run_id)) for run_id in changes.interrupt]
        connection.executemany(sql.END_PENDING, ended)
        forgotten = [(thread, str(run_id)) for run_id in changes.interrupt]
        connection.executemany(sql.FORGET_ANSWERS, forgotten)
        marked = [(how.action, how.reason, str(run_id)) for run_id in changes.stop]
        connection.executemany(sql.MARK_STOP, marked)
    for run_id in changes.requeue:
        connection.execute(sql.REQUEUE, (now, str(run_id)))
    if changes.end is not None:
        connection.execute(sql.END_RUN, _end_row(changes.end, now))


def _end_row(end: RunEnd, now: int) -> tuple[object, ...]:
    error, events = optional_text(end.error), optional_text(end.last_events)
    return (end.status, error, now, end.last_number, end.output.dump(), events, str(end.run_id))


def _end_thread(connection: sqlite3.Connection, thread: str, end: ThreadEnd, now: int) -> bool:
    waiting = connection.execute(sql.HAS_PENDING, (thread,)).fetchone() is not None
    status, error = "busy" if waiting else end.status, optional_text(end.error)
    interrupts = end.interrupts.decode()
    row = (status, end.status, interrupts, error, now, now, end.used, thread)
    connection.execute(sql.THREAD_ENDS_RUN, row)
    return waiting


def _number(connection: sqlite3.Connection, thread: str, changes: Changes) -> None:
    """Number the ends without a number, unless a run of the thread has begun and is active.

    Behind such a run, numbers are kept for the ends: they follow the events of that run.
    """
    ended = connection.execute(sql.WITHOUT_NUMBER, (thread,)).fetchall()
    if not ended:
        return
    if connection.execute(sql.HAS_BEGUN, (thread,)).fetchone() is not None:
        kept = ENDED_NUMBERS * len(changes.interrupt)
        connection.execute(sql.SKIP_NUMBERS, (kept, thread))
        return
    last = changes.after
    if last is None:
        (last,) = connection.execute(sql.EVENT_NUMBER, (thread,)).fetchone()
    for (run_id,) in ended:
        before, last = last, last + ENDED_NUMBERS
        connection.execute(sql.NUMBER_END, (before, last, run_id))
    connection.execute(sql.RAISE_NUMBER, (last, thread))
