"""Vectors of items for databases without a type for vectors: every vector is compared here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, Generic, TypeAlias

from loomline.server.ports.store import IndexOptions
from loomline.server.storage.checkpoints import Connection
from loomline.server.storage.item_tables import COLUMNS, LATEST_FIRST, ItemRow
from loomline.server.storage.items import FoundItem, Id, ItemSearch
from loomline.server.storage.similarity import packed, scorer
from loomline.server.storage.tables import Dialect, Where

BLOCK: Final = 1024
"""Vectors that are compared at once: some megabytes."""

_Ranked: TypeAlias = tuple[float, str, str, Any]
_Vector: TypeAlias = tuple[Any, str, str, bytes]


class PackedVectors(Generic[Connection, Id]):
    """``ItemVectors`` as rows of bytes."""

    def __init__(self, dialect: Dialect[Connection], index: IndexOptions | None) -> None:
        self._dialect = dialect
        self._index = index
        self._items = f"{dialect.prefix}store_items AS i"
        self._vectors = f"{dialect.prefix}store_vectors"

    def vector(self, numbers: Sequence[float]) -> bytes:
        assert self._index is not None
        return packed(numbers, self._index.dims)

    def replace(self, connection: Connection, item_id: Id, vectors: Sequence[bytes]) -> None:
        self.delete(connection, [item_id])
        insert = f"INSERT INTO {self._vectors} (item_id, number, vector) VALUES (?, ?, ?)"
        for number, vector in enumerate(vectors):
            self._dialect.execute(connection, insert, (item_id, number, vector))

    def delete(self, connection: Connection, item_ids: Sequence[Id]) -> None:
        statement = f"DELETE FROM {self._vectors} WHERE item_id = ?"
        for item_id in item_ids:
            self._dialect.execute(connection, statement, (item_id,))

    def nearest(
        self, connection: Connection, search: ItemSearch[bytes], query: bytes, where: Where
    ) -> list[FoundItem[Id]]:
        """Return the page: items with vectors by score, then the others, the latest first."""
        ranked = self._ranking(connection, query, where)
        page = ranked[search.offset : search.offset + search.limit]
        scored = [
            self._by_id(connection, item_id)._replace(score=-distance)
            for distance, _, _, item_id in page
        ]
        left = search.limit - len(page)
        offset = max(search.offset - len(ranked), 0)
        rest = self._unranked(connection, query, where, left, offset) if left > 0 else []
        return [row.found(self._dialect.codecs) for row in (*scored, *rest)]

    def _ranking(self, connection: Connection, query: bytes, where: Where) -> list[_Ranked]:
        best: dict[Id, _Ranked] = {}
        for block, scores in self._scored(connection, query, where):
            for (item_id, namespace, key, _), score in zip(block, scores, strict=True):
                if item_id not in best or -score < best[item_id][0]:
                    best[item_id] = (-score, namespace, key, item_id)
        return sorted(best.values())

    def _scored(
        self, connection: Connection, query: bytes, where: Where
    ) -> Iterator[tuple[list[_Vector], Sequence[float]]]:
        # Vectors of another length are left from another configuration.
        where &= Where(("length(v.vector) = ?",), (len(query),))
        statement = (
            f"SELECT i.item_id, i.namespace, i.key, v.vector FROM {self._items}"
            f" JOIN {self._vectors} AS v ON v.item_id = i.item_id{where.clause()}"
        )
        score = scorer(query)
        cursor = self._dialect.execute(connection, statement, where.values)
        while block := cursor.fetchmany(BLOCK):
            yield block, score([vector for *_, vector in block])

    def _unranked(
        self, connection: Connection, query: bytes, where: Where, limit: int, offset: int
    ) -> list[ItemRow]:
        without = (
            f"NOT EXISTS (SELECT 1 FROM {self._vectors} AS v"
            " WHERE v.item_id = i.item_id AND length(v.vector) = ?)"
        )
        where &= Where((without,), (len(query),))
        return self._select(connection, where, LATEST_FIRST, limit, offset)

    def _by_id(self, connection: Connection, item_id: Id) -> ItemRow:
        (row,) = self._select(connection, Where(("i.item_id = ?",), (item_id,)))
        return row

    def _select(
        self, connection: Connection, where: Where, end: str = "", *values: object
    ) -> list[ItemRow]:
        statement = f"SELECT {COLUMNS} FROM {self._items}{where.clause()}{end}"
        rows = self._dialect.execute(connection, statement, (*where.values, *values))
        return [ItemRow(*row) for row in rows.fetchall()]
