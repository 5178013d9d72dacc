"""Finding threads: by what few of them have, or along the order that is asked for.

Candidates that are few are checked and sorted. Of what many threads have, enough are met soon on a
walk along the index of the order. So the time hardly depends on how many threads there are. Only
what is common and lies at the far end of the order has to be collected first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

from loomline.server.domain.access import EVERYTHING, pattern
from loomline.server.domain.filters import Page
from loomline.server.domain.threads import FoundThread, ThreadFilter, ThreadQuery
from loomline.server.storage.extracting import found_thread, needs_values
from loomline.server.storage.postgres.connection import Connection
from loomline.server.storage.postgres.rows import access_parameter, jsonb, patterns
from loomline.server.storage.postgres.thread_rows import THREADS

_Row: TypeAlias = tuple[Any, ...]

FEW = 1000
"""Candidates that are looked at one by one."""

GLANCE = 30
"""Threads that are passed for each one that is wanted, before candidates are collected at all."""

GLANCE_MOST = 5000
"""Threads that may be passed so. Pages that begin further on are collected at once."""

LARGE = 4 * 2**20
"""Bytes of the table from which that is worth a statement. In small ones totals are known."""

WALK_LEAST = 1000
"""Threads that a walk may pass before what it looks for counts as badly placed."""

_INDEXED = {
    "ids": "t.thread_id = ANY(%(ids)s)",
    "status": "t.status = %(status)s",
    "metadata": "t.metadata @> %(metadata)s::jsonb",
    "pattern": "t.metadata @> %(pattern)s::jsonb",
}
_MEETS = "loomline_meets(t.metadata, %(access)s::jsonb)"
# Looked up row by row: a join might read the values of every thread.
_HAS_VALUES = """
    (SELECT loomline_jsonb(v.content) FROM loomline_thread_values v WHERE v.thread_id = t.thread_id)
        @> ANY(%(values)s::jsonb[])
"""
_ORDER = "ORDER BY t.{sort} {order}, t.thread_id {order}"
_PAGE = f"{_ORDER} LIMIT %(most)s OFFSET %(offset)s"

_ALONG = f"SELECT {{columns}} FROM loomline_threads t {_PAGE}"
_WALK = f"""
    SELECT {{columns}} FROM (SELECT * FROM loomline_threads t {_ORDER} LIMIT %(passed)s) t
    WHERE {{indexed}} AND {{values}} {_PAGE}
"""
# The size is asked for once, before any thread is read.
_GLANCE = f"""
    SELECT {{columns}} FROM (SELECT * FROM loomline_threads t {_ORDER} LIMIT %(glanced)s) t
    WHERE (SELECT pg_relation_size('loomline_threads')) > %(large)s
        AND {{indexed}} AND {{values}} {_PAGE}
"""
# There is a row with the numbers of candidates and of threads found even where no thread is. The
# first tells whether they were few; otherwise nothing else is looked at.
_COLLECT = """
    WITH candidates AS MATERIALIZED (
        SELECT t.thread_id, t.{sort} AS place FROM loomline_threads t
        WHERE {indexed} LIMIT %(few)s + 1),
    few AS MATERIALIZED (
        SELECT * FROM candidates t
        WHERE (SELECT count(*) FROM candidates) <= %(few)s AND {values}),
    page AS MATERIALIZED (
        SELECT * FROM few ORDER BY place {order}, thread_id {order}
        LIMIT %(most)s OFFSET %(offset)s)
    SELECT n.candidates, n.found, t.* FROM (
        SELECT (SELECT count(*) FROM candidates) AS candidates, (SELECT count(*) FROM few) AS found
    ) n LEFT JOIN (
        SELECT p.place, p.thread_id AS id, {columns}
        FROM page p JOIN loomline_threads t USING (thread_id)) t ON TRUE
    ORDER BY t.place {order}, t.id {order}
"""
_COUNT = "SELECT count(*) FROM loomline_threads t WHERE {indexed} AND {values}"

# More than there can be.
_ALL = 2**40


@dataclass(frozen=True, slots=True)
class _Plan:
    """Statements are completed with ``words``, which are constants, and sent with parameters."""

    words: dict[str, str]
    parameters: dict[str, object]

    def rows(self, connection: Connection, statement: str, **more: int) -> list[_Row]:
        # Not prepared: the best way depends on what is asked for, and on how much of it there is.
        return connection.execute(
            statement.format(**self.words), self.parameters | more, prepare=False
        ).fetchall()

    def collect(self, connection: Connection, few: int = _ALL) -> tuple[list[_Row], int | None]:
        """Return the rows of a page and the total, which is None where candidates are not few."""
        rows = self.rows(connection, _COLLECT, few=few)
        candidates, found = rows[0][:2]
        if candidates > few:
            return [], None
        return [row[4:] for row in rows if row[3] is not None], found


def search(connection: Connection, query: ThreadQuery) -> Page[FoundThread]:
    """Return a page of the threads that match."""
    rows, total = _rows(connection, _plan(query), query)
    more = len(rows) > query.limit
    if total is None and not more and (rows or not query.offset):
        total = query.offset + len(rows)
    found = [found_thread(THREADS.thread(row), query.extract) for row in rows[: query.limit]]
    return Page(found, more, total)


def count(connection: Connection, where: ThreadFilter) -> int:
    """Return how many threads match."""
    ((number,),) = _Plan(_conditions(where), _parameters(where)).rows(connection, _COUNT)
    return int(number)


def _rows(connection: Connection, plan: _Plan, query: ThreadQuery) -> tuple[list[_Row], int | None]:
    """Return the rows of a page and one more where there is one, and the total if known."""
    where = query.where
    if where.ids:
        return plan.collect(connection)
    if where.status or where.metadata or where.access != EVERYTHING:
        rows = plan.rows(connection, _GLANCE)
        if len(rows) > query.limit:
            return rows, None
        rows, total = plan.collect(connection, FEW)
        if total is not None:
            return rows, total
    elif not where.values:
        return plan.rows(connection, _ALONG), None
    rows = plan.rows(connection, _WALK)
    return (rows, None) if len(rows) > query.limit else plan.collect(connection)


def _plan(query: ThreadQuery) -> _Plan:
    words = {
        "columns": THREADS.columns(with_values=needs_values(query)),
        "sort": query.sort_by,
        "order": "DESC" if query.descending else "ASC",
    }
    most = query.limit + 1
    page = {
        "most": most,
        "offset": query.offset,
        "large": LARGE,
        "glanced": glanced if (glanced := GLANCE * (query.offset + most)) <= GLANCE_MOST else 0,
        "passed": max(WALK_LEAST, 4 * (query.offset + most)),
    }
    return _Plan(words | _conditions(query.where), _parameters(query.where) | page)


def _conditions(where: ThreadFilter) -> dict[str, str]:
    found, exact = pattern(where.access)
    given = {"ids": where.ids, "status": where.status, "metadata": where.metadata, "pattern": found}
    indexed = [condition for name, condition in _INDEXED.items() if given[name]]
    if not exact:
        indexed.append(_MEETS)
    return {
        "indexed": " AND ".join(indexed) or "TRUE",
        "values": _HAS_VALUES if where.values else "TRUE",
    }


def _parameters(where: ThreadFilter) -> dict[str, object]:
    return {
        "ids": list(where.ids),
        "status": where.status,
        "metadata": jsonb(where.metadata),
        "pattern": jsonb(pattern(where.access)[0]),
        "access": access_parameter(where.access),
        "values": patterns(where.values),
    }
