"""Encrypted rows of PostgreSQL."""

from __future__ import annotations

from typing import Final

from loomline.server.storage.database_rewriter import RewritingForm
from loomline.server.storage.rewriting import KEYS, Layout, Table, tables
from loomline.server.storage.sealed_fields import Form

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

# JSON that only passes through is json, which keeps its order and numbers. JSON that the database
# looks into is jsonb.
_JSON: Final = frozenset[Form]({"text", "request", "payload", "notice"})
_JSON_TABLES: Final = frozenset({"loomline_checkpoint_facts"})


def _cast(table: Table, column: str) -> str:
    kept = table.json[column].form in _JSON or table.name in _JSON_TABLES
    return "?::text::json" if kept else "?::text::jsonb"


REWRITING: Final = RewritingForm(
    tables=(
        *tables(_LAYOUTS),
        Table("loomline_displaced_writes", (*_WRITES, "run_id"), blob=("type", "blob")),
    ),
    cast=_cast,
)
