"""Encrypted rows of SQLite, changed in their places."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Final

from loomline.server.storage.rewriting import KEYS, Key, Layout, Row, Table, tables
from loomline.server.storage.sealed_rows import SEALED_VALUES
from loomline.server.storage.sealing import BLOB_PREFIX, SEALED
from loomline.server.storage.sqlite.connection import Access

_CHECKPOINT = ("thread_id", "checkpoint_ns", "checkpoint_id")

_KEYS: Final = {
    **KEYS,
    "checkpoints": _CHECKPOINT,
    "checkpoint_blobs": ("thread_id", "checkpoint_ns", "channel", "version"),
    "checkpoint_writes": (*_CHECKPOINT, "task_id", "idx", "run_id"),
}

_TABLES: Final = tables({name: Layout(name, key) for name, key in _KEYS.items()})


class SqliteRewriter:
    """``Rewriter`` for SQLite."""

    tables = _TABLES

    def __init__(self, access: Access) -> None:
        self._access = access

    async def page(self, table: Table, after: Key | None, limit: int) -> Sequence[Row]:
        statement = _select(table, begins=after is None)

        def work(connection: sqlite3.Connection) -> Sequence[Row]:
            found = connection.execute(statement, (*(after or ()), limit)).fetchall()
            return [table.row(row) for row in found]

        return await self._access.read(work)

    async def replace(self, table: Table, rows: Sequence[tuple[Row, Row]]) -> None:
        statement = _update(table)
        values = [(*_values(after), *old.key, *_values(old)) for old, after in rows]
        await self._access.write(lambda c: c.executemany(statement, values).close())


def _select(table: Table, *, begins: bool) -> str:
    texts = [f"CAST({name} AS TEXT)" for name in table.json]
    fits = [f"instr({text}, '{mark}')" for text in texts for mark in (SEALED, SEALED_VALUES)]
    fits += [f"{table.blob[0]} LIKE '{BLOB_PREFIX}%'"] if table.blob else []
    key = ", ".join(table.key)
    behind = "1" if begins else f"({key}) > ({', '.join('?' * len(table.key))})"
    columns = ", ".join([*table.key, *texts, *(table.blob or ())])
    return (
        f"SELECT {columns} FROM {table.name} WHERE {behind} AND ({' OR '.join(fits)})"
        f" ORDER BY {key} LIMIT ?"
    )


def _update(table: Table) -> str:
    changed = [*table.json, *(table.blob or ())]
    sets = [_assignment(name, number, table) for number, name in enumerate(changed, 1)]
    same = [f"{name} = ?" for name in table.key]
    same += [f"CAST({name} AS TEXT) IS ?" for name in table.json]
    same += [f"{name} IS ?" for name in table.blob or ()]
    return f"UPDATE {table.name} SET {', '.join(sets)} WHERE {' AND '.join(same)}"


def _assignment(name: str, number: int, table: Table) -> str:
    if name not in table.json:
        return f"{name} = ?{number}"
    # Some columns hold JSON as bytes, others as text: each value keeps its type.
    return (
        f"{name} = CASE typeof({name}) WHEN 'blob' THEN CAST(?{number} AS BLOB) ELSE ?{number} END"
    )


def _values(row: Row) -> Sequence[object]:
    return [*row.json, *(row.blob or ())]
