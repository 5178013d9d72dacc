"""Encrypted rows of a database, changed in their places."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic

from loomline.server.storage.checkpoints import Access, Connection
from loomline.server.storage.rewriting import Key, Row, Table
from loomline.server.storage.sealed_rows import SEALED_VALUES
from loomline.server.storage.sealing import BLOB_PREFIX, SEALED
from loomline.server.storage.tables import Dialect, Where


@dataclass(frozen=True, slots=True)
class RewritingForm:
    """The differences between databases in how encrypted rows are stored.

    Args:
        tables: The tables with encrypted columns.
        cast: Returns the expression that stores JSON, a string in the place of ``?``, in a column
            of a table.
    """

    tables: Sequence[Table]
    cast: Callable[[Table, str], str]


class DatabaseRewriter(Generic[Connection]):
    """``Rewriter`` on the server's database."""

    def __init__(
        self, access: Access[Connection], dialect: Dialect[Connection], form: RewritingForm
    ) -> None:
        self._access = access
        self._dialect = dialect
        self._form = form

    @property
    def tables(self) -> Sequence[Table]:
        return self._form.tables

    async def page(self, table: Table, after: Key | None, limit: int) -> Sequence[Row]:
        key = ", ".join(table.key)
        columns = ", ".join([*table.key, *map(_string, table.json), *(table.blob or ())])
        where = self._is_sealed(table) & _behind(table, after)
        statement = f"SELECT {columns} FROM {table.name}{where.clause()} ORDER BY {key} LIMIT ?"

        def work(connection: Connection) -> Sequence[Row]:
            values = (*where.values, limit)
            found = self._dialect.execute(connection, statement, values).fetchall()
            return [table.row(row) for row in found]

        return await self._access.read(work)

    async def replace(self, table: Table, rows: Sequence[tuple[Row, Row]]) -> None:
        statement = self._update(table)

        def work(connection: Connection) -> None:
            for old, after in rows:
                values = (*after.json, *(after.blob or ()), *old.key, *_compared(old))
                self._dialect.execute(connection, statement, values)

        await self._access.write(work)

    def _is_sealed(self, table: Table) -> Where:
        """Return the condition that a column may have an encrypted value."""
        fits = [
            self._dialect.has(_string(name), mark)
            for name in table.json
            for mark in (SEALED, SEALED_VALUES)
        ]
        if table.blob is not None:
            fits.append(Where((f"{table.blob[0]} LIKE ?",), (f"{BLOB_PREFIX}%",)))
        parts = " OR ".join(part for each in fits for part in each.parts)
        return Where((f"({parts})",), tuple(value for each in fits for value in each.values))

    def _update(self, table: Table) -> str:
        sets = [f"{name} = {self._form.cast(table, name)}" for name in table.json]
        sets += [f"{name} = ?" for name in table.blob or ()]
        same = [f"{name} = ?" for name in table.key]
        same += [f"coalesce({_string(name)}, '') = ?" for name in table.json]
        same += [f"{name} = ?" for name in table.blob or ()]
        return f"UPDATE {table.name} SET {', '.join(sets)} WHERE {' AND '.join(same)}"


def _string(column: str) -> str:
    return f"CAST({column} AS TEXT)"


def _behind(table: Table, after: Key | None) -> Where:
    if after is None:
        return Where()
    marks = ", ".join("?" for _ in table.key)
    return Where((f"({', '.join(table.key)}) > ({marks})",), tuple(after))


def _compared(row: Row) -> Sequence[object]:
    # JSON is never an empty string, which therefore stands for null.
    return [*(string or "" for string in row.json), *(row.blob or ())]
