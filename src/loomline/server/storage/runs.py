"""Runs for every database: the rules that need neither a lease nor a claim."""

from __future__ import annotations

from abc import ABC
from collections.abc import Collection, Sequence
from datetime import datetime
from functools import partial
from typing import Generic
from uuid import UUID

from loomline.schema import RunStatus
from loomline.server.domain import lifecycle
from loomline.server.domain.access import EVERYTHING, Condition
from loomline.server.domain.errors import NothingToCancel, ThreadNotFound
from loomline.server.domain.json import Encoded
from loomline.server.domain.runs import Cancelled, Created, NewRun, QueueStats, Reclaimed, Run, Stop
from loomline.server.ports.clock import Clock
from loomline.server.storage.checkpoints import Access, Connection
from loomline.server.storage.run_creation import create_run
from loomline.server.storage.run_rows import RunForm


class DatabaseRuns(ABC, Generic[Connection]):
    """The part of ``RunStorage`` that all databases have in common."""

    def __init__(self, access: Access[Connection], form: RunForm[Connection], clock: Clock) -> None:
        self._access = access
        self._form = form
        self._clock = clock

    async def create(self, new: NewRun) -> Created:
        _ = new.request.stored  # encoded before the transaction, which other callers wait for
        return await self._access.write(lambda c: create_run(self._form, c, new))

    async def get(
        self, thread_id: UUID | None, run_id: UUID, *, access: Condition = EVERYTHING
    ) -> Run:
        return await self._access.point(
            lambda c: self._form.runs.found(c, thread_id, run_id, access)
        )

    async def list(
        self,
        thread_id: UUID,
        *,
        limit: int,
        offset: int,
        status: RunStatus | None,
        access: Condition = EVERYTHING,
    ) -> Sequence[Run]:
        form = self._form

        def work(connection: Connection) -> Sequence[Run]:
            thread = form.threads.ask(connection, thread_id)
            runs = form.runs.of_thread(connection, thread_id, status, limit=limit, offset=offset)
            form.threads.check(thread, thread_id, access)
            return runs

        return await self._access.read(work)

    async def forget_keys(self, before: datetime, limit: int) -> int:
        return await self._access.write(lambda c: self._form.keys.forget(c, before, limit))

    async def stats(self, *, graphs: Collection[str] | None = None) -> QueueStats:
        now = self._clock.now()
        return await self._access.ask(lambda c: self._form.stats.read(c, now, graphs))

    async def active(
        self,
        status: RunStatus | None,
        *,
        after: UUID | None,
        limit: int,
        access: Condition = EVERYTHING,
    ) -> Sequence[tuple[UUID, UUID]]:
        table = self._form.threads.form.runs
        return await self._access.read(
            lambda c: self._form.runs.active(
                c, table, status, after=after, limit=limit, access=access
            )
        )

    async def delete(self, thread_id: UUID, run_id: UUID, *, access: Condition = EVERYTHING) -> Run:
        form, now = self._form, self._clock.now()

        def work(connection: Connection) -> Run:
            form.threads.ask(connection, thread_id, lock=True)
            # A run that began now would read values that are about to be removed.
            form.active_runs(connection, thread_id, True)
            run = form.runs.found(connection, thread_id, run_id, access)
            form.apply(connection, thread_id, lifecycle.delete(run), now)
            return run

        return await self._access.write(work)

    async def last_events(self, run_id: UUID) -> Encoded | None:
        return await self._access.point(partial(self._form.runs.last_events, run_id=run_id))

    async def cancel(
        self,
        thread_id: UUID,
        run_ids: Sequence[UUID],
        stop: Stop,
        *,
        access: Condition = EVERYTHING,
    ) -> Cancelled:
        form, now = self._form, self._clock.now()

        def work(connection: Connection) -> Cancelled:
            thread = form.threads.ask(connection, thread_id, lock=True)
            runs = form.active_runs(connection, thread_id, True)
            try:
                form.threads.check(thread, thread_id, access)
            except ThreadNotFound:
                raise NothingToCancel from None
            active = runs()
            known = form.runs.ending(connection, lifecycle.pending(active, run_ids))
            changes = lifecycle.cancel(active, run_ids, stop, known)
            form.apply(connection, thread_id, changes, now)
            return Cancelled(changes.left, changes.stop)

        return await self._access.write(work)

    async def reclaim(self, *, max_attempts: int, orphaned: bool = False) -> Reclaimed:
        form, now = self._form, self._clock.now()
        # A read first: leases are checked every few seconds and expire seldom.
        given = (orphaned, form.threads.dialect.codecs.moment.write(now))
        execute = form.threads.dialect.execute
        found = await self._access.point(lambda c: execute(c, form.expired[0], given).fetchone())
        if found is None:
            return Reclaimed()

        def work(connection: Connection) -> Reclaimed:
            *locks, expiring = form.expired[1:]
            for lock in locks:
                execute(connection, lock, given)
            rows = execute(connection, expiring, given).fetchall()
            runs = [form.runs.rows.record(row) for row in rows]
            expired = {run.run_id: lifecycle.expire(run, max_attempts) for run in runs}
            for run in runs:
                form.apply(connection, run.thread_id, expired[run.run_id], now)
            return lifecycle.reclaimed(expired)

        return await self._access.write(work)
