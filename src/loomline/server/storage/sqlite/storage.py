"""The whole of it: one file, one writer, and a lock that keeps other processes out."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import ExitStack, closing
from pathlib import Path
from uuid import UUID

from loomline.server.domain.errors import StorageUnavailable
from loomline.server.ports.clock import Clock
from loomline.server.ports.measures import NO_MEASURES, Measures
from loomline.server.ports.store import Store, StoreOptions
from loomline.server.storage.assistants import DatabaseAssistants
from loomline.server.storage.crons import DatabaseCrons
from loomline.server.storage.database_rewriter import DatabaseRewriter
from loomline.server.storage.item_tables import TableItems
from loomline.server.storage.memory_cache import MemoryCache
from loomline.server.storage.packed_vectors import PackedVectors
from loomline.server.storage.saver import SaverOptions
from loomline.server.storage.savers import Checkpointed, Savers
from loomline.server.storage.sinks import Sinks
from loomline.server.storage.sqlite.assistants import ASSISTANTS
from loomline.server.storage.sqlite.checkpoint_rows import SqliteCheckpoints
from loomline.server.storage.sqlite.connection import Access, Readers, Writer, connect, not_opened
from loomline.server.storage.sqlite.dialect import DIALECT
from loomline.server.storage.sqlite.edits import SqliteEdit
from loomline.server.storage.sqlite.folder import DataFolder
from loomline.server.storage.sqlite.migrate import look_at_owner, look_at_version, migrate
from loomline.server.storage.sqlite.rewriting import REWRITING
from loomline.server.storage.sqlite.runs import SqliteRuns
from loomline.server.storage.sqlite.savers import WriterDrain
from loomline.server.storage.sqlite.store_items import ITEMS
from loomline.server.storage.sqlite.threads import SqliteThreads
from loomline.server.storage.sqlite.upkeep import Upkeep
from loomline.server.storage.sqlite.webhooks import PIECE
from loomline.server.storage.store import DatabaseStore
from loomline.server.storage.webhooks import DatabaseWebhooks


class SqliteStorage(Checkpointed[sqlite3.Connection]):
    """``Storage`` in one SQLite file, for one process at a time.

    ``beside`` a server, another process may do what is short and needs no lease.
    """

    def __init__(
        self,
        path: Path,
        *,
        clock: Clock,
        store: StoreOptions | None = None,
        beside: bool = False,
        saver: SaverOptions | None = None,
        measures: Measures = NO_MEASURES,
    ) -> None:
        self._path = path
        self._measures = measures
        self._beside = beside
        self._clock = clock
        self._store_options = store or StoreOptions()
        self._saver_options = saver or SaverOptions()
        self._folder = DataFolder(path)
        self._opened = False
        # One process has the file, so it needs to share with nobody.
        self.cache: MemoryCache = MemoryCache(clock)

    async def open(self) -> None:
        """Open the file, creating it where it does not exist.

        Raises:
            StorageUnavailable: another process has it, or it cannot be opened or written.
        """
        await asyncio.to_thread(self._prepare)
        sinks = Sinks(WriterDrain(self._writer))
        self._writer.start()
        if not self._beside:
            self._upkeep.start()
        self._opened = True
        options = self._store_options
        access = Access(self._writer, self._readers)
        self._savers = Savers(access, SqliteCheckpoints(), sinks, self._saver_options)
        items = TableItems(DIALECT, ITEMS, PackedVectors(DIALECT, options.index))
        self._store = DatabaseStore(access, items, self._clock, options, self._saver_options.sealer)
        self.assistants: DatabaseAssistants[sqlite3.Connection] = DatabaseAssistants(
            access, DIALECT, ASSISTANTS
        )
        self.crons: DatabaseCrons[sqlite3.Connection] = DatabaseCrons(access, DIALECT)
        self.threads: SqliteThreads = SqliteThreads(self._writer, self._readers, self._upkeep)
        self.webhooks: DatabaseWebhooks[sqlite3.Connection] = DatabaseWebhooks(
            access, DIALECT, self._clock, piece=PIECE
        )
        self.runs: SqliteRuns = SqliteRuns(
            self._writer, self._readers, sinks, self._clock, self._upkeep
        )

    async def close(self) -> None:
        if not self._opened:
            return
        self._opened = False
        await asyncio.to_thread(self._upkeep.close)
        await asyncio.to_thread(self._writer.close)
        await asyncio.to_thread(self._readers.close)
        self._folder.release()

    async def ping(self) -> None:
        self._readers.point(lambda connection: connection.execute("SELECT 1").fetchone())

    @property
    def store(self) -> Store:
        return self._store

    def edit(self, thread_id: UUID) -> SqliteEdit:
        return SqliteEdit(self._savers.access, self._upkeep, thread_id, self._savers.staged())

    def rewriter(self) -> DatabaseRewriter[sqlite3.Connection]:
        return DatabaseRewriter(Access(self._writer, self._readers), DIALECT, REWRITING)

    def _prepare(self) -> None:
        if self._beside:
            self._prepare_beside()
            return
        self._folder.take()
        with ExitStack() as undo:
            undo.callback(self._folder.release)
            self._connect(undo)
            undo.pop_all()

    def _prepare_beside(self) -> None:
        if not self._path.exists():
            raise StorageUnavailable(
                f"There is no database in '{self._path.parent}'. Name its folder with --data-dir."
            )
        with ExitStack() as undo:
            self._connect(undo)
            undo.pop_all()

    def _connect(self, undo: ExitStack) -> None:
        try:
            look_at_owner(self._path)
            connection = undo.enter_context(closing(connect(self._path)))
            if self._beside:
                look_at_version(connection)
            else:
                migrate(connection)
            self._readers = Readers(self._path, self._measures)
            undo.callback(self._readers.close)
            self._writer = Writer(connection, self._measures)
            self._upkeep = Upkeep(self._writer, connection, self._path)
            if not self._beside:
                self._upkeep.prepare()
        except sqlite3.Error as error:
            raise not_opened(error, self._path) from error
