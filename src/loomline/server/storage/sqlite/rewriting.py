"""Encrypted rows of SQLite."""

from __future__ import annotations

from typing import Final

from loomline.server.storage.database_rewriter import RewritingForm
from loomline.server.storage.rewriting import KEYS, Layout, Table, tables

_CHECKPOINT = ("thread_id", "checkpoint_ns", "checkpoint_id")

_KEYS: Final = {
    **KEYS,
    "checkpoints": _CHECKPOINT,
    "checkpoint_blobs": ("thread_id", "checkpoint_ns", "channel", "version"),
    "checkpoint_writes": (*_CHECKPOINT, "task_id", "idx", "run_id"),
}


def _cast(_: Table, column: str) -> str:
    # Some columns hold JSON as bytes, others as text: each value keeps its type.
    kept = f"CASE typeof({column}) WHEN 'blob' THEN CAST(given AS BLOB) ELSE given END"
    return f"(SELECT {kept} FROM (SELECT ? AS given))"


REWRITING: Final = RewritingForm(
    tables=tables({name: Layout(name, key) for name, key in _KEYS.items()}), cast=_cast
)
