"""A change of a thread's state, from the first checkpoint written to the row that follows."""

from __future__ import annotations

from typing import Generic
from uuid import UUID

from langgraph.checkpoint.base import BaseCheckpointSaver

from loomline.server.domain.access import EVERYTHING, Condition
from loomline.server.domain.errors import ThreadInFlight
from loomline.server.domain.threads import NewThread, Thread, ThreadState
from loomline.server.storage.checkpoints import Access, Connection
from loomline.server.storage.run_rows import RunForm
from loomline.server.storage.savers import Staged


class DatabaseEdit(Generic[Connection]):
    """``StateEdit``: rows wait in memory until they are written together."""

    def __init__(
        self,
        access: Access[Connection],
        form: RunForm[Connection],
        thread_id: UUID,
        staged: Staged[Connection],
    ) -> None:
        self._access = access
        self._form = form
        self._thread_id = thread_id
        self._staged = staged

    @property
    def checkpointer(self) -> BaseCheckpointSaver[str]:
        return self._staged.saver

    async def commit(
        self, state: ThreadState, new: NewThread | None = None, *, access: Condition = EVERYTHING
    ) -> Thread:
        threads = self._form.threads

        def work(connection: Connection) -> Thread:
            if new is not None and not threads.create(connection, new, access):
                return threads.whole(connection, self._thread_id)
            self._hold(connection, access if new is None else EVERYTHING)
            self._staged.write(connection, self._thread_id)
            threads.follow(connection, self._thread_id, state)
            return threads.whole(connection, self._thread_id)

        return await self._access.write(work)

    def _hold(self, connection: Connection, access: Condition) -> None:
        """Lock the thread.

        Raises:
            ThreadNotFound: There is no such thread, or it does not meet the condition.
            ThreadInFlight: The thread has active runs.
        """
        held = self._form.threads.ask(connection, self._thread_id, lock=True)
        active = self._form.active_runs(connection, self._thread_id, False)
        self._form.threads.check(held, self._thread_id, access)
        if active():
            raise ThreadInFlight(self._thread_id)
