"""The store in SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeAlias, cast

from langgraph.store.base import (
    GetOp,
    Item,
    ListNamespacesOp,
    Op,
    PutOp,
    Result,
    SearchOp,
    TTLConfig,
)

from weft.server.domain.items import TTL_MOST_MINUTES
from weft.server.ports.clock import Clock
from weft.server.ports.store import Store, StoreOptions
from weft.server.storage.indexing import Texts, Vectors, aembed, embed, texts_of
from weft.server.storage.sqlite.connection import Readers, Writer
from weft.server.storage.sqlite.rows import micros
from weft.server.storage.sqlite.similarity import packed
from weft.server.storage.sqlite.store_rows import (
    DELETE,
    DELETE_VECTORS,
    EXPIRED,
    GET,
    INSERT_VECTOR,
    PUT,
    REFRESH,
    delete_item,
    encoded_namespace,
    encoded_value,
    item,
)
from weft.server.storage.sqlite.store_search import Search, find, namespaces, prepared

_MICROS = 60_000_000
"""In a minute."""

_Act: TypeAlias = Callable[[sqlite3.Connection], None]


@dataclass(slots=True)
class _Batch:
    """The operations of one call, sorted by what they do to the database."""

    now: int
    size: int
    reads: list[Callable[[sqlite3.Connection, _Results], None]] = field(default_factory=list)
    writes: list[_Act] = field(default_factory=list)


@dataclass(slots=True)
class _Results:
    """What has been read. ``refreshed``: ids of items whose minutes begin anew."""

    values: list[Result]
    refreshed: list[int] = field(default_factory=list)


class SqliteStore(Store):
    """``Store`` on the server's database."""

    __slots__ = ("_clock", "_options", "_readers", "_writer", "ttl_config")

    supports_ttl = True

    def __init__(
        self, writer: Writer, readers: Readers, clock: Clock, options: StoreOptions
    ) -> None:
        self._writer = writer
        self._readers = readers
        self._clock = clock
        self._options = options
        self.ttl_config = TTLConfig(
            refresh_on_read=options.refresh_on_read, default_ttl=options.default_ttl_minutes
        )

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        index, asked = self._options.index, list(ops)
        texts = self._texts(asked)
        vectors = embed(index, texts) if index and texts else None
        batch = self._batch(asked, vectors)
        results = _Results([None] * batch.size)
        if batch.reads:
            results = self._readers.read_blocking(lambda connection: _read(connection, batch))
        if writes := _writes(batch, results):
            self._writer.write_blocking(lambda connection: _execute(connection, writes))
        return results.values

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        index, asked = self._options.index, list(ops)
        texts = self._texts(asked)
        vectors = await aembed(index, texts) if index and texts else None
        batch = self._batch(asked, vectors)
        results = _Results([None] * batch.size)
        if batch.reads:
            results = await self._readers.read(lambda connection: _read(connection, batch))
        if writes := _writes(batch, results):
            await self._writer.write(lambda connection: _execute(connection, writes))
        return results.values

    async def expire(self, now: datetime, limit: int) -> int:
        def work(connection: sqlite3.Connection) -> int:
            expired = connection.execute(EXPIRED, (micros(now), limit)).fetchall()
            for (item_id,) in expired:
                delete_item(connection, item_id)
            return len(expired)

        return await self._writer.write(work)

    def _texts(self, ops: Sequence[Op]) -> Texts | None:
        if self._options.index is None:
            return None
        puts = [(place, op) for place, op in enumerate(ops) if isinstance(op, PutOp)]
        searches = [(place, op) for place, op in enumerate(ops) if isinstance(op, SearchOp)]
        return texts_of(self._options.index, puts, searches)

    def _batch(self, ops: Sequence[Op], vectors: Vectors | None) -> _Batch:
        batch = _Batch(micros(self._clock.now()), len(ops))
        for place, op in enumerate(ops):
            if isinstance(op, PutOp):
                batch.writes.append(self._put(op, self._packed(vectors, place), batch.now))
            else:
                batch.reads.append(self._reading(place, op, vectors, batch.now))
        return batch

    def _reading(
        self, place: int, op: Op, vectors: Vectors | None, now: int
    ) -> Callable[[sqlite3.Connection, _Results], None]:
        if isinstance(op, GetOp):
            return _get(place, op, now)
        if isinstance(op, SearchOp):
            return _search(place, op, prepared(op, self._query(vectors, place), now))
        if isinstance(op, ListNamespacesOp):
            return _list(place, op, now)
        raise TypeError(f"A store has no operation {type(op).__name__}.")

    def _packed(self, vectors: Vectors | None, place: int) -> list[bytes]:
        index = self._options.index
        if vectors is None or index is None:
            return []
        return [packed(vector, index.dims) for vector in vectors.documents.get(place, ())]

    def _query(self, vectors: Vectors | None, place: int) -> bytes | None:
        index = self._options.index
        if vectors is None or index is None or place not in vectors.queries:
            return None
        return packed(vectors.queries[place], index.dims)

    def _put(self, op: PutOp, vectors: Sequence[bytes], now: int) -> _Act:
        namespace = encoded_namespace(op.namespace)
        if op.value is None:
            return _deletion(namespace, op.key)
        ttl = None if op.ttl is None or op.ttl > TTL_MOST_MINUTES else op.ttl
        values = {
            "namespace": namespace,
            "key": op.key,
            "value": encoded_value(op.key, op.value),
            "now": now,
            "ttl": ttl,
            "expires_at": None if ttl is None else now + int(ttl * _MICROS),
        }

        def act(connection: sqlite3.Connection) -> None:
            (item_id,) = connection.execute(PUT, values).fetchone()
            connection.execute(DELETE_VECTORS, (item_id,))
            rows = [(item_id, number, vector) for number, vector in enumerate(vectors)]
            connection.executemany(INSERT_VECTOR, rows)

        return act


def _get(place: int, op: GetOp, now: int) -> Callable[[sqlite3.Connection, _Results], None]:
    values = {"namespace": encoded_namespace(op.namespace), "key": op.key, "now": now}

    def read(connection: sqlite3.Connection, results: _Results) -> None:
        row = connection.execute(GET, values).fetchone()
        if row is None:
            return
        found = item(row)
        results.values[place] = Item(
            value=found.value,
            key=found.key,
            namespace=found.namespace,
            created_at=found.created_at,
            updated_at=found.updated_at,
        )
        if op.refresh_ttl and row[6] is not None:
            results.refreshed.append(row[5])

    return read


def _search(
    place: int, op: SearchOp, search: Search
) -> Callable[[sqlite3.Connection, _Results], None]:
    def read(connection: sqlite3.Connection, results: _Results) -> None:
        items, expiring = find(connection, search)
        results.values[place] = cast("list[Item]", items)
        if op.refresh_ttl:
            results.refreshed.extend(expiring)

    return read


def _list(
    place: int, op: ListNamespacesOp, now: int
) -> Callable[[sqlite3.Connection, _Results], None]:
    def read(connection: sqlite3.Connection, results: _Results) -> None:
        results.values[place] = namespaces(connection, op, now)

    return read


def _deletion(namespace: str, key: str) -> _Act:
    def act(connection: sqlite3.Connection) -> None:
        for (item_id,) in connection.execute(DELETE, (namespace, key)).fetchall():
            connection.execute(DELETE_VECTORS, (item_id,))

    return act


def _read(connection: sqlite3.Connection, batch: _Batch) -> _Results:
    results = _Results([None] * batch.size)
    for read in batch.reads:
        read(connection, results)
    return results


def _writes(batch: _Batch, results: _Results) -> list[_Act]:
    if not results.refreshed:
        return batch.writes
    rows = [{"item_id": item_id, "now": batch.now} for item_id in results.refreshed]

    def refresh(connection: sqlite3.Connection) -> None:
        connection.executemany(REFRESH, rows)

    return [refresh, *batch.writes]


def _execute(connection: sqlite3.Connection, writes: Sequence[_Act]) -> None:
    for act in writes:
        act(connection)
