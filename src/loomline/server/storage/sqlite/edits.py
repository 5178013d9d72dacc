"""A change of a thread's state in SQLite, which the pruning of the thread may be ahead of."""

from __future__ import annotations

import sqlite3
from uuid import UUID

from loomline.server.domain.access import EVERYTHING, Condition
from loomline.server.domain.errors import StateChanged
from loomline.server.domain.threads import NewThread, Thread, ThreadState
from loomline.server.storage.checkpoints import Access
from loomline.server.storage.edits import DatabaseEdit
from loomline.server.storage.savers import Staged
from loomline.server.storage.sqlite.pieces import ThreadUnderWork, work_on
from loomline.server.storage.sqlite.runs import RUN_FORM
from loomline.server.storage.sqlite.upkeep import Upkeep


class SqliteEdit(DatabaseEdit[sqlite3.Connection]):
    """``StateEdit`` on SQLite."""

    def __init__(
        self,
        access: Access[sqlite3.Connection],
        upkeep: Upkeep,
        thread_id: UUID,
        staged: Staged[sqlite3.Connection],
    ) -> None:
        super().__init__(access, RUN_FORM, thread_id, staged)
        self._upkeep = upkeep

    async def commit(
        self, state: ThreadState, new: NewThread | None = None, *, access: Condition = EVERYTHING
    ) -> Thread:
        try:
            return await super().commit(state, new, access=access)
        except ThreadUnderWork as error:
            # The checkpoint that the change rests on may be gone afterwards.
            await self._upkeep.settle(error.thread_id)
            raise StateChanged(self._thread_id) from None

    def _hold(self, connection: sqlite3.Connection, access: Condition) -> None:
        super()._hold(connection, access)
        if work_on(connection, str(self._thread_id)) == "prune":
            raise ThreadUnderWork(str(self._thread_id))
