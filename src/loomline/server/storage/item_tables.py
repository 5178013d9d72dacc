"""Items of the store as rows, for every database."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b
from typing import Any, Final, Generic, NamedTuple, Protocol
from uuid import UUID

from langgraph.store.base import SearchItem

from loomline.server.domain.json import JsonObject
from loomline.server.storage.checkpoints import Connection
from loomline.server.storage.items import (
    Connection_contra,
    FoundItem,
    Id,
    ItemPut,
    ItemSearch,
    Vector,
    decoded_namespace,
    end_of,
)
from loomline.server.storage.records import Codecs
from loomline.server.storage.tables import Cursor, Dialect, Where

COLUMNS: Final = "i.namespace, i.key, i.value, i.created_at, i.updated_at, i.item_id, i.ttl_minutes"

LATEST_FIRST: Final = " ORDER BY i.updated_at DESC, i.namespace, i.key LIMIT ? OFFSET ?"

_ALIVE = "(i.expires_at IS NULL OR i.expires_at > ?)"

# An expired item counts as deleted, so the item that takes its place is a new one.
_PUT = """
    INSERT INTO {0} ({1}, value, created_at, updated_at, ttl_minutes, expires_at)
    VALUES ({2}, ?, ?, ?, ?, ?)
    ON CONFLICT ({3}) DO UPDATE SET
        value = excluded.value, updated_at = excluded.updated_at,
        ttl_minutes = excluded.ttl_minutes, expires_at = excluded.expires_at,
        created_at = CASE WHEN i.expires_at <= ? THEN excluded.created_at ELSE i.created_at END
    RETURNING item_id
"""
_EXPIRE = """
    DELETE FROM {0} WHERE item_id IN (
        SELECT i.item_id FROM {0} WHERE i.expires_at <= ? ORDER BY i.expires_at LIMIT ?{1})
    RETURNING item_id
"""


@dataclass(frozen=True, slots=True)
class ItemForm(Generic[Id]):
    """The differences between databases in the rows of items.

    Args:
        stored: Returns the stored form of a value, which is JSON.
        filtered: Returns the condition that the value of an item matches a pattern.
        below: The condition that a namespace is between two strings, which are its values in turn.
        among: The condition that an id is one of those in the value ``?``.
        ids: Returns this value.
        renewed: The moment at which an item expires that is read at the moment ``?``.
        cascades: Whether the vectors of an item are deleted with it.
        unlocked: Ends a query. Rows that other transactions have locked are passed over.
        item_id: Returns the id of an item; None: the database assigns ids.
    """

    stored: Callable[[bytes], object]
    filtered: Callable[[JsonObject], Where]
    below: str
    among: str
    ids: Callable[[Sequence[Id]], object]
    renewed: str
    cascades: bool
    unlocked: str = ""
    item_id: Callable[[str, str], Id] | None = None


class ItemVectors(Protocol[Connection_contra, Id, Vector]):
    """The vectors of items in a database, within the caller's transaction."""

    def vector(self, numbers: Sequence[float]) -> Vector: ...

    def replace(
        self, connection: Connection_contra, item_id: Id, vectors: Sequence[Vector]
    ) -> None: ...

    def delete(self, connection: Connection_contra, item_ids: Sequence[Id]) -> None: ...

    def nearest(
        self,
        connection: Connection_contra,
        search: ItemSearch[Vector],
        query: Vector,
        where: Where,
    ) -> list[FoundItem[Id]]:
        """Return the items that meet a condition: by score, then those without vectors."""
        ...


class ItemRow(NamedTuple):
    """The columns of an item, as the database returns them."""

    namespace: str
    key: str
    value: Any
    created_at: Any
    updated_at: Any
    item_id: Any
    ttl_minutes: float | None
    score: float | None = None

    def found(self, codecs: Codecs) -> FoundItem[Any]:
        item = SearchItem(
            namespace=decoded_namespace(self.namespace),
            key=self.key,
            value=codecs.object.read(self.value),
            created_at=codecs.moment.read(self.created_at),
            updated_at=codecs.moment.read(self.updated_at),
            score=self.score,
        )
        return FoundItem(item, self.item_id, self.ttl_minutes is not None)


class TableItems(Generic[Connection, Id, Vector]):
    """The acts on items, as ``ItemStatements``."""

    def __init__(
        self,
        dialect: Dialect[Connection],
        form: ItemForm[Id],
        vectors: ItemVectors[Connection, Id, Vector],
    ) -> None:
        self._codecs = dialect.codecs
        self._execute = dialect.execute
        self._form = form
        self._vectors = vectors
        items = self._items = f"{dialect.prefix}store_items AS i"
        place = "namespace, key" if form.item_id is None else "item_id"
        columns = place if form.item_id is None else f"{place}, namespace, key"
        marks = ", ".join("?" for _ in columns.split(", "))
        self._put = _PUT.format(items, columns, marks, place)
        self._expire = _EXPIRE.format(items, form.unlocked)

    def vector(self, numbers: Sequence[float]) -> Vector:
        return self._vectors.vector(numbers)

    def get(
        self, connection: Connection, namespace: str, key: str, now: datetime
    ) -> FoundItem[Id] | None:
        where = self._at(namespace, key) & self._alive(now)
        found = self._select(connection, where)
        return found[0] if found else None

    def search(self, connection: Connection, search: ItemSearch[Vector]) -> list[FoundItem[Id]]:
        where = self._below(search.prefix, search.now)
        if search.pattern:
            where &= self._form.filtered(search.pattern)
        if search.query is not None:
            return self._vectors.nearest(connection, search, search.query, where)
        return self._select(connection, where, LATEST_FIRST, search.limit, search.offset)

    def namespaces(self, connection: Connection, prefix: str, now: datetime) -> Iterable[str]:
        where = self._below(prefix, now)
        statement = f"SELECT DISTINCT i.namespace FROM {self._items}{where.clause()}"
        rows = self._execute(connection, statement, where.values).fetchall()
        return (namespace for (namespace,) in rows)

    def put(self, connection: Connection, put: ItemPut[Vector]) -> None:
        item_id = self._id(put.namespace, put.key)
        now = self._moment(put.now)
        values = (
            *([] if item_id is None else [item_id]),
            *self._place(put.namespace, put.key),
            self._form.stored(put.value),
            now,
            now,
            put.ttl_minutes,
            None if put.expires_at is None else self._moment(put.expires_at),
            now,
        )
        written = self._execute(connection, self._put, values)
        # A known id needs no answer from the database.
        if item_id is None:
            ((item_id,),) = written.fetchall()
        self._vectors.replace(connection, item_id, put.vectors)

    def delete(self, connection: Connection, namespace: str, key: str) -> None:
        where = self._at(namespace, key)
        statement = f"DELETE FROM {self._items}{where.clause()} RETURNING item_id"
        deleted = self._execute(connection, statement, where.values)
        if not self._form.cascades:
            self._vectors.delete(connection, _ids(deleted))

    def refresh(self, connection: Connection, item_ids: Sequence[Id], now: datetime) -> None:
        moment = self._moment(now)
        among = Where((self._form.among,), (self._form.ids(item_ids),))
        where = among & Where(("i.ttl_minutes IS NOT NULL",)) & self._alive(now)
        statement = f"UPDATE {self._items} SET expires_at = {self._form.renewed}{where.clause()}"
        self._execute(connection, statement, (moment, *where.values))

    def expire(self, connection: Connection, now: datetime, limit: int) -> int:
        values = (self._moment(now), limit)
        deleted = _ids(self._execute(connection, self._expire, values))
        if not self._form.cascades:
            self._vectors.delete(connection, deleted)
        return len(deleted)

    def _select(
        self, connection: Connection, where: Where, end: str = "", *values: object
    ) -> list[FoundItem[Id]]:
        statement = f"SELECT {COLUMNS} FROM {self._items}{where.clause()}{end}"
        rows = self._execute(connection, statement, (*where.values, *values)).fetchall()
        return [ItemRow(*row).found(self._codecs) for row in rows]

    def _id(self, namespace: str, key: str) -> Id | None:
        return None if self._form.item_id is None else self._form.item_id(namespace, key)

    def _place(self, *place: str) -> tuple[object, ...]:
        return tuple(map(self._codecs.string.write, place))

    def _at(self, namespace: str, key: str) -> Where:
        item_id = self._id(namespace, key)
        if item_id is None:
            return Where(("i.namespace = ?", "i.key = ?"), self._place(namespace, key))
        return Where(("i.item_id = ?",), (item_id,))

    def _alive(self, now: datetime) -> Where:
        return Where((_ALIVE,), (self._moment(now),))

    def _below(self, prefix: str, now: datetime) -> Where:
        if not prefix:
            return self._alive(now)
        low = self._codecs.string.write(prefix)
        bounds = (low, end_of(str(low)))
        below = self._form.below
        return self._alive(now) & Where((below,), bounds * (below.count("?") // 2))

    def _moment(self, moment: datetime) -> object:
        return self._codecs.moment.write(moment)


def hashed_id(namespace: str, key: str) -> UUID:
    """Return the same id for the same item, for databases with a maximum length of keys."""
    place = f"{len(namespace)}:{namespace}{key}".encode("utf-8", "surrogatepass")
    return UUID(bytes=blake2b(place, digest_size=16).digest())


def _ids(rows: Cursor) -> list[Any]:
    return [item_id for (item_id,) in rows.fetchall()]
