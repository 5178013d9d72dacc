"""Encrypted rows of PostgreSQL, changed in their places."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from loomline.server.storage.postgres.connection import Connection, Database
from loomline.server.storage.rewriting import KEYS, Key, Layout, Row, Table, tables
from loomline.server.storage.sealed_fields import Form
from loomline.server.storage.sealed_rows import SEALED_VALUES
from loomline.server.storage.sealing import BLOB_PREFIX, SEALED

_CHECKPOINT = ("thread_id", "checkpoint_ns", "checkpoint_id")
_WRITES = (*_CHECKPOINT, "task_id", "idx")
_BLOB = {"content": "blob"}

_LAYOUTS: Final = {
    **{name: Layout(f"loomline_{name}", key) for name, key in KEYS.items()},
    "checkpoints": Layout("checkpoints", _CHECKPOINT, {"content": "checkpoint"}),
    "checkpoint_blobs": Layout(
        "checkpoint_blobs", ("thread_id", "checkpoint_ns", "channel", "version"), _BLOB
    ),
    "checkpoint_writes": Layout("checkpoint_writes", _WRITES, _BLOB),
}

_TABLES: Final = (
    *tables(_LAYOUTS),
    Table("loomline_displaced_writes", (*_WRITES, "run_id"), blob=("type", "blob")),
)

# JSON that only passes through is json, which keeps its order and numbers. JSON that the database
# looks into is jsonb.
_JSON: Final = frozenset[Form]({"text", "request", "payload", "notice"})
_JSON_TABLES: Final = frozenset({"loomline_checkpoint_facts"})


class PostgresRewriter:
    """``Rewriter`` for PostgreSQL."""

    tables = _TABLES

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(self, table: Table, after: Key | None, limit: int) -> Sequence[Row]:
        statement = _select(table, begins=after is None)

        def work(connection: Connection) -> Sequence[Row]:
            found = connection.execute(statement, (*(after or ()), limit)).fetchall()
            return [table.row(row) for row in found]

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
    sets = [
        f"{name} = %s::text::{_kind(table, sealed.form)}" for name, sealed in table.json.items()
    ]
    sets += [f"{name} = %s" for name in table.blob or ()]
    same = [f"{name} = %s" for name in table.key]
    same += [f"{name}::text IS NOT DISTINCT FROM %s::text" for name in table.json]
    same += [f"{name} = %s" for name in table.blob or ()]
    return f"UPDATE {table.name} SET {', '.join(sets)} WHERE {' AND '.join(same)}"


def _kind(table: Table, form: Form) -> str:
    return "json" if form in _JSON or table.name in _JSON_TABLES else "jsonb"
