"""The whole of it: threads with connections, and one that writes checkpoints."""

from __future__ import annotations

import asyncio
import logging
from contextlib import closing
from uuid import UUID

import psycopg

from loomline.server.ports.clock import Clock
from loomline.server.ports.measures import NO_MEASURES, Measures
from loomline.server.ports.store import Store, StoreOptions
from loomline.server.storage.assistants import DatabaseAssistants
from loomline.server.storage.cache import DatabaseCache
from loomline.server.storage.crons import DatabaseCrons
from loomline.server.storage.database_rewriter import DatabaseRewriter
from loomline.server.storage.edits import DatabaseEdit
from loomline.server.storage.item_tables import TableItems
from loomline.server.storage.postgres.assistants import ASSISTANTS
from loomline.server.storage.postgres.checkpoint_rows import PostgresCheckpoints
from loomline.server.storage.postgres.connection import (
    Connection,
    Database,
    connect,
    parameters,
)
from loomline.server.storage.postgres.dialect import DIALECT
from loomline.server.storage.postgres.failures import not_opened
from loomline.server.storage.postgres.migrate import migrate
from loomline.server.storage.postgres.occupancy import Occupancy, Use
from loomline.server.storage.postgres.rewriting import REWRITING
from loomline.server.storage.postgres.runs import RUN_FORM, PostgresRuns
from loomline.server.storage.postgres.savers import drain
from loomline.server.storage.postgres.store_items import ITEMS
from loomline.server.storage.postgres.store_vectors import PostgresVectors, open_vectors
from loomline.server.storage.postgres.threads import PostgresThreads
from loomline.server.storage.saver import SaverOptions
from loomline.server.storage.savers import Checkpointed, Savers
from loomline.server.storage.sinks import Sinks
from loomline.server.storage.store import DatabaseStore
from loomline.server.storage.webhooks import DatabaseWebhooks

logger: logging.Logger = logging.getLogger("loomline.storage")

_CLOCK_SECONDS = 2.0


class PostgresStorage(Checkpointed[Connection]):
    """``Storage`` in a PostgreSQL database, 14 or newer."""

    def __init__(
        self,
        url: str,
        *,
        clock: Clock,
        store: StoreOptions | None = None,
        connections: int,
        use: Use | None = None,
        saver: SaverOptions | None = None,
        measures: Measures = NO_MEASURES,
    ) -> None:
        """Make one that is not opened yet.

        Args:
            url: The address, with a password maybe.
            clock: Time.
            store: How the store works.
            connections: How many threads with a connection each.
            use: Whether other processes may use the database meanwhile; None: it does not matter,
                because nothing is going to be executed.
            saver: How values become rows.
            measures: The receiver of spans of the transactions.
        """
        self._url = url
        self._use = use
        self._occupancy: Occupancy | None = None
        self._store_options = store or StoreOptions()
        self._saver_options = saver or SaverOptions()
        self._clock = clock
        self._measures = measures
        self._connections = connections
        self._opened = False

    async def open(self) -> None:
        """Connect, and bring the schema up to date.

        Raises:
            StorageUnavailable: the database cannot be reached or used, is used by another process
                that does not expect us, or has no pgvector where the store needs it.
        """
        vectors = await asyncio.to_thread(self._prepare)
        self._database = Database(parameters(self._url), self._connections, self._measures)
        self._drain = drain(self._database)
        sinks = Sinks(self._drain)
        self._savers = Savers(self._database, PostgresCheckpoints(), sinks, self._saver_options)
        self._drain.start()
        self._opened = True
        options = self._store_options
        items = TableItems(DIALECT, ITEMS, PostgresVectors(options.index, vectors))
        self._store = DatabaseStore(
            self._database, items, self._clock, options, self._saver_options.sealer
        )
        self.cache: DatabaseCache[Connection] = DatabaseCache(self._database, DIALECT, self._clock)
        self.assistants: DatabaseAssistants[Connection] = DatabaseAssistants(
            self._database, DIALECT, ASSISTANTS
        )
        self.crons: DatabaseCrons[Connection] = DatabaseCrons(self._database, DIALECT)
        self.threads: PostgresThreads = PostgresThreads(self._database)
        self.webhooks: DatabaseWebhooks[Connection] = DatabaseWebhooks(
            self._database, DIALECT, self._clock, claiming=self._database.ask
        )
        self.runs: PostgresRuns = PostgresRuns(self._database, sinks, self._clock)

    async def close(self) -> None:
        if not self._opened:
            return
        self._opened = False
        await asyncio.to_thread(self._drain.close)
        await asyncio.to_thread(self._database.close)
        if self._occupancy is not None:
            await asyncio.to_thread(self._occupancy.close)

    async def ping(self) -> None:
        await self._database.ask(lambda connection: connection.execute("SELECT 1").fetchone())

    @property
    def store(self) -> Store:
        return self._store

    def edit(self, thread_id: UUID) -> DatabaseEdit[Connection]:
        return DatabaseEdit(self._database, RUN_FORM, thread_id, self._savers.staged())

    def rewriter(self) -> DatabaseRewriter[Connection]:
        return DatabaseRewriter(self._database, DIALECT, REWRITING)

    def _prepare(self) -> str | None:
        given = parameters(self._url)
        try:
            with closing(connect(given)) as connection:
                migrate(connection)
                vectors = open_vectors(connection, self._store_options.index)
                self._compare_clocks(connection)
            if self._use is not None:
                self._occupancy = Occupancy(given, self._use)
                self._occupancy.take()
            return vectors
        except psycopg.Error as error:
            raise not_opened(self._url, error) from None

    def _compare_clocks(self, connection: Connection) -> None:
        """Warn where leases would seem to have run out, or never to do so."""
        row = connection.execute("SELECT clock_timestamp()").fetchone()
        assert row is not None
        seconds = (self._clock.now() - row[0]).total_seconds()
        if self._use is not None and abs(seconds) > _CLOCK_SECONDS:
            logger.warning(
                "the clock of this machine and that of the database differ: set both by NTP",
                extra={"seconds": round(seconds, 1)},
            )
