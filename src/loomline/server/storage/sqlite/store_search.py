"""Searches of the store: by content, by time, and by meaning."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from typing import TypeAlias

from loomline.server.storage.items import FoundItem, ItemSearch, StoredItem
from loomline.server.storage.sqlite.similarity import scorer
from loomline.server.storage.sqlite.store_rows import (
    COLUMNS,
    ITEMS,
    LATEST_FIRST,
    StoreRows,
    matching,
)

_BLOCK = 1024
"""Vectors that are compared at once: some megabytes."""

_Ranked: TypeAlias = tuple[float, str, str, int]
_Item: TypeAlias = StoredItem[int]
_Search: TypeAlias = ItemSearch[bytes]


class SqliteItems(StoreRows):
    """The acts on items, as ``ItemStatements``."""

    def search(self, connection: sqlite3.Connection, search: _Search) -> list[FoundItem[int]]:
        if search.query is None:
            return [item.found() for item in _latest(connection, search)]
        return _nearest(connection, search, search.query)


def _latest(connection: sqlite3.Connection, search: _Search) -> list[_Item]:
    condition, values = matching(search)
    statement = f"SELECT {COLUMNS} FROM store_items WHERE {condition} {LATEST_FIRST}"
    page = {"limit": search.limit, "offset": search.offset}
    return [ITEMS.record(row) for row in connection.execute(statement, values | page)]


def _nearest(connection: sqlite3.Connection, search: _Search, query: bytes) -> list[FoundItem[int]]:
    """Return the page: items with vectors by score, then the others, the latest first."""
    ranked = _ranking(connection, search, query)
    page = ranked[search.offset : search.offset + search.limit]
    found = [_by_id(connection, item_id).found(-distance) for distance, _, _, item_id in page]
    rest = _unranked(connection, search, query, len(ranked), search.limit - len(page))
    return [*found, *(item.found() for item in rest)]


def _ranking(connection: sqlite3.Connection, search: _Search, query: bytes) -> list[_Ranked]:
    best: dict[int, _Ranked] = {}
    for block, scores in _scored(connection, search, query):
        for (item_id, namespace, key, _), score in zip(block, scores, strict=True):
            if item_id not in best or -score < best[item_id][0]:
                best[item_id] = (-score, namespace, key, item_id)
    return sorted(best.values())


def _scored(
    connection: sqlite3.Connection, search: _Search, query: bytes
) -> Iterator[tuple[list[tuple[int, str, str, bytes]], Sequence[float]]]:
    condition, values = matching(search)
    # Vectors of another length are left from another configuration.
    statement = f"""
        SELECT item_id, namespace, key, vector FROM store_items JOIN store_vectors USING (item_id)
        WHERE {condition} AND length(vector) = :size
    """
    score = scorer(query)
    cursor = connection.execute(statement, values | {"size": len(query)})
    while block := cursor.fetchmany(_BLOCK):
        yield block, score([vector for *_, vector in block])


def _unranked(
    connection: sqlite3.Connection, search: _Search, query: bytes, ranked: int, limit: int
) -> list[_Item]:
    if limit <= 0:
        return []
    condition, values = matching(search)
    statement = f"""
        SELECT {COLUMNS} FROM store_items i WHERE {condition} AND NOT EXISTS (
            SELECT 1 FROM store_vectors v WHERE v.item_id = i.item_id AND length(vector) = :size)
        {LATEST_FIRST}
    """
    page = {"limit": limit, "offset": max(search.offset - ranked, 0), "size": len(query)}
    return [ITEMS.record(row) for row in connection.execute(statement, values | page)]


def _by_id(connection: sqlite3.Connection, item_id: int) -> _Item:
    statement = f"SELECT {COLUMNS} FROM store_items WHERE item_id = ?"
    return ITEMS.record(connection.execute(statement, (item_id,)).fetchone())
