"""Finding threads: by the rarest thing that is asked for, or along the order that is asked for.

A condition that few threads meet gives all its candidates, which are checked and sorted. Where
every condition is met by many, walking along the index of the order meets enough of them soon.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field

import orjson

from loomline.server.domain.access import EVERYTHING, Condition, encode, pattern
from loomline.server.domain.filters import Page
from loomline.server.domain.json import JsonObject, dump
from loomline.server.domain.threads import FoundThread, ThreadFilter, ThreadQuery
from loomline.server.storage.extracting import found_thread, needs_values
from loomline.server.storage.sqlite.leaves import TOO_MANY, pattern_leaves
from loomline.server.storage.sqlite.thread_rows import THREADS

FEW = 300
"""Candidates that are looked at one by one."""

WALK_LEAST = 3000
"""Threads that a walk may pass before what it looks for counts as badly placed."""

_LEAVES_MOST = 16

_BY_IDS = "SELECT DISTINCT value AS thread_id FROM json_each(:ids)"
_BY_STATUS = "SELECT thread_id FROM threads WHERE status = :status"
_BY_LEAF = f"""
    SELECT thread_id FROM thread_leaves WHERE leaf = :{{}}
    UNION ALL SELECT thread_id FROM thread_leaves WHERE leaf = '{TOO_MANY}'
"""
_HAS_LEAF = """
    EXISTS (SELECT 1 FROM thread_leaves l WHERE l.leaf = :{} AND l.thread_id = t.thread_id)
"""
_HAS_TOO_MANY = f"""
    EXISTS (SELECT 1 FROM thread_leaves l
            WHERE l.leaf = '{TOO_MANY}' AND l.thread_id = t.thread_id)
"""
_HAS_METADATA = "json_contains(t.metadata, :{})"
_MEETS = "json_meets(t.metadata, :access)"
_HAS_VALUES = """
    json_contains((SELECT content FROM thread_values v WHERE v.thread_id = t.thread_id), :values)
"""
_FROM_ALL = "FROM threads t WHERE {}"
# CROSS JOIN: the candidates come first.
_FROM_SOME = "FROM ({}) c CROSS JOIN threads t ON t.thread_id = c.thread_id WHERE {}"
_PAGE = "SELECT t.thread_id {} ORDER BY t.{} {}, t.thread_id {} LIMIT :most OFFSET :offset"
_ROWS = {
    with_values: f"{THREADS.threads(with_values=with_values)}"
    " WHERE t.thread_id IN (SELECT value FROM json_each(?))"
    for with_values in (True, False)
}


@dataclass(slots=True)
class _Plan:
    """``sources`` are statements that give every candidate for one of the conditions."""

    conditions: list[str] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    parameters: dict[str, str | int] = field(default_factory=dict)

    @property
    def condition(self) -> str:
        return " AND ".join(self.conditions) or "TRUE"

    def from_all(self, also: str = "TRUE") -> str:
        return _FROM_ALL.format(f"{self.condition} AND {also}")

    def from_some(self, source: str) -> str:
        return _FROM_SOME.format(source, self.condition)


def search(connection: sqlite3.Connection, query: ThreadQuery) -> Page[FoundThread]:
    """Return a page of the threads that match."""
    plan = _plan(query.where)
    source, few = _rarest(connection, plan)
    total = None
    if source is not None and few:
        total = _count(connection, plan, plan.from_some(source))
        found = _page(connection, plan, query, plan.from_some(source))
    else:
        found = _walk(connection, plan, query, source)
    more = len(found) > query.limit
    if total is None and not more and (found or not query.offset):
        total = query.offset + len(found)
    return Page(_found(connection, found[: query.limit], query), more, total)


def count(connection: sqlite3.Connection, where: ThreadFilter) -> int:
    """Return how many threads match."""
    plan = _plan(where)
    source, _ = _rarest(connection, plan)
    rows = plan.from_all() if source is None else plan.from_some(source)
    return _count(connection, plan, rows)


def _plan(where: ThreadFilter) -> _Plan:
    plan = _Plan()
    if where.ids:
        plan.sources.append(_BY_IDS)
        plan.parameters["ids"] = orjson.dumps(where.ids).decode()
        plan.conditions.append(f"t.thread_id IN ({_BY_IDS})")
    if where.status is not None:
        plan.sources.append(_BY_STATUS)
        plan.parameters["status"] = where.status
        # The sign keeps the index of the status from being preferred to that of the order.
        plan.conditions.append("+t.status = :status")
    if where.metadata:
        _plan_metadata(plan, where.metadata, "metadata")
    if where.access != EVERYTHING:
        _plan_access(plan, where.access)
    if where.values:
        plan.parameters["values"] = dump(where.values).decode()
        plan.conditions.append(_HAS_VALUES)
    return plan


def _plan_access(plan: _Plan, access: Condition) -> None:
    metadata, exact = pattern(access)
    if metadata:
        _plan_metadata(plan, metadata, "pattern")
    if not exact:
        plan.parameters["access"] = encode(access)
        plan.conditions.append(_MEETS)


def _plan_metadata(plan: _Plan, metadata: JsonObject, name: str) -> None:
    wanted = pattern_leaves(metadata, _LEAVES_MOST)
    names = {f"{name}{number}": leaf for number, leaf in enumerate(wanted.leaves)}
    plan.parameters |= {name: dump(metadata).decode()} | names
    has_metadata = _HAS_METADATA.format(name)
    plan.sources += [_BY_LEAF.format(each) for each in names]
    has_leaves = " AND ".join(_HAS_LEAF.format(each) for each in names) or "TRUE"
    if wanted.exact:
        plan.conditions.append(f"(({has_leaves}) OR ({_HAS_TOO_MANY} AND {has_metadata}))")
    else:
        plan.conditions.append(f"(({has_leaves}) OR {_HAS_TOO_MANY}) AND {has_metadata}")


def _rarest(connection: sqlite3.Connection, plan: _Plan) -> tuple[str | None, bool]:
    """Return the source with the fewest candidates, and whether they are few."""
    if not plan.sources:
        return None, False
    sizes = {source: _size(connection, plan, source) for source in plan.sources}
    source = min(sizes, key=sizes.__getitem__)
    return source, sizes[source] <= FEW


def _size(connection: sqlite3.Connection, plan: _Plan, source: str) -> int:
    statement = f"SELECT count(*) FROM (SELECT 1 FROM ({source}) LIMIT {FEW + 1})"
    (size,) = connection.execute(statement, plan.parameters).fetchone()
    return int(size)


def _walk(
    connection: sqlite3.Connection, plan: _Plan, query: ThreadQuery, source: str | None
) -> list[str]:
    """Return the ids of a page by walking along the order.

    The candidates, many as they are, may all lie at its far end: rather than to pass everything
    before them the walk is given up and they are collected.
    """
    if source is None:
        return _page(connection, plan, query, plan.from_all())
    passed = max(WALK_LEAST, 4 * (query.offset + query.limit))
    end = _end_of_walk(connection, query, passed)
    if end is None:
        return _page(connection, plan, query, plan.from_all())
    plan.parameters |= {"end": end[0], "end_id": end[1]}
    sign = ">=" if query.descending else "<="
    before = f"(t.{query.sort_by}, t.thread_id) {sign} (:end, :end_id)"
    found = _page(connection, plan, query, plan.from_all(before))
    if len(found) > query.limit:
        return found
    return _page(connection, plan, query, plan.from_some(source))


def _end_of_walk(
    connection: sqlite3.Connection, query: ThreadQuery, passed: int
) -> tuple[str | int, str] | None:
    """Return where in the order so many threads have been passed; None when there are fewer."""
    order = "DESC" if query.descending else "ASC"
    statement = f"""
        SELECT {query.sort_by}, thread_id FROM threads
        ORDER BY {query.sort_by} {order}, thread_id {order} LIMIT 1 OFFSET ?
    """
    row: tuple[str | int, str] | None = connection.execute(statement, (passed,)).fetchone()
    return row


def _page(connection: sqlite3.Connection, plan: _Plan, query: ThreadQuery, rows: str) -> list[str]:
    """Return the ids of a page, and one more where there is one."""
    order = "DESC" if query.descending else "ASC"
    statement = _PAGE.format(rows, query.sort_by, order, order)
    parameters = {**plan.parameters, "most": query.limit + 1, "offset": query.offset}
    return [thread_id for (thread_id,) in connection.execute(statement, parameters)]


def _count(connection: sqlite3.Connection, plan: _Plan, rows: str) -> int:
    (number,) = connection.execute(f"SELECT count(*) {rows}", plan.parameters).fetchone()
    return int(number)


def _found(
    connection: sqlite3.Connection, thread_ids: Sequence[str], query: ThreadQuery
) -> list[FoundThread]:
    statement = _ROWS[needs_values(query)]
    rows = connection.execute(statement, (orjson.dumps(thread_ids).decode(),))
    threads = {str(thread.thread_id): thread for thread in map(THREADS.thread, rows)}
    return [found_thread(threads[key], query.extract) for key in thread_ids]
