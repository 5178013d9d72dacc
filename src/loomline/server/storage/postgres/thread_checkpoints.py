"""The checkpoints of a thread as a whole: copied with it, and weighed."""

from __future__ import annotations

from typing import Final

from loomline.server.domain.threads import ThreadSize
from loomline.server.storage.checkpoint_copies import Copied, CopiedTable, SizeStatements, forking
from loomline.server.storage.postgres.connection import Connection
from loomline.server.storage.postgres.dialect import DIALECT

_WRITES_COLUMNS = (
    "checkpoint_ns, checkpoint_id, task_id, idx, run_id, task_path, channel, type, blob"
)

TABLES: Final = (
    CopiedTable(
        "checkpoints",
        "checkpoint_ns, checkpoint_id, parent_checkpoint_id, run_id, type, checkpoint, metadata,"
        " facts_id",
        "metadata",
    ),
    CopiedTable("checkpoint_blobs", "checkpoint_ns, channel, version, type, blob"),
    CopiedTable("checkpoint_writes", _WRITES_COLUMNS),
    # Of displaced writes the order decides.
    CopiedTable("loomline_displaced_writes", _WRITES_COLUMNS, order=" ORDER BY seq"),
    CopiedTable("loomline_checkpoint_facts", "facts_id, run_id, content", "content"),
)
_RENAMED = """
    CASE WHEN {0}::jsonb ->> 'thread_id' IS NULL THEN {0}::jsonb
         ELSE {0}::jsonb || jsonb_build_object('thread_id', ?::text) END
"""

# Without the values that stand in the checkpoints: those are counted with the channels.
_CHECKPOINTS = """
    SELECT count(*), coalesce(sum(
        octet_length((checkpoint - 'channel_values')::text) + octet_length(metadata::text)), 0)
    FROM checkpoints WHERE thread_id = ?
"""
_FACTS = """
    SELECT coalesce(sum(octet_length(content::text)), 0) FROM loomline_checkpoint_facts
    WHERE thread_id = ?
"""
_WRITES = """
    SELECT count(*), coalesce(sum(octet_length(blob)), 0) FROM checkpoint_writes
    WHERE thread_id = ?
"""
_CHANNELS = """
    SELECT channel, count(*), sum(bytes) FROM (
        SELECT channel, octet_length(blob) AS bytes FROM checkpoint_blobs
        WHERE thread_id = ? AND type <> 'empty'
        UNION ALL
        SELECT channel, bytes FROM (
            SELECT DISTINCT c.checkpoint_ns, v.key AS channel,
                   c.checkpoint -> 'channel_versions' ->> v.key AS version,
                   octet_length(v.value::text) AS bytes
            FROM checkpoints c, jsonb_each(c.checkpoint -> 'channel_values') v
            WHERE c.thread_id = ? AND c.checkpoint -> 'channel_versions' -> v.key IS NOT NULL) i) b
    GROUP BY channel ORDER BY channel COLLATE "C"
"""
_SIZE: Final = SizeStatements(DIALECT, _CHECKPOINTS, _FACTS, _WRITES, _CHANNELS)


def copy_checkpoints(connection: Connection, source: str, target: str) -> None:
    """Copy everything a thread has been through to another one that is new."""
    for table in TABLES:
        statement, values = forking(table, Copied(source, target, target), _RENAMED)
        DIALECT.execute(connection, f"{statement}{table.order}", values)


def checkpoints_size(connection: Connection, thread_id: str) -> ThreadSize:
    """Return the number and the size of the checkpoints of a thread."""
    return _SIZE.size(connection, thread_id)
