"""Crons for every database."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Final, Generic
from uuid import UUID

from loomline.server.domain.access import EVERYTHING, Condition, meets
from loomline.server.domain.crons import Cron, CronFilter, CronQuery, Firing, patched
from loomline.server.domain.errors import CronNotFound, ThreadNotFound
from loomline.server.domain.filters import Page
from loomline.server.domain.json import JsonObject
from loomline.server.storage.checkpoints import Access, Connection
from loomline.server.storage.records import (
    DOCUMENT,
    FLAG,
    ID,
    MOMENT,
    NOT_STORED,
    OBJECT,
    OPTIONAL_ENCODED,
    OPTIONAL_ID,
    OPTIONAL_MOMENT,
    OPTIONAL_STRING,
    STRING,
    Record,
)
from loomline.server.storage.tables import Dialect, Table, Where

CRON: Final = Record(
    Cron,
    cron_id=ID,
    assistant_id=ID,
    thread_id=OPTIONAL_ID,
    user_id=STRING,
    schedule=STRING,
    timezone=OPTIONAL_STRING,
    end_time=OPTIONAL_STRING,
    payload=DOCUMENT,
    metadata=OBJECT,
    on_run_completed=OPTIONAL_STRING,
    enabled=FLAG,
    next_run_date=OPTIONAL_MOMENT,
    created_at=MOMENT,
    updated_at=MOMENT,
    user=OPTIONAL_ENCODED.named("caller"),
    sealing=NOT_STORED,
    ends_at=OPTIONAL_MOMENT,
)

_DATED = Where(("enabled", "next_run_date IS NOT NULL"))


class CronTable(Table[Connection, Cron]):
    """The table of crons, within the caller's transaction."""

    def __init__(self, dialect: Dialect[Connection]) -> None:
        super().__init__(dialect, "crons", CRON)

    def due(self, connection: Connection, now: datetime, limit: int) -> list[Cron]:
        moment = self.rows.value("next_run_date", now)
        where = _DATED & Where(("next_run_date <= ?",), (moment,))
        return self.select(connection, where, "next_run_date, cron_id", limit)

    def next_due(self, connection: Connection) -> datetime | None:
        statement = (
            f"SELECT next_run_date FROM {self.name}{_DATED.clause()} ORDER BY next_run_date LIMIT 1"
        )
        row = self.execute(connection, statement).fetchone()
        return None if row is None else self.dialect.codecs.moment.read(*row)

    def move_date(self, connection: Connection, firing: Firing) -> bool:
        """End a due time; return False where it is over already."""
        dated = self.equal(cron_id=firing.cron_id, next_run_date=firing.due_at)
        where = Where(("enabled",)) & dated
        statement = f"UPDATE {self.name} SET next_run_date = ?{where.clause()} RETURNING 1"
        after = self.rows.value("next_run_date", firing.next_at)
        return self.execute(connection, statement, after, *where.values).fetchone() is not None


class DatabaseCrons(Generic[Connection]):
    """``CronStorage`` on the server's database."""

    def __init__(self, access: Access[Connection], dialect: Dialect[Connection]) -> None:
        self._access = access
        self._dialect = dialect
        self._crons = CronTable(dialect)
        self._threads = f"{dialect.prefix}threads"

    async def create(self, cron: Cron, *, access: Condition = EVERYTHING) -> Cron:
        def work(connection: Connection) -> Cron:
            if cron.thread_id is not None:
                self._hold(connection, cron.thread_id, access)
            self._crons.insert(connection, cron)
            return cron

        return await self._access.write(work)

    async def get(self, cron_id: UUID, *, access: Condition = EVERYTHING) -> Cron:
        return await self._access.point(partial(self._get, cron_id=cron_id, access=access))

    async def update(
        self, cron_id: UUID, fields: JsonObject, now: datetime, *, access: Condition = EVERYTHING
    ) -> Cron:
        def work(connection: Connection) -> Cron:
            after = patched(self._get(connection, cron_id, access, lock=True), fields, now)
            self._crons.replace(connection, after, self._crons.equal(cron_id=cron_id))
            return after

        return await self._access.write(work)

    async def delete(self, cron_id: UUID, *, access: Condition = EVERYTHING) -> None:
        def work(connection: Connection) -> None:
            self._get(connection, cron_id, access, lock=True)
            self._crons.delete(connection, self._crons.equal(cron_id=cron_id))

        await self._access.write(work)

    async def search(self, query: CronQuery) -> Page[Cron]:
        where = self._where(query.where)
        direction = "DESC" if query.descending else "ASC"
        field = "ends_at" if query.sort_by == "end_time" else query.sort_by
        order = f"{field} {direction} NULLS LAST, cron_id {direction}"
        return await self._access.read(
            lambda c: self._crons.page(c, where, order, query.limit, query.offset)
        )

    async def count(self, where: CronFilter) -> int:
        condition = self._where(where)
        return await self._access.ask(lambda c: self._crons.count(c, condition))

    async def due(self, now: datetime, limit: int) -> Sequence[Cron]:
        # Crons are asked for every half second, and hardly ever is one due.
        first = await self.next_due()
        if first is None or first > now:
            return ()
        return await self._access.ask(lambda c: self._crons.due(c, now, limit))

    async def pass_over(self, firing: Firing) -> bool:
        return await self._access.write(lambda c: self._crons.move_date(c, firing))

    async def next_due(self) -> datetime | None:
        return await self._access.point(self._crons.next_due)

    def _where(self, where: CronFilter) -> Where:
        of_thread = self._dialect.meets("t.metadata", where.thread_access).within(
            f"(thread_id IS NULL OR EXISTS (SELECT 1 FROM {self._threads} t"
            f" WHERE t.thread_id = {self._crons.name}.thread_id AND {{}}))"
        )
        matching = self._crons.matching(
            assistant_id=where.assistant_id, thread_id=where.thread_id, enabled=where.enabled
        )
        return (
            matching
            & self._dialect.contains("metadata", where.metadata)
            & self._dialect.meets("metadata", where.access)
            & of_thread
        )

    def _get(
        self,
        connection: Connection,
        cron_id: UUID,
        access: Condition = EVERYTHING,
        *,
        lock: bool = False,
    ) -> Cron:
        where = self._crons.equal(cron_id=cron_id)
        found = self._crons.get(connection, where, lock=lock)
        if found is None or not meets(found.metadata, access):
            raise CronNotFound(cron_id)
        return found

    def _hold(self, connection: Connection, thread_id: UUID, access: Condition) -> None:
        """Make sure that the thread exists until the cron can be seen, which is deleted with it."""
        statement = f"SELECT metadata FROM {self._threads} WHERE thread_id = ?{self._dialect.hold}"
        codecs = self._dialect.codecs
        row = self._dialect.execute(connection, statement, (codecs.id.write(thread_id),)).fetchone()
        if row is None or not meets(codecs.object.read(*row), access):
            raise ThreadNotFound(thread_id)
