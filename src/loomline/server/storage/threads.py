"""Threads for every database."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Final, Generic, Protocol, TypeVar
from uuid import UUID

from loomline.server.domain.access import EVERYTHING, Condition, meets
from loomline.server.domain.errors import ThreadExists, ThreadNotFound
from loomline.server.domain.filters import Page
from loomline.server.domain.json import Encoded, JsonObject
from loomline.server.domain.threads import (
    FoundThread,
    NewThread,
    Pruned,
    PruneStrategy,
    Thread,
    ThreadFilter,
    ThreadPatch,
    ThreadQuery,
    ThreadSize,
    ThreadState,
    Ttl,
)
from loomline.server.storage.checkpoints import Access, Connection, Connection_co
from loomline.server.storage.records import (
    ID,
    MOMENT,
    NOT_STORED,
    OBJECT,
    OPTIONAL_ENCODED,
    STRING,
    Record,
)
from loomline.server.storage.tables import Cursor, Dialect, Table

S = TypeVar("S")
T = TypeVar("T")

THREAD: Final = Record(
    Thread,
    thread_id=ID,
    status=STRING,
    metadata=OBJECT,
    config=OBJECT,
    values=NOT_STORED,
    interrupts=OPTIONAL_ENCODED,
    error=OPTIONAL_ENCODED,
    created_at=MOMENT,
    updated_at=MOMENT,
    state_updated_at=MOMENT,
    ttl=NOT_STORED,
)


class ThreadAccess(Access[Connection_co], Protocol[Connection_co]):
    """Executes works on threads. A write waits until no other work on its thread is in the way."""

    async def send(self, work: Callable[[Connection_co], S], read: Callable[[S], T]) -> T:
        """Execute a write, and return the result of ``read`` on the answers of its statements.

        A database across a network gets all statements before an answer is awaited.
        """
        ...


class ThreadRemoval(Protocol):
    """Removes rows of threads within one transaction."""

    def delete(self, thread_id: UUID) -> None:
        """Delete a thread, which is locked, and every row that belongs to it."""
        ...

    def cut_down(self, thread_id: UUID) -> None:
        """Delete the checkpoints of a thread without active runs, but for the latest ones."""
        ...


@dataclass(frozen=True, slots=True)
class ThreadForm(Generic[Connection]):
    """The differences between databases in how threads are stored, found and deleted.

    Args:
        runs: The table of runs, with its index of active runs where the index must be named.
        expired: The statement that finds expired threads and their strategies, the longest expired
            first, given a moment and the most threads to find.
        moment: Returns the stored form of the moment that ``expired`` compares with.
        passing: Ends ``expired``. The rows that it finds are locked, and locked rows passed over.
        removal: Begins to remove rows of threads within the caller's transaction.
        size: Returns the size of the checkpoints of a thread.
        added: Called after a thread was inserted; None: there is nothing to check.
    """

    runs: str
    expired: str
    moment: Callable[[datetime], object]
    passing: str
    removal: Callable[[Connection], ThreadRemoval]
    size: Callable[[Connection, str], ThreadSize]
    added: Callable[[Connection, UUID], None] | None = None


class ThreadTable(Table[Connection, Thread]):
    """The table of threads, within the caller's transaction."""

    def __init__(self, dialect: Dialect[Connection], form: ThreadForm[Connection]) -> None:
        super().__init__(dialect, "threads", THREAD)
        self.form = form
        self._add = (
            f"INSERT INTO {self.name} (thread_id, status, settled_status, metadata, config,"
            " ttl_minutes, ttl_strategy, created_at, updated_at, state_updated_at)"
            " VALUES (?, 'idle', 'idle', ?, '{}', ?, ?, ?, ?, ?)"
            " ON CONFLICT DO NOTHING RETURNING 1"
        )
        self._whole = {
            with_values: f"{self.threads(with_values=with_values)} WHERE t.thread_id = ?"
            for with_values in (True, False)
        }
        self._metadata = f"SELECT metadata FROM {self.name} WHERE thread_id = ?"
        of_threads = dialect.one_of.format("thread_id")
        self._held = (
            f"SELECT thread_id, metadata FROM {self.name} WHERE {of_threads}"
            f" ORDER BY thread_id{dialect.lock}"
        )
        self._active = (
            f"SELECT thread_id, run_id FROM {form.runs} WHERE {of_threads}"
            f" AND status IN ('pending', 'running') ORDER BY created_at, {dialect.arrival}"
        )

    def columns(self, *, with_values: bool) -> str:
        """Return the columns of a whole thread ``t``. Without values their place is null.

        The values are read row by row: a join might read the values of every thread.
        """
        values = (
            f"(SELECT v.content FROM {self.dialect.prefix}thread_values v"
            " WHERE v.thread_id = t.thread_id)"
        )
        names = (*self.rows.columns, "ttl_minutes", "ttl_strategy")
        return ", ".join([*(f"t.{name}" for name in names), values if with_values else "NULL"])

    def threads(self, *, with_values: bool) -> str:
        """Return the statement that reads whole threads ``t``, which a condition may follow."""
        return f"SELECT {self.columns(with_values=with_values)} FROM {self.name} t"

    def thread(self, row: Sequence[Any]) -> Thread:
        """Return the thread of a row of ``columns``."""
        *columns, minutes, strategy, content = row
        return self.rows.record(
            columns,
            ttl=None if minutes is None else Ttl(minutes, strategy),
            values=None if content is None else self.dialect.codecs.content.read(content),
        )

    def add(self, connection: Connection, new: NewThread) -> Callable[[], bool]:
        """Insert a thread unless it exists; the returned function tells if it was inserted."""
        codecs, ttl, now = self.dialect.codecs, new.ttl, self.dialect.codecs.moment.write(new.now)
        lifetime = (None, None) if ttl is None else (ttl.minutes, ttl.strategy)
        key, metadata = codecs.id.write(new.thread_id), codecs.object.write(new.metadata)
        found = self.execute(connection, self._add, key, metadata, *lifetime, now, now, now)
        if self.form.added is None:
            return lambda: found.fetchone() is not None
        inserted = found.fetchone() is not None
        if inserted:
            self.form.added(connection, new.thread_id)
        return lambda: inserted

    def create(
        self, connection: Connection, new: NewThread, access: Condition = EVERYTHING
    ) -> bool:
        """Insert a thread; return False if it exists and may exist.

        Raises:
            ThreadExists: The thread exists and must not, or does not meet the condition.
        """
        if self.add(connection, new)():
            return True
        row = self.ask(connection, new.thread_id).fetchone()
        if new.if_exists == "raise" or row is None or not self._meets(row[0], access):
            raise ThreadExists(new.thread_id)
        return False

    def ask(self, connection: Connection, thread_id: UUID, *, lock: bool = False) -> Cursor:
        """Send the query for the metadata of a thread, which ``check`` takes.

        With ``lock`` no other transaction changes the thread before this one ends.
        """
        end = self.dialect.lock if lock else ""
        key = self.dialect.codecs.id.write(thread_id)
        return self.execute(connection, f"{self._metadata}{end}", key)

    def check(self, found: Cursor, thread_id: UUID, access: Condition) -> JsonObject:
        """Return the metadata of a thread.

        Raises:
            ThreadNotFound: There is no such thread, or it does not meet the condition.
        """
        row = found.fetchone()
        metadata = None if row is None else self.dialect.codecs.object.read(row[0])
        if metadata is None or not meets(metadata, access):
            raise ThreadNotFound(thread_id)
        return metadata

    def find(self, connection: Connection, thread_id: UUID, *, with_values: bool = True) -> Cursor:
        """Send the query for a whole thread, which ``found`` takes."""
        key = self.dialect.codecs.id.write(thread_id)
        return self.execute(connection, self._whole[with_values], key)

    def found(self, found: Cursor, thread_id: UUID, access: Condition = EVERYTHING) -> Thread:
        """Return a thread.

        Raises:
            ThreadNotFound: There is no such thread, or it does not meet the condition.
        """
        row = found.fetchone()
        thread = None if row is None else self.thread(row)
        if thread is None or not meets(thread.metadata, access):
            raise ThreadNotFound(thread_id)
        return thread

    def whole(self, connection: Connection, thread_id: UUID) -> Thread:
        """Return a thread.

        Raises:
            ThreadNotFound: There is no such thread.
        """
        return self.found(self.find(connection, thread_id), thread_id)

    def patch(self, connection: Connection, thread_id: UUID, patch: ThreadPatch) -> None:
        """Change a thread, if it exists."""
        codecs = self.dialect.codecs
        key, now = codecs.id.write(thread_id), codecs.moment.write(patch.now)
        merged, values = "", []
        if patch.metadata:
            merged = f"metadata = {self.dialect.json_merge.format('metadata')}, "
            values = [codecs.object.write(patch.metadata)]
        statement = f"UPDATE {self.name} SET {merged}updated_at = ? WHERE thread_id = ?"
        self.execute(connection, statement, *values, now, key)
        if patch.ttl is not None:
            statement = (
                f"UPDATE {self.name} SET ttl_minutes = ?, ttl_strategy = ?, swept_at = NULL"
                " WHERE thread_id = ?"
            )
            self.execute(connection, statement, patch.ttl.minutes, patch.ttl.strategy, key)

    def follow(self, connection: Connection, thread_id: UUID, state: ThreadState) -> None:
        """Update a thread without active runs, which is locked, from its newest checkpoint."""
        codecs = self.dialect.codecs
        key, now = codecs.id.write(thread_id), codecs.moment.write(state.now)
        interrupts = codecs.encoded.write(state.interrupts)
        statement = (
            f"UPDATE {self.name} SET status = ?, settled_status = ?, interrupts = ?, error = NULL,"
            " updated_at = ?, state_updated_at = ? WHERE thread_id = ?"
        )
        row = (state.status, state.status, interrupts, now, now, key)
        self.execute(connection, statement, *row)
        self.set_values(connection, thread_id, state.values)

    def set_values(self, connection: Connection, thread_id: UUID, values: Encoded) -> None:
        statement = (
            f"INSERT INTO {self.dialect.prefix}thread_values (thread_id, content) VALUES (?, ?)"
            " ON CONFLICT (thread_id) DO UPDATE SET content = excluded.content"
        )
        codecs = self.dialect.codecs
        row = (codecs.id.write(thread_id), codecs.content.write(values))
        self.execute(connection, statement, *row)

    def assign_priority(self, connection: Connection, thread_id: UUID, priority: int) -> None:
        """Set the priority of the runs of a thread. The first assignment counts."""
        statement = f"UPDATE {self.name} SET priority = ? WHERE thread_id = ? AND priority IS NULL"
        self.execute(connection, statement, priority, self.dialect.codecs.id.write(thread_id))

    def delete_all(
        self, connection: Connection, thread_ids: Sequence[UUID], access: Condition = EVERYTHING
    ) -> Pruned:
        """Delete the threads that exist and meet a condition, with every row of them."""
        return self._prune(connection, thread_ids, (), access)

    def cut_down(
        self, connection: Connection, thread_ids: Sequence[UUID], access: Condition = EVERYTHING
    ) -> Pruned:
        """Delete all but the latest checkpoints of the threads that have no active runs."""
        return self._prune(connection, (), thread_ids, access)

    def is_any_expired(self, connection: Connection, now: datetime) -> bool:
        moment = self.form.moment(now)
        return self.execute(connection, self.form.expired, moment, 1).fetchone() is not None

    def expire(self, connection: Connection, now: datetime, limit: int) -> Pruned:
        """Delete expired threads or cut them down, as their lifetimes say; return the threads."""
        moment = self.form.moment(now)
        statement = f"{self.form.expired}{self.form.passing}"
        rows = self.execute(connection, statement, moment, limit).fetchall()
        read = self.dialect.codecs.id.read
        expired = {read(thread_id): strategy for thread_id, strategy in rows}
        deleted = [each for each, strategy in expired.items() if strategy == "delete"]
        cut = [each for each, strategy in expired.items() if strategy != "delete"]
        self._prune(connection, deleted, cut, EVERYTHING)
        swept = self.dialect.among("thread_id", cut)
        statement = f"UPDATE {self.name} SET swept_at = updated_at{swept.clause()}"
        self.execute(connection, statement, *swept.values)
        return Pruned(tuple(expired))

    def number(self, connection: Connection, column: str, thread_id: UUID) -> int | None:
        """Return the number in a column of a thread; None: the column is null.

        Raises:
            ThreadNotFound: There is no such thread.
        """
        statement = f"SELECT {column} FROM {self.name} WHERE thread_id = ?"
        key = self.dialect.codecs.id.write(thread_id)
        row = self.execute(connection, statement, key).fetchone()
        if row is None:
            raise ThreadNotFound(thread_id)
        number: int | None = row[0]
        return number

    def _prune(
        self,
        connection: Connection,
        deleted: Sequence[UUID],
        cut: Sequence[UUID],
        access: Condition,
    ) -> Pruned:
        active = self._hold(connection, list(dict.fromkeys((*deleted, *cut))), access)
        removal = self.form.removal(connection)
        gone = [each for each in dict.fromkeys(deleted) if each in active]
        for thread_id in gone:
            removal.delete(thread_id)
        # Rolling a run back needs the checkpoints before it.
        shortened = [each for each in dict.fromkeys(cut) if active.get(each) == []]
        for thread_id in shortened:
            removal.cut_down(thread_id)
        stopped = [run_id for thread_id in gone for run_id in active[thread_id]]
        return Pruned((*gone, *shortened), tuple(stopped))

    def _hold(
        self, connection: Connection, thread_ids: Sequence[UUID], access: Condition
    ) -> dict[UUID, list[UUID]]:
        """Lock the threads that exist and meet a condition; return their active runs."""
        ids, read = self.dialect.ids(thread_ids), self.dialect.codecs.id.read
        locked = self.execute(connection, self._held, ids)
        runs = self.execute(connection, self._active, ids)
        active: dict[UUID, list[UUID]] = {
            read(thread_id): []
            for thread_id, metadata in locked.fetchall()
            if self._meets(metadata, access)
        }
        for thread_id, run_id in runs.fetchall():
            if read(thread_id) in active:
                active[read(thread_id)].append(read(run_id))
        return active

    def _meets(self, metadata: object, access: Condition) -> bool:
        return access == EVERYTHING or meets(self.dialect.codecs.object.read(metadata), access)


class DatabaseThreads(ABC, Generic[Connection]):
    """``ThreadStorage`` on the server's database."""

    def __init__(self, access: ThreadAccess[Connection], threads: ThreadTable[Connection]) -> None:
        self._access = access
        self._threads = threads

    @abstractmethod
    async def copy(
        self,
        thread_id: UUID,
        new_id: UUID,
        now: datetime,
        *,
        metadata: JsonObject | None = None,
        access: Condition = EVERYTHING,
    ) -> Thread: ...

    @abstractmethod
    async def search(self, query: ThreadQuery) -> Page[FoundThread]: ...

    @abstractmethod
    async def count(self, where: ThreadFilter) -> int: ...

    async def create(self, new: NewThread, *, access: Condition = EVERYTHING) -> Thread:
        def work(connection: Connection) -> tuple[Callable[[], bool], Cursor]:
            added = self._threads.add(connection, new)
            return added, self._threads.find(connection, new.thread_id)

        def read(found: tuple[Callable[[], bool], Cursor]) -> Thread:
            added, stored = found
            created = added()
            if not created and new.if_exists == "raise":
                raise ThreadExists(new.thread_id)
            thread = self._threads.found(stored, new.thread_id)
            if not created and not meets(thread.metadata, access):
                raise ThreadExists(new.thread_id)
            return thread

        return await self._access.send(work, read)

    async def get(
        self, thread_id: UUID, *, with_values: bool = True, access: Condition = EVERYTHING
    ) -> Thread:
        def work(connection: Connection) -> Thread:
            found = self._threads.find(connection, thread_id, with_values=with_values)
            return self._threads.found(found, thread_id, access)

        # Values may be large.
        return await (self._access.ask(work) if with_values else self._access.point(work))

    async def event_number(self, thread_id: UUID) -> int:
        work = partial(self._threads.number, column="event_number", thread_id=thread_id)
        return await self._access.point(work) or 0

    async def priority(self, thread_id: UUID) -> int | None:
        work = partial(self._threads.number, column="priority", thread_id=thread_id)
        return await self._access.point(work)

    async def delete(self, thread_id: UUID, *, access: Condition = EVERYTHING) -> tuple[UUID, ...]:
        def work(connection: Connection) -> tuple[UUID, ...]:
            pruned = self._threads.delete_all(connection, [thread_id], access)
            if not pruned.threads:
                raise ThreadNotFound(thread_id)
            return pruned.stopped

        return await self._access.write(work)

    async def update(
        self,
        thread_id: UUID,
        patch: ThreadPatch,
        *,
        with_values: bool = True,
        access: Condition = EVERYTHING,
    ) -> Thread:
        def work(connection: Connection) -> Cursor:
            if access != EVERYTHING:
                held = self._threads.ask(connection, thread_id, lock=True)
                self._threads.check(held, thread_id, access)
            self._threads.patch(connection, thread_id, patch)
            return self._threads.find(connection, thread_id, with_values=with_values)

        return await self._access.send(work, partial(self._threads.found, thread_id=thread_id))

    async def prune(
        self, thread_ids: Sequence[UUID], strategy: PruneStrategy, *, access: Condition = EVERYTHING
    ) -> Pruned:
        prune = self._threads.delete_all if strategy == "delete" else self._threads.cut_down
        return await self._access.write(partial(prune, thread_ids=thread_ids, access=access))

    async def size(self, thread_id: UUID, *, access: Condition = EVERYTHING) -> ThreadSize:
        def work(connection: Connection) -> ThreadSize:
            self._threads.check(self._threads.ask(connection, thread_id), thread_id, access)
            return self._threads.form.size(connection, str(thread_id))

        return await self._access.read(work)

    async def expire(self, now: datetime, limit: int) -> Pruned:
        # A read first: threads expire seldom, and a read costs less than a transaction.
        if not await self._access.point(partial(self._threads.is_any_expired, now=now)):
            return Pruned()
        return await self._access.write(partial(self._threads.expire, now=now, limit=limit))
