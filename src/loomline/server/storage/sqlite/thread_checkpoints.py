"""The checkpoints of a thread as a whole: copied with it, and weighed."""

from __future__ import annotations

import sqlite3
from typing import Final

from loomline.server.domain.threads import ThreadSize
from loomline.server.storage.checkpoint_copies import Copied, CopiedTable, SizeStatements, forking
from loomline.server.storage.sqlite.checkpoint_keys import ThreadKey, copy_key, thread_key
from loomline.server.storage.sqlite.dialect import DIALECT
from loomline.server.storage.sqlite.pieces import Change

TABLES: Final = (
    CopiedTable(
        "checkpoints",
        "checkpoint_ns, checkpoint_id, parent_id, run_id, content, metadata, facts_id",
        "metadata",
    ),
    CopiedTable("checkpoint_blobs", "checkpoint_ns, channel, version, type, content"),
    # The order of the writes is that of their rows, which decides between writes of several runs.
    CopiedTable(
        "checkpoint_writes",
        "checkpoint_ns, checkpoint_id, task_id, idx, run_id, task_path, channel, type, content",
        order=" ORDER BY rowid",
    ),
    CopiedTable("checkpoint_facts", "facts_id, run_id, content", "content"),
)
_RENAMED = """
    iif(json_extract({0}, '$.thread_id') IS NULL, {0}, json_set({0}, '$.thread_id', ?))
"""
# The keys and the sizes of the rows of each table.
_KEYS: Final = (
    ("checkpoint_ns, checkpoint_id", "length(content) + length(metadata)"),
    ("checkpoint_ns, channel, version", "length(content)"),
    ("checkpoint_ns, checkpoint_id, task_id, idx, run_id", "length(content)"),
    ("facts_id", "length(content)"),
)

# Without the values that stand in the checkpoints: those are counted with the channels.
_CHECKPOINTS = """
    SELECT count(*), coalesce(sum(
        length(CAST(content AS BLOB)) + length(CAST(metadata AS BLOB))
        - length(CAST(json_extract(content, '$.channel_values') AS BLOB))), 0)
    FROM checkpoints WHERE thread_id = ?
"""
_FACTS = """
    SELECT coalesce(sum(length(CAST(content AS BLOB))), 0) FROM checkpoint_facts WHERE thread_id = ?
"""
_WRITES = """
    SELECT count(*), coalesce(sum(length(content)), 0) FROM checkpoint_writes WHERE thread_id = ?
"""
_CHANNELS = """
    SELECT channel, count(*), sum(bytes) FROM (
        SELECT channel, length(content) AS bytes FROM checkpoint_blobs WHERE thread_id = ?
        UNION ALL
        SELECT channel, bytes FROM (
            SELECT DISTINCT c.checkpoint_ns, v.key AS channel, n.value AS version,
                   coalesce(length(CAST(v.value AS BLOB)), 0) AS bytes
            FROM checkpoints c, json_each(c.content, '$.channel_values') v,
                 json_each(c.content, '$.channel_versions') n
            WHERE c.thread_id = ? AND n.key = v.key))
    GROUP BY channel ORDER BY channel
"""
_SIZE: Final = SizeStatements(DIALECT, _CHECKPOINTS, _FACTS, _WRITES, _CHANNELS)


def copy_checkpoints(connection: sqlite3.Connection, source: str, target: str) -> None:
    """Copy all checkpoints of a thread, with their values and writes, to a new thread."""
    copied = copied_to(connection, source, target)
    for table in TABLES:
        statement, values = forking(table, copied, _RENAMED)
        connection.execute(f"{statement}{table.order}", values)


def copied_to(connection: sqlite3.Connection, source: str, target: str) -> Copied:
    """Return the keys of a copy that begins in this transaction."""
    return _copied(connection, source, copy_key(connection, source, target))


def copies(connection: sqlite3.Connection, source: str, target: str) -> list[Change]:
    """Return the changes that do the same row by row.

    The target has its key already: ``copy_key`` is called when the copy begins.
    """
    changes: list[Change] = []
    copied = _copied(connection, source, thread_key(connection, target))
    for table, (key, size) in zip(TABLES, _KEYS, strict=True):
        statement, values = forking(table, copied, _RENAMED)
        marks = ", ".join("?" * (key.count(",") + 1))
        one = f"{statement} AND ({key}) = ({marks})"
        select = f"SELECT {size}, {key} FROM {table.name} WHERE thread_id = ?{table.order}"
        found = connection.execute(select, (copied.source,))
        changes += [(one, (*values, *place), weight) for weight, *place in found]
    return changes


def _copied(connection: sqlite3.Connection, source: str, target: ThreadKey) -> Copied:
    return Copied(thread_key(connection, source).key, target.key, target.thread_id)


def checkpoints_size(connection: sqlite3.Connection, thread_id: str) -> ThreadSize:
    """Return the number and the size of the checkpoints of a thread."""
    return _SIZE.size(connection, thread_key(connection, thread_id).key)
