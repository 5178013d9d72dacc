"""Changes to the runs of a thread, applied in PostgreSQL."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from loomline.server.domain.lifecycle import Changes, RunEnd, ThreadEnd
from loomline.server.domain.runs import ENDED_NUMBERS, UNTOLD_MINUTES
from loomline.server.storage.postgres import sql
from loomline.server.storage.postgres.checkpoint_rows import delete_run_checkpoints
from loomline.server.storage.postgres.connection import Connection, Cursor
from loomline.server.storage.postgres.rows import optional_text
from loomline.server.storage.postgres.thread_rows import THREADS, PostgresRemoval
from loomline.server.storage.postgres.webhooks import note_end


def apply(
    connection: Connection, thread_id: UUID, changes: Changes, now: datetime
) -> Cursor | None:
    """Apply changes to the runs of a thread, which must be locked.

    No statement needs the answer of another, so all of them are sent in one round trip.

    Returns:
        A cursor that tells whether another run of the thread can start after the end of one;
        None: no run of the thread ends, or the thread is gone.
    """
    _change_runs(connection, thread_id, changes, now)
    if changes.values is not None:
        THREADS.set_values(connection, thread_id, changes.values)
    for notice in changes.notices:
        note_end(connection, notice, now)
    if changes.delete_thread:
        PostgresRemoval(connection).delete(thread_id)
        return None
    for run_id in changes.remove:
        connection.execute(sql.DELETE_RUN, {"thread": thread_id, "run": run_id})
        delete_run_checkpoints(connection, str(run_id), str(thread_id))
    if changes.expires:
        connection.execute(sql.LET_EXPIRE, (UNTOLD_MINUTES, thread_id))
    ended = None
    if changes.thread is not None:
        ended = _end_thread(connection, thread_id, changes.thread, now)
    if changes.asked:
        connection.execute(sql.ASK_AGAIN, (thread_id, list(changes.asked)))
    if changes.number:
        _number(connection, thread_id, changes)
    if changes.settle:
        connection.execute(sql.SETTLE, (now, thread_id))
    return ended


def _change_runs(connection: Connection, thread_id: UUID, changes: Changes, now: datetime) -> None:
    if changes.skip:
        connection.execute(sql.SKIP_NUMBERS, (changes.skip, thread_id))
    how = changes.how
    if how is not None and changes.interrupt:
        connection.execute(sql.END_PENDING, (now, how.reason, list(changes.interrupt)))
        connection.execute(sql.FORGET_ANSWERS, (thread_id, list(changes.interrupt)))
    if how is not None and changes.stop:
        connection.execute(sql.MARK_STOP, (how.action, how.reason, list(changes.stop)))
    for run_id in changes.requeue:
        connection.execute(sql.REQUEUE, (now, run_id))
    if changes.end is not None:
        connection.execute(sql.END_RUN, _end_row(changes.end, now))


def _end_row(end: RunEnd, now: datetime) -> tuple[object, ...]:
    error, events = optional_text(end.error), optional_text(end.last_events)
    return (end.status, error, now, end.last_number, end.output.dump(), events, end.run_id)


def _end_thread(connection: Connection, thread_id: UUID, end: ThreadEnd, now: datetime) -> Cursor:
    values = {
        "status": end.status,
        "interrupts": end.interrupts.decode(),
        "error": optional_text(end.error),
        "now": now,
        "used": end.used,
        "thread": thread_id,
    }
    return connection.execute(sql.THREAD_ENDS_RUN, values)


def _number(connection: Connection, thread_id: UUID, changes: Changes) -> None:
    """Number the ends without a number, unless a run of the thread has begun and is active.

    Behind such a run, numbers are kept for the ends: they follow the events of that run.
    """
    if changes.interrupt:
        kept = {"thread": thread_id, "count": ENDED_NUMBERS * len(changes.interrupt)}
        connection.execute(sql.KEEP_NUMBERS, kept)
    values = {"thread": thread_id, "after": changes.after, "numbers": ENDED_NUMBERS}
    connection.execute(sql.NUMBER_ENDS, values)
