"""Encrypted rows of PostgreSQL, changed in their places."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from loomline.server.storage.postgres.connection import Connection, Database
from loomline.server.storage.rewriting import CONTENT, Key, Row, Table
from loomline.server.storage.sealed_rows import SEALED_VALUES
from loomline.server.storage.sealing import BLOB_PREFIX, SEALED

_CHECKPOINT = ("thread_id", "checkpoint_ns", "checkpoint_id")
_CONFIGURED = {"config": "config", "context": "context", "metadata": "metadata"}
_WRITES = (*_CHECKPOINT, "task_id", "idx")

_TABLES: Final = (
    Table("loomline_assistants", ("assistant_id",), "assistant", _CONFIGURED),
    Table("loomline_assistant_versions", ("assistant_id", "version"), "assistant", _CONFIGURED),
    Table(
        "loomline_threads", ("thread_id",), "thread",
        {name: name for name in ("metadata", "config", "interrupts", "error")},
    ),
    Table("loomline_thread_values", ("thread_id",), "thread", {"content": "values"}),
    Table(
        "loomline_runs", ("run_id",), "run",
        {"metadata": "metadata", "kwargs": "kwargs", "error": "error", "caller": "user"},
    ),
    Table(
        "loomline_crons", ("cron_id",), "cron",
        {"payload": "payload", "metadata": "metadata", "caller": "user"},
    ),
    Table(
        "loomline_webhooks", ("webhook_id",), "run", {"payload": "notice", "caller": "user"},
    ),
    Table("loomline_webhooks", ("webhook_id",), "thread", {"content": "values"}),
    Table("loomline_store_items", ("item_id",), "store", {"value": "value"}),
    Table(
        "checkpoints", _CHECKPOINT, "checkpoint",
        {"checkpoint": CONTENT, "metadata": "metadata"},
    ),
    Table(
        "loomline_checkpoint_facts", ("thread_id", "facts_id"), "checkpoint",
        {"content": "metadata"},
    ),
    Table(
        "checkpoint_blobs", ("thread_id", "checkpoint_ns", "channel", "version"), "checkpoint",
        blob=("type", "blob"),
    ),
    Table("checkpoint_writes", _WRITES, "checkpoint", blob=("type", "blob")),
    Table("loomline_displaced_writes", (*_WRITES, "run_id"), "checkpoint", blob=("type", "blob")),
)  # fmt: skip

# Text that only passes through; everything else of JSON is what the database looks into.
_JSON: Final = frozenset({
    ("loomline_threads", "interrupts"), ("loomline_threads", "error"),
    ("loomline_thread_values", "content"),
    ("loomline_runs", "kwargs"), ("loomline_runs", "error"), ("loomline_runs", "caller"),
    ("loomline_crons", "payload"), ("loomline_crons", "caller"), ("loomline_webhooks", "payload"),
    ("loomline_webhooks", "content"), ("loomline_webhooks", "caller"),
    ("loomline_checkpoint_facts", "content"),
})  # fmt: skip


class PostgresRewriter:
    """``Rewriter`` for PostgreSQL."""

    tables = _TABLES

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(self, table: Table, after: Key | None, limit: int) -> Sequence[Row]:
        statement, columns = _select(table, begins=after is None), len(table.json)

        def work(connection: Connection) -> Sequence[Row]:
            found = connection.execute(statement, (*(after or ()), limit)).fetchall()
            return [_row(table, row, columns) for row in found]

        return await self._database.ask(work)

    async def replace(self, table: Table, rows: Sequence[tuple[Row, Row]]) -> None:
        statement = _update(table)

        def work(connection: Connection) -> None:
            for old, after in rows:
                values = (*after.json, *(after.blob or ()), *old.key, *old.json, *(old.blob or ()))
                connection.execute(statement, values)

        await self._database.write(work)


def _select(table: Table, *, begins: bool) -> str:
    texts = [f"{name}::text" for name in table.json]
    fits = [
        f"position('{mark}' in {text}) > 0" for text in texts for mark in (SEALED, SEALED_VALUES)
    ]
    fits += [f"{table.blob[0]} LIKE '{BLOB_PREFIX}%%'"] if table.blob else []
    key = ", ".join(table.key)
    behind = "true" if begins else f"({key}) > ({', '.join(['%s'] * len(table.key))})"
    columns = ", ".join([*table.key, *texts, *(table.blob or ())])
    return (
        f"SELECT {columns} FROM {table.name} WHERE {behind} AND ({' OR '.join(fits)})"
        f" ORDER BY {key} LIMIT %s"
    )


def _update(table: Table) -> str:
    sets = [f"{name} = %s::text::{_kind(table, name)}" for name in table.json]
    sets += [f"{name} = %s" for name in table.blob or ()]
    same = [f"{name} = %s" for name in table.key]
    same += [f"{name}::text IS NOT DISTINCT FROM %s::text" for name in table.json]
    same += [f"{name} = %s" for name in table.blob or ()]
    return f"UPDATE {table.name} SET {', '.join(sets)} WHERE {' AND '.join(same)}"


def _kind(table: Table, name: str) -> str:
    return "json" if (table.name, name) in _JSON else "jsonb"


def _row(table: Table, found: tuple[object, ...], columns: int) -> Row:
    size = len(table.key)
    key, json = found[:size], found[size : size + columns]
    texts = [None if text is None else str(text) for text in json]
    if table.blob is None:
        return Row(key, texts)
    kind, content = found[size + columns :]
    assert isinstance(content, bytes)
    return Row(key, texts, (str(kind), content))
