"""Assistants and their versions for every database."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Final, Generic, NamedTuple
from uuid import UUID

from loomline.schema import OnConflictBehavior
from loomline.server.domain.access import EVERYTHING, Condition, meets
from loomline.server.domain.assistants import (
    Assistant,
    AssistantFilter,
    AssistantPatch,
    AssistantQuery,
    AssistantSort,
    AssistantVersion,
    patched,
    restored,
    version_of,
)
from loomline.server.domain.errors import (
    AssistantExists,
    AssistantNotFound,
    AssistantVersionNotFound,
)
from loomline.server.domain.filters import Page
from loomline.server.domain.json import JsonObject
from loomline.server.domain.threads import Pruned
from loomline.server.storage.checkpoints import Access, Connection
from loomline.server.storage.crons import CRON
from loomline.server.storage.records import (
    ID,
    MOMENT,
    NUMBER,
    OBJECT,
    OPTIONAL_STRING,
    STRING,
    Record,
)
from loomline.server.storage.tables import Dialect, Table, Where

ASSISTANT: Final = Record(
    Assistant,
    assistant_id=ID,
    graph_id=STRING,
    name=STRING,
    description=OPTIONAL_STRING,
    config=OBJECT,
    context=OBJECT,
    metadata=OBJECT,
    version=NUMBER,
    created_at=MOMENT,
    updated_at=MOMENT,
)

VERSION: Final = Record(
    AssistantVersion,
    assistant_id=ID,
    version=NUMBER,
    graph_id=STRING,
    name=STRING,
    description=OPTIONAL_STRING,
    config=OBJECT,
    context=OBJECT,
    metadata=OBJECT,
    created_at=MOMENT,
)


@dataclass(frozen=True, slots=True)
class AssistantForm(Generic[Connection]):
    """The differences between databases in how assistants are stored and deleted.

    Args:
        record: The columns.
        folded: The expressions of names and graphs without regard to case.
        delete_threads: Deletes threads that exist and meet a condition, within the caller's
            transaction.
        batch: The number of threads that one transaction may delete; None: any number.
    """

    record: Record[Assistant]
    folded: Mapping[AssistantSort, str]
    delete_threads: Callable[[Connection, Sequence[UUID], Condition], Pruned]
    batch: int | None = None


class _Threads(NamedTuple):
    """The threads to delete with an assistant, and the condition that each must meet."""

    where: Where
    access: Condition


class DatabaseAssistants(Generic[Connection]):
    """``AssistantStorage`` on the server's database."""

    def __init__(
        self,
        access: Access[Connection],
        dialect: Dialect[Connection],
        form: AssistantForm[Connection],
    ) -> None:
        self._access = access
        self._dialect = dialect
        self._form = form
        self._threads = f"{dialect.prefix}threads"
        self._assistants = Table(dialect, "assistants", form.record)
        self._versions = Table(dialect, "assistant_versions", VERSION)
        self._crons = Table(dialect, "crons", CRON)

    async def ensure(self, assistants: Sequence[Assistant]) -> None:
        # In one order, so that processes that start together do not wait in a circle.
        ordered = sorted(assistants, key=lambda assistant: str(assistant.assistant_id))

        def work(connection: Connection) -> None:
            for assistant in ordered:
                self._insert(connection, assistant)

        await self._access.write(work)

    async def create(
        self, assistant: Assistant, if_exists: OnConflictBehavior, *, access: Condition = EVERYTHING
    ) -> Assistant:
        assistant_id = assistant.assistant_id

        def work(connection: Connection) -> Assistant:
            inserted = self._insert(connection, assistant)
            if not inserted and if_exists == "raise":
                raise AssistantExists(assistant_id)
            found = self._get(connection, assistant_id)
            if not inserted and not meets(found.metadata, access):
                raise AssistantExists(assistant_id)
            return found

        return await self._access.write(work)

    async def get(self, assistant_id: UUID, *, access: Condition = EVERYTHING) -> Assistant:
        return await self._access.point(
            partial(self._get, assistant_id=assistant_id, access=access)
        )

    async def search(self, query: AssistantQuery) -> Page[Assistant]:
        where = self._where(query.where)
        direction = "DESC" if query.descending else "ASC"
        field = self._form.folded.get(query.sort_by, query.sort_by)
        order = f"{field} {direction}, assistant_id {direction}"
        return await self._access.read(
            lambda c: self._assistants.page(c, where, order, query.limit, query.offset)
        )

    async def count(self, where: AssistantFilter) -> int:
        condition = self._where(where)
        return await self._access.ask(lambda c: self._assistants.count(c, condition))

    async def update(
        self, assistant_id: UUID, patch: AssistantPatch, *, access: Condition = EVERYTHING
    ) -> Assistant:
        def work(connection: Connection) -> Assistant:
            before = self._get(connection, assistant_id, access, lock=True)
            after = patched(before, patch, self._next_version(connection, assistant_id))
            self._replace(connection, after)
            self._versions.insert(connection, version_of(after))
            return after

        return await self._access.write(work)

    async def delete(
        self,
        assistant_id: UUID,
        *,
        delete_threads: bool,
        access: Condition = EVERYTHING,
        threads_access: Condition = EVERYTHING,
    ) -> tuple[UUID, ...]:
        threads = _Threads(self._named(assistant_id, threads_access), threads_access)
        stopped: list[UUID] = []
        if delete_threads and self._form.batch is not None:
            find = partial(
                self._find_threads, assistant_id=assistant_id, access=access, where=threads.where
            )
            stopped += await self._delete_in_batches(
                await self._access.read(find), self._form.batch, threads
            )

        def work(connection: Connection) -> Sequence[UUID]:
            self._get(connection, assistant_id, access, lock=True)
            for table in (self._assistants, self._versions, self._crons):
                table.delete(connection, table.equal(assistant_id=assistant_id))
            if delete_threads and self._form.batch is None:
                return self._delete_threads(connection, threads)
            return ()

        return (*stopped, *await self._access.write(work))

    async def versions(
        self,
        assistant_id: UUID,
        *,
        metadata: JsonObject,
        limit: int,
        offset: int,
        access: Condition = EVERYTHING,
    ) -> Sequence[AssistantVersion]:
        contained = self._dialect.contains("metadata", metadata)
        where = self._versions.equal(assistant_id=assistant_id) & contained

        def work(connection: Connection) -> Sequence[AssistantVersion]:
            self._get(connection, assistant_id, access)
            return self._versions.select(connection, where, "version DESC", limit, offset)

        return await self._access.read(work)

    async def set_latest(
        self, assistant_id: UUID, version: int, now: datetime, *, access: Condition = EVERYTHING
    ) -> Assistant:
        wanted = self._versions.equal(assistant_id=assistant_id, version=version)

        def work(connection: Connection) -> Assistant:
            before = self._get(connection, assistant_id, access, lock=True)
            found = self._versions.get(connection, wanted)
            if found is None:
                raise AssistantVersionNotFound(assistant_id, version)
            after = restored(before, found, now)
            self._replace(connection, after)
            return after

        return await self._access.write(work)

    def _where(self, where: AssistantFilter) -> Where:
        return (
            self._assistants.matching(graph_id=where.graph_id)
            & self._dialect.has(self._form.folded["name"], where.folded_name)
            & self._dialect.contains("metadata", where.metadata)
            & self._dialect.meets("metadata", where.access)
        )

    def _get(
        self,
        connection: Connection,
        assistant_id: UUID,
        access: Condition = EVERYTHING,
        *,
        lock: bool = False,
    ) -> Assistant:
        where = self._assistants.equal(assistant_id=assistant_id)
        found = self._assistants.get(connection, where, lock=lock)
        if found is None or not meets(found.metadata, access):
            raise AssistantNotFound(assistant_id)
        return found

    def _insert(self, connection: Connection, assistant: Assistant) -> bool:
        """Insert an assistant unless it exists; return whether it was inserted."""
        inserted = self._assistants.insert_new(connection, assistant)
        if inserted:
            self._versions.insert(connection, version_of(assistant))
        return inserted

    def _replace(self, connection: Connection, assistant: Assistant) -> None:
        where = self._assistants.equal(assistant_id=assistant.assistant_id)
        self._assistants.replace(connection, assistant, where)

    def _next_version(self, connection: Connection, assistant_id: UUID) -> int:
        where = self._versions.equal(assistant_id=assistant_id)
        (latest,) = self._versions.select(connection, where, "version DESC", limit=1)
        return latest.version + 1

    def _named(self, assistant_id: UUID, access: Condition) -> Where:
        """Return the condition that a thread names an assistant and meets another condition."""
        named = self._dialect.has_string("metadata", "assistant_id", str(assistant_id))
        return named & self._dialect.meets("metadata", access)

    def _find_threads(
        self, connection: Connection, assistant_id: UUID, access: Condition, where: Where
    ) -> list[UUID]:
        self._get(connection, assistant_id, access)
        return self._thread_ids(connection, where)

    def _thread_ids(self, connection: Connection, where: Where) -> list[UUID]:
        statement = f"SELECT thread_id FROM {self._threads}{where.clause()} ORDER BY thread_id"
        rows = self._dialect.execute(connection, statement, where.values).fetchall()
        return [self._dialect.codecs.id.read(thread_id) for (thread_id,) in rows]

    def _delete_threads(self, connection: Connection, threads: _Threads) -> Sequence[UUID]:
        found = self._thread_ids(connection, threads.where)
        return self._form.delete_threads(connection, found, threads.access).stopped

    async def _delete_in_batches(
        self, found: Sequence[UUID], size: int, threads: _Threads
    ) -> list[UUID]:
        """Delete threads in several transactions. Each of them checks its threads anew."""
        stopped: list[UUID] = []
        for start in range(0, len(found), size):
            batch = self._dialect.among("thread_id", found[start : start + size])
            part = _Threads(threads.where & batch, threads.access)
            stopped += await self._access.write(partial(self._delete_threads, threads=part))
        return stopped
