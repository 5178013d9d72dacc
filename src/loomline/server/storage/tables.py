"""Tables of records, and the SQL that all databases have in common.

Statements are written with ``?`` for each value. A database supplies a ``Dialect``. Statements that
must be written for one database, because of its plans or its locks, stay in its driver.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol
from uuid import UUID

from loomline.server.domain.access import EVERYTHING, Condition
from loomline.server.domain.filters import Page
from loomline.server.domain.json import JsonObject
from loomline.server.storage.checkpoints import Connection
from loomline.server.storage.records import Codecs, R, Record, Rows


class Cursor(Protocol):
    """The rows that a statement returns or changes. They may not have arrived yet."""

    @property
    def rowcount(self) -> int: ...

    def fetchone(self) -> tuple[Any, ...] | None: ...

    def fetchmany(self, size: int, /) -> list[tuple[Any, ...]]: ...

    def fetchall(self) -> list[tuple[Any, ...]]: ...


@dataclass(frozen=True, slots=True)
class Where:
    """Conditions that a row must meet, all of them, and the values in them."""

    parts: tuple[str, ...] = ()
    values: tuple[object, ...] = ()

    def __and__(self, other: Where) -> Where:
        return Where(self.parts + other.parts, self.values + other.values)

    def within(self, statement: str) -> Where:
        """Return one condition, with these in the place of ``{}``; none stays none."""
        return Where((statement.format(" AND ".join(self.parts)),), self.values) if self else self

    def clause(self) -> str:
        return f" WHERE {' AND '.join(self.parts)}" if self else ""

    def __bool__(self) -> bool:
        return bool(self.parts)


@dataclass(frozen=True, slots=True)
class Dialect(Generic[Connection]):
    """The differences between databases in the SQL that they share.

    Args:
        execute: Executes a statement, which has ``?`` for each value.
        codecs: The stored forms of values.
        condition: Returns the stored form of a condition on metadata.
        prefix: The beginning of the names of all tables.
        lock: Ends a query. Other transactions may neither change nor lock its rows.
        hold: Ends a query. Other transactions may not delete its rows.
        skip: Ends a query. It locks its rows, and passes over rows that are locked already.
        json_contains: The condition that the JSON in the column ``{}`` contains a value.
        json_meets: The condition that the metadata in the column ``{}`` meets a condition.
        json_has_string: The condition that the JSON in the column ``{}`` has a string as the value
            of the key ``{}``.
        json_merge: The JSON object in the column ``{}``, with the keys of another one merged into
            it.
        text_has: The condition that the string ``{}`` has a part.
        one_of: The condition that ``{}`` is one of several values.
        many: Returns the stored form of these values.
        arrival: The column that numbers the rows of a table in the order of their arrival.
    """

    execute: Callable[[Connection, str, Sequence[object]], Cursor]
    codecs: Codecs
    condition: Callable[[Condition], str]
    prefix: str
    lock: str
    hold: str
    skip: str
    json_contains: str
    json_meets: str
    json_has_string: str
    json_merge: str
    text_has: str
    one_of: str
    many: Callable[[Sequence[object]], object]
    arrival: str

    def contains(self, column: str, pattern: JsonObject) -> Where:
        if not pattern:
            return Where()
        return Where((self.json_contains.format(column),), (self.codecs.object.write(pattern),))

    def meets(self, column: str, access: Condition) -> Where:
        if access == EVERYTHING:
            return Where()
        return Where((self.json_meets.format(column),), (self.condition(access),))

    def has_string(self, column: str, key: str, string: str) -> Where:
        return Where((self.json_has_string.format(column, key),), (string,))

    def among(self, column: str, ids: Sequence[UUID]) -> Where:
        return Where((self.one_of.format(column),), (self.ids(ids),))

    def ids(self, ids: Sequence[UUID]) -> object:
        """Return the stored form of several ids, as one value."""
        return self.many([self.codecs.id.write(each) for each in ids])

    def has(self, string: str, part: str) -> Where:
        if not part:
            return Where()
        return Where((self.text_has.format(string),), (self.codecs.string.write(part),))


class Table(Generic[Connection, R]):
    """A table of records, within the caller's transaction."""

    def __init__(self, dialect: Dialect[Connection], name: str, record: Record[R]) -> None:
        self.name: str = dialect.prefix + name
        self.dialect = dialect
        self.rows: Rows[R] = Rows(record, dialect.codecs)
        self._select = f"SELECT {', '.join(self.rows.columns)} FROM {self.name}"
        written = ", ".join(self.rows.names.values())
        values = ", ".join("?" for _ in self.rows.names)
        self._insert = f"INSERT INTO {self.name} ({written}) VALUES ({values})"
        self._update = f"UPDATE {self.name} SET ({written}) = ({values})"

    def equal(self, **values: object) -> Where:
        """Return the condition that fields have these values, and never null."""
        return Where(
            tuple(f"{self.rows.names[name]} = ?" for name in values),
            tuple(self.rows.value(name, value) for name, value in values.items()),
        )

    def matching(self, **values: object) -> Where:
        """Return the condition that fields have these values; None: any value."""
        given = {name: value for name, value in values.items() if value is not None}
        return self.equal(**given)

    def execute(self, connection: Connection, statement: str, *values: object) -> Cursor:
        return self.dialect.execute(connection, statement, values)

    def insert(self, connection: Connection, record: R) -> None:
        self.dialect.execute(connection, self._insert, self.rows.row(record))

    def insert_new(self, connection: Connection, record: R) -> bool:
        """Insert a record unless its key exists; return whether it was inserted."""
        statement = f"{self._insert} ON CONFLICT DO NOTHING RETURNING 1"
        found = self.dialect.execute(connection, statement, self.rows.row(record))
        return found.fetchone() is not None

    def replace(self, connection: Connection, record: R, where: Where) -> None:
        """Write a record in the place of another one."""
        values = (*self.rows.row(record), *where.values)
        self.dialect.execute(connection, f"{self._update}{where.clause()}", values)

    def delete(self, connection: Connection, where: Where) -> None:
        statement = f"DELETE FROM {self.name}{where.clause()}"
        self.dialect.execute(connection, statement, where.values)

    def get(self, connection: Connection, where: Where, *, lock: bool = False) -> R | None:
        """Return a record. With ``lock`` no other transaction changes it before this one ends."""
        end = self.dialect.lock if lock else ""
        row = self._found(connection, where, end).fetchone()
        return None if row is None else self.rows.record(row)

    def select(
        self, connection: Connection, where: Where, order: str, limit: int, offset: int = 0
    ) -> list[R]:
        end = f" ORDER BY {order} LIMIT ? OFFSET ?"
        rows = self._found(connection, where, end, limit, offset).fetchall()
        return [self.rows.record(row) for row in rows]

    def all(self, connection: Connection, where: Where) -> list[R]:
        """Return all records that meet the conditions, in any order."""
        return [self.rows.record(row) for row in self._found(connection, where, "").fetchall()]

    def count(self, connection: Connection, where: Where) -> int:
        return _number(self._counted(connection, where))

    def page(
        self, connection: Connection, where: Where, order: str, limit: int, offset: int
    ) -> Page[R]:
        # Both statements are sent before an answer is awaited, where the database can do that.
        counted = self._counted(connection, where)
        rows = self.select(connection, where, order, limit, offset)
        total = _number(counted)
        return Page(rows, more=bool(rows) and offset + len(rows) < total, total=total)

    def _counted(self, connection: Connection, where: Where) -> Cursor:
        statement = f"SELECT count(*) FROM {self.name}{where.clause()}"
        return self.dialect.execute(connection, statement, where.values)

    def _found(self, connection: Connection, where: Where, end: str, *values: object) -> Cursor:
        statement = f"{self._select}{where.clause()}{end}"
        return self.dialect.execute(connection, statement, (*where.values, *values))


def _number(cursor: Cursor) -> int:
    ((number,),) = cursor.fetchall()
    return int(number)
