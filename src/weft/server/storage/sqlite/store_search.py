"""Searches of the store: by content, by time, and by meaning."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from langgraph.store.base import ListNamespacesOp, MatchCondition, SearchItem, SearchOp

from weft.server.domain.items import Namespace, begins, check_filter, ends
from weft.server.storage.sqlite.similarity import scorer
from weft.server.storage.sqlite.store_rows import (
    COLUMNS,
    LATEST_FIRST,
    NAMESPACES,
    Row,
    decoded_namespace,
    encoded_namespace,
    item,
    matching,
)

_BLOCK = 1024
"""Vectors that are compared at once: some megabytes."""

_Found: TypeAlias = tuple[list[SearchItem], list[int]]
_Ranked: TypeAlias = tuple[float, str, str, int]


@dataclass(frozen=True, slots=True)
class Search:
    """A search that is ready to be executed. ``query`` is a stored vector, or None."""

    condition: str
    values: dict[str, object]
    limit: int
    offset: int
    query: bytes | None


def prepared(search: SearchOp, query: bytes | None, now: int) -> Search:
    """Return a search ready to be executed.

    Raises:
        UnsupportedOperator: its filter has an operator that does not exist.
        InvalidNamespaceError: its prefix has a label that cannot be.
    """
    check_filter(search.filter)
    prefix = encoded_namespace(search.namespace_prefix)
    condition, values = matching(prefix, search.filter, now)
    return Search(condition, values, max(search.limit, 0), max(search.offset, 0), query)


def find(connection: sqlite3.Connection, search: Search) -> _Found:
    """Return the items of a search, and the ids of those that expire one day."""
    if search.query is None:
        return _result([(row, None) for row in _latest(connection, search)])
    return _result(_nearest(connection, search, search.query))


def namespaces(
    connection: sqlite3.Connection, asked: ListNamespacesOp, now: int
) -> list[Namespace]:
    """Return the namespaces that have items, cut and merged, in the order of their labels."""
    conditions = asked.match_conditions or ()
    found = {
        namespace[: asked.max_depth]
        for (text,) in connection.execute(NAMESPACES, {"now": now})
        if _fits(namespace := decoded_namespace(text), conditions)
    }
    return sorted(found)[asked.offset : asked.offset + asked.limit]


def _fits(namespace: Namespace, conditions: Sequence[MatchCondition]) -> bool:
    return all(
        (begins if each.match_type == "prefix" else ends)(namespace, each.path)
        for each in conditions
    )


def _latest(connection: sqlite3.Connection, search: Search) -> list[Row]:
    statement = f"SELECT {COLUMNS} FROM store_items WHERE {search.condition} {LATEST_FIRST}"
    page = {"limit": search.limit, "offset": search.offset}
    return connection.execute(statement, search.values | page).fetchall()


def _nearest(
    connection: sqlite3.Connection, search: Search, query: bytes
) -> list[tuple[Row, float | None]]:
    """Return the page: items with vectors by score, then the others, the latest first."""
    ranked = _ranking(connection, search, query)
    page = ranked[search.offset : search.offset + search.limit]
    rows: list[tuple[Row, float | None]] = [
        (_by_id(connection, item_id), -distance) for distance, _, _, item_id in page
    ]
    rest = _unranked(connection, search, query, len(ranked), search.limit - len(page))
    return [*rows, *((row, None) for row in rest)]


def _ranking(connection: sqlite3.Connection, search: Search, query: bytes) -> list[_Ranked]:
    best: dict[int, _Ranked] = {}
    for block, scores in _scored(connection, search, query):
        for (item_id, namespace, key, _), score in zip(block, scores, strict=True):
            if item_id not in best or -score < best[item_id][0]:
                best[item_id] = (-score, namespace, key, item_id)
    return sorted(best.values())


def _scored(
    connection: sqlite3.Connection, search: Search, query: bytes
) -> Iterator[tuple[list[tuple[int, str, str, bytes]], Sequence[float]]]:
    # Vectors of another length are left from another configuration.
    statement = f"""
        SELECT item_id, namespace, key, vector FROM store_items JOIN store_vectors USING (item_id)
        WHERE {search.condition} AND length(vector) = :size
    """
    score = scorer(query)
    cursor = connection.execute(statement, search.values | {"size": len(query)})
    while block := cursor.fetchmany(_BLOCK):
        yield block, score([vector for *_, vector in block])


def _unranked(
    connection: sqlite3.Connection, search: Search, query: bytes, ranked: int, limit: int
) -> list[Row]:
    if limit <= 0:
        return []
    statement = f"""
        SELECT {COLUMNS} FROM store_items i WHERE {search.condition} AND NOT EXISTS (
            SELECT 1 FROM store_vectors v WHERE v.item_id = i.item_id AND length(vector) = :size)
        {LATEST_FIRST}
    """
    page = {"limit": limit, "offset": max(search.offset - ranked, 0), "size": len(query)}
    return connection.execute(statement, search.values | page).fetchall()


def _by_id(connection: sqlite3.Connection, item_id: int) -> Row:
    statement = f"SELECT {COLUMNS} FROM store_items WHERE item_id = ?"
    row: Row = connection.execute(statement, (item_id,)).fetchone()
    return row


def _result(rows: Sequence[tuple[Row, float | None]]) -> _Found:
    expiring = [row[5] for row, _ in rows if row[6] is not None]
    return [item(row, score) for row, score in rows], expiring
