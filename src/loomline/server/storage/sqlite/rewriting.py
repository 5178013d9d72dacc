"""Encrypted rows of SQLite, changed in their places."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Final

from loomline.server.storage.rewriting import CONTENT, Key, Row, Table
from loomline.server.storage.sealed_rows import SEALED_VALUES
from loomline.server.storage.sealing import BLOB_PREFIX, SEALED
from loomline.server.storage.sqlite.connection import Access

_CHECKPOINT = ("thread_id", "checkpoint_ns", "checkpoint_id")
_CONFIGURED = {"config": "config", "context": "context", "metadata": "metadata"}

_TABLES: Final = (
    Table("assistants", ("assistant_id",), "assistant", _CONFIGURED),
    Table("assistant_versions", ("assistant_id", "version"), "assistant", _CONFIGURED),
    Table(
        "threads", ("thread_id",), "thread",
        {name: name for name in ("metadata", "config", "interrupts", "error")},
    ),
    Table("thread_values", ("thread_id",), "thread", {"content": "values"}),
    Table(
        "runs", ("run_id",), "run",
        {"metadata": "metadata", "kwargs": "kwargs", "error": "error", "caller": "user"},
    ),
    Table(
        "crons", ("cron_id",), "cron",
        {"payload": "payload", "metadata": "metadata", "caller": "user"},
    ),
    Table(
        "webhooks", ("webhook_id",), "run", {"payload": "notice", "caller": "user"},
    ),
    Table("webhooks", ("webhook_id",), "thread", {"content": "values"}),
    Table("store_items", ("item_id",), "store", {"value": "value"}),
    Table("checkpoints", _CHECKPOINT, "checkpoint", {"content": CONTENT, "metadata": "metadata"}),
    Table("checkpoint_facts", ("thread_id", "facts_id"), "checkpoint", {"content": "metadata"}),
    Table(
        "checkpoint_blobs", ("thread_id", "checkpoint_ns", "channel", "version"), "checkpoint",
        blob=("type", "content"),
    ),
    Table(
        "checkpoint_writes", (*_CHECKPOINT, "task_id", "idx", "run_id"), "checkpoint",
        blob=("type", "content"),
    ),
)  # fmt: skip

# What is text in one table are bytes in another; they stay what they are.
_BYTES: Final = frozenset({
    ("thread_values", "content"), ("runs", "kwargs"), ("webhooks", "payload"),
    ("webhooks", "content"),
})  # fmt: skip


class SqliteRewriter:
    """``Rewriter`` for SQLite."""

    tables = _TABLES

    def __init__(self, access: Access) -> None:
        self._access = access

    async def page(self, table: Table, after: Key | None, limit: int) -> Sequence[Row]:
        statement, columns = _select(table, begins=after is None), len(table.json)

        def work(connection: sqlite3.Connection) -> Sequence[Row]:
            found = connection.execute(statement, (*(after or ()), limit)).fetchall()
            return [_row(table, row, columns) for row in found]

        return await self._access.read(work)

    async def replace(self, table: Table, rows: Sequence[tuple[Row, Row]]) -> None:
        statement = _update(table)
        values = [(*_values(table, after), *old.key, *_values(table, old)) for old, after in rows]
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
    sets = ", ".join(f"{name} = ?" for name in changed)
    same = " AND ".join([f"{name} = ?" for name in table.key] + [f"{n} IS ?" for n in changed])
    return f"UPDATE {table.name} SET {sets} WHERE {same}"


def _values(table: Table, row: Row) -> Sequence[object]:
    texts = [
        text.encode() if text is not None and (table.name, name) in _BYTES else text
        for name, text in zip(table.json, row.json, strict=True)
    ]
    return [*texts, *(row.blob or ())]


def _row(table: Table, found: tuple[object, ...], columns: int) -> Row:
    size = len(table.key)
    key, json = found[:size], found[size : size + columns]
    texts = [None if text is None else str(text) for text in json]
    if table.blob is None:
        return Row(key, texts)
    kind, content = found[size + columns :]
    assert isinstance(content, bytes)
    return Row(key, texts, (str(kind), content))
