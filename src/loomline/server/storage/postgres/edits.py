"""A change of a thread's state, from the first checkpoint written to the row that follows."""

from __future__ import annotations

from uuid import UUID

from langgraph.checkpoint.base import BaseCheckpointSaver

from loomline.server.domain.access import EVERYTHING, Condition
from loomline.server.domain.errors import ThreadInFlight
from loomline.server.domain.threads import NewThread, Thread, ThreadState
from loomline.server.storage.postgres import sql
from loomline.server.storage.postgres.connection import Connection, Database
from loomline.server.storage.postgres.thread_rows import THREADS
from loomline.server.storage.savers import Staged


class PostgresEdit:
    """``StateEdit``: rows wait in memory until they are written together."""

    def __init__(self, database: Database, thread_id: UUID, staged: Staged[Connection]) -> None:
        self._database = database
        self._thread_id = thread_id
        self._staged = staged

    @property
    def checkpointer(self) -> BaseCheckpointSaver[str]:
        return self._staged.saver

    async def commit(
        self, state: ThreadState, new: NewThread | None = None, *, access: Condition = EVERYTHING
    ) -> Thread:
        def work(connection: Connection) -> Thread:
            if new is not None and not THREADS.create(connection, new, access):
                return THREADS.whole(connection, self._thread_id)
            held = EVERYTHING if new is not None else access
            _lock_settled(connection, self._thread_id, held)
            self._staged.write(connection, self._thread_id)
            _follow(connection, self._thread_id, state)
            return THREADS.whole(connection, self._thread_id)

        return await self._database.write(work)


def _lock_settled(connection: Connection, thread_id: UUID, access: Condition) -> None:
    held = THREADS.ask(connection, thread_id, lock=True)
    active = connection.execute(sql.ACTIVE_RUNS, (thread_id,))
    THREADS.check(held, thread_id, access)
    if active.fetchone() is not None:
        raise ThreadInFlight(thread_id)


def _follow(connection: Connection, thread_id: UUID, state: ThreadState) -> None:
    """Update a thread's row from its newest checkpoint."""
    values = {
        "status": state.status,
        "interrupts": state.interrupts.decode(),
        "error": None,
        "now": state.now,
        "used": 0,
        "thread": thread_id,
    }
    connection.execute(sql.THREAD_ENDS_RUN, values)
    connection.execute(sql.SET_VALUES, (thread_id, state.values.decode()))
