"""The transaction that adds a run to its thread, for every database."""

from __future__ import annotations

from collections.abc import Callable

from loomline.server.domain.access import EVERYTHING
from loomline.server.domain.errors import AlreadyAnswered, AlreadyFired, TooManyRuns
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
from loomline.server.domain.threads import NewThread
from loomline.server.storage.checkpoints import Connection
from loomline.server.storage.crons import CronTable
from loomline.server.storage.run_rows import RunForm


def create_run(form: RunForm[Connection], connection: Connection, new: NewRun) -> Created:
    """Add a run to its thread, as ``RunStorage.create`` says.

    The statements that need no answer of one another are sent together.
    """
    place = form.keys.claim(connection, new)
    if place is not None:
        thread = form.threads.ask(connection, place[0]).fetchone()
        found = form.runs.get(connection, form.runs.equal(run_id=place[1]))
        read = form.threads.dialect.codecs.object.read
        return replayed(new, place, found, None if thread is None else read(thread[0]))
    _check_total(form, connection, new)
    metadata = _hold_thread(form, connection, new)
    # A run that this one supersedes must not begin before the end of the transaction.
    supersedes = new.multitask_strategy in {"interrupt", "rollback"}
    active_runs = form.active_runs(connection, new.thread_id, supersedes)
    before = metadata()
    if new.firing is not None:
        crons = CronTable(form.threads.dialect)
        if not crons.move_date(connection, new.firing):
            raise AlreadyFired(new.firing.cron_id)
    active = active_runs()
    changes = supersede(new, active, form.runs.ending(connection, displaced(new, active)))
    form.apply(connection, new.thread_id, changes, new.now)
    _answer(form, connection, new)
    run = pending_run(new, run_metadata(new, before))
    if new.priority is not None:
        form.threads.assign_priority(connection, new.thread_id, new.priority)
    form.runs.add(connection, run)
    _follow(form, connection, new, before)
    return Created(run, superseded=changes.stop, ended=changes.left)


def _check_total(form: RunForm[Connection], connection: Connection, new: NewRun) -> None:
    most = 0 if new.limits is None else new.limits.total
    if most and form.runs.pending_up_to(connection, most) >= most:
        raise TooManyRuns.in_all(most)


def _hold_thread(
    form: RunForm[Connection], connection: Connection, new: NewRun
) -> Callable[[], JsonObject]:
    """Lock the thread of a run, which is created if the run asks for it.

    Returns:
        A function that returns the metadata of the thread. It raises ``ThreadNotFound`` if the
        thread does not exist, or does not meet the condition of the request.
    """
    created = None
    if new.create_thread:
        thread = NewThread(
            new.thread_id, new.thread_metadata, "do_nothing", new.now, new.thread_ttl
        )
        created = form.threads.add(connection, thread)
    held = form.threads.ask(connection, new.thread_id, lock=True)

    def metadata() -> JsonObject:
        access = EVERYTHING if created is not None and created() else new.access
        return form.threads.check(held, new.thread_id, access)

    return metadata


def _answer(form: RunForm[Connection], connection: Connection, new: NewRun) -> None:
    """Note the questions that a run answers.

    Raises:
        AlreadyAnswered: The run alone may answer a question, and another run answers it.
    """
    dialect = form.threads.dialect
    statement = (
        f"INSERT INTO {dialect.prefix}run_answers (thread_id, interrupt_id, run_id)"
        " VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
    )
    if new.answers:
        statement += " RETURNING 1"
    thread_id, run_id = map(dialect.codecs.id.write, (new.thread_id, new.run_id))
    noted = {
        question: dialect.execute(connection, statement, (thread_id, question, run_id))
        for question in dict.fromkeys(new.questions)
    }
    if new.answers:
        taken = [question for question, found in noted.items() if found.fetchone() is None]
        if taken:
            raise AlreadyAnswered(min(taken))


def _follow(
    form: RunForm[Connection], connection: Connection, new: NewRun, before: JsonObject
) -> None:
    """Update the row of a thread that has a new run."""
    codecs = form.threads.dialect.codecs
    form.threads.execute(
        connection,
        f"UPDATE {form.threads.name} SET status = 'busy', metadata = ?, config = ?, updated_at = ?"
        " WHERE thread_id = ?",
        codecs.object.write(thread_metadata_after(new, before)),
        codecs.object.write(new.thread_config),
        codecs.moment.write(new.now),
        codecs.id.write(new.thread_id),
    )
