"""A change of a thread's state, from the first checkpoint written to the row that follows."""

from __future__ import annotations

import sqlite3
from uuid import UUID

from langgraph.checkpoint.base import BaseCheckpointSaver

from loomline.server.domain.access import EVERYTHING, Condition
from loomline.server.domain.errors import StateChanged, ThreadInFlight, ThreadNotFound
from loomline.server.domain.threads import NewThread, Thread, ThreadState
from loomline.server.storage.checkpoints import Sink, lost_channels
from loomline.server.storage.saver import SaverOptions, StorageSaver
from loomline.server.storage.sinks import DirectSink
from loomline.server.storage.sqlite import sql
from loomline.server.storage.sqlite.checkpoint_rows import (
    SqliteCheckpoints,
    load,
    newest_checkpoint,
    write_rows,
)
from loomline.server.storage.sqlite.connection import Access, Readers, Writer
from loomline.server.storage.sqlite.pieces import ThreadUnderWork, work_on
from loomline.server.storage.sqlite.rows import micros
from loomline.server.storage.sqlite.threads import (
    active_runs,
    check_thread,
    create_thread,
    get_thread,
)
from loomline.server.storage.sqlite.upkeep import Upkeep
from loomline.server.storage.staged import Collected, StagedSaver


class SqliteEdit:
    """``StateEdit``: rows wait in memory until they are written together."""

    def __init__(
        self,
        writer: Writer,
        readers: Readers,
        upkeep: Upkeep,
        thread_id: UUID,
        options: SaverOptions,
    ) -> None:
        self._writer = writer
        self._upkeep = upkeep
        self._thread_id = thread_id
        self._collected = Collected()

        def saver(sink: Sink) -> StorageSaver[sqlite3.Connection]:
            access = Access(writer, readers)
            return StorageSaver(access, SqliteCheckpoints(), sink, options=options)

        self._saver = StagedSaver(
            saver(DirectSink(writer, write_rows)), saver(self._collected), options.serde
        )

    @property
    def checkpointer(self) -> BaseCheckpointSaver[str]:
        return self._saver

    async def commit(
        self, state: ThreadState, new: NewThread | None = None, *, access: Condition = EVERYTHING
    ) -> Thread:
        def work(connection: sqlite3.Connection) -> Thread:
            if new is not None and not create_thread(connection, new, access):
                return get_thread(connection, self._thread_id)
            if new is None:
                check_thread(connection, self._thread_id, access)
            if active_runs(connection, self._thread_id):
                raise ThreadInFlight(self._thread_id)
            if work_on(connection, str(self._thread_id)) == "prune":
                raise ThreadUnderWork(str(self._thread_id))
            self._check(connection)
            write_rows(connection, self._collected.rows)
            self._check_values(connection)
            _follow(connection, self._thread_id, state)
            return get_thread(connection, self._thread_id)

        try:
            return await self._writer.write(work)
        except ThreadUnderWork as error:
            # The checkpoint that the change rests on may be gone afterwards.
            await self._upkeep.settle(error.thread_id)
            raise StateChanged(self._thread_id) from None

    def _check(self, connection: sqlite3.Connection) -> None:
        for place, newest in self._saver.newest.items():
            if newest_checkpoint(connection, *place) != newest:
                raise StateChanged(self._thread_id)

    def _check_values(self, connection: sqlite3.Connection) -> None:
        """Refuse checkpoints whose values have been deleted since the state was read."""
        for row in self._collected.rows.checkpoints:
            stored = load(connection, row.thread_id, row.checkpoint_ns, row.checkpoint_id)
            if stored is None or lost_channels(stored):
                raise StateChanged(self._thread_id)


def _follow(connection: sqlite3.Connection, thread_id: UUID, state: ThreadState) -> None:
    """Let a thread's row say what its newest checkpoint says."""
    now = micros(state.now)
    key = str(thread_id)
    row = (state.status, state.status, state.interrupts.decode(), None, now, now, 0, key)
    if connection.execute(sql.THREAD_ENDS_RUN, row).rowcount == 0:
        raise ThreadNotFound(thread_id)
    connection.execute(sql.SET_VALUES, (key, state.values))
