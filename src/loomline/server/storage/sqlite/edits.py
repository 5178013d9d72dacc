"""A change of a thread's state, from the first checkpoint written to the row that follows."""

from __future__ import annotations

import sqlite3
from uuid import UUID

from langgraph.checkpoint.base import BaseCheckpointSaver

from loomline.server.domain.access import EVERYTHING, Condition
from loomline.server.domain.errors import StateChanged, ThreadInFlight, ThreadNotFound
from loomline.server.domain.threads import NewThread, Thread, ThreadState
from loomline.server.storage.savers import Staged
from loomline.server.storage.sqlite import sql
from loomline.server.storage.sqlite.connection import Writer
from loomline.server.storage.sqlite.pieces import ThreadUnderWork, work_on
from loomline.server.storage.sqlite.rows import micros
from loomline.server.storage.sqlite.run_rows import active_runs
from loomline.server.storage.sqlite.thread_rows import THREADS
from loomline.server.storage.sqlite.upkeep import Upkeep


class SqliteEdit:
    """``StateEdit``: rows wait in memory until they are written together."""

    def __init__(
        self, writer: Writer, upkeep: Upkeep, thread_id: UUID, staged: Staged[sqlite3.Connection]
    ) -> None:
        self._writer = writer
        self._upkeep = upkeep
        self._thread_id = thread_id
        self._staged = staged

    @property
    def checkpointer(self) -> BaseCheckpointSaver[str]:
        return self._staged.saver

    async def commit(
        self, state: ThreadState, new: NewThread | None = None, *, access: Condition = EVERYTHING
    ) -> Thread:
        def work(connection: sqlite3.Connection) -> Thread:
            if new is not None and not THREADS.create(connection, new, access):
                return THREADS.whole(connection, self._thread_id)
            if new is None:
                held = THREADS.ask(connection, self._thread_id)
                THREADS.check(held, self._thread_id, access)
            if active_runs(connection, self._thread_id, False)():
                raise ThreadInFlight(self._thread_id)
            if work_on(connection, str(self._thread_id)) == "prune":
                raise ThreadUnderWork(str(self._thread_id))
            self._staged.write(connection, self._thread_id)
            _follow(connection, self._thread_id, state)
            return THREADS.whole(connection, self._thread_id)

        try:
            return await self._writer.write(work)
        except ThreadUnderWork as error:
            # The checkpoint that the change rests on may be gone afterwards.
            await self._upkeep.settle(error.thread_id)
            raise StateChanged(self._thread_id) from None


def _follow(connection: sqlite3.Connection, thread_id: UUID, state: ThreadState) -> None:
    """Update a thread's row from its newest checkpoint."""
    now = micros(state.now)
    key = str(thread_id)
    row = (state.status, state.status, state.interrupts.decode(), None, now, now, 0, key)
    if connection.execute(sql.THREAD_ENDS_RUN, row).rowcount == 0:
        raise ThreadNotFound(thread_id)
    connection.execute(sql.SET_VALUES, (key, state.values))
