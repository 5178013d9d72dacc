"""The checkpoints of a thread as a whole: copied with it, and weighed."""

from __future__ import annotations

import sqlite3

from loomline.server.domain.threads import Size, ThreadSize
from loomline.server.storage.sqlite.pieces import Change

# No run is named: what becomes of the runs of the source is not the copy's concern. What several
# runs have written to one place stays apart all the same.
_COPIES = (
    """INSERT INTO checkpoints
           (thread_id, checkpoint_ns, checkpoint_id, parent_id, content, metadata)
       SELECT given, checkpoint_ns, checkpoint_id, parent_id, content,
              iif(json_extract(metadata, '$.thread_id') IS NULL, metadata,
                  json_set(metadata, '$.thread_id', given))
       FROM checkpoints, (SELECT ? AS given) WHERE thread_id = ?""",
    """INSERT INTO checkpoint_blobs
           (thread_id, checkpoint_ns, channel, version, type, content)
       SELECT ?, checkpoint_ns, channel, version, type, content
       FROM checkpoint_blobs WHERE thread_id = ?""",
    """INSERT INTO checkpoint_writes
           (thread_id, checkpoint_ns, checkpoint_id, task_id, idx, run_id, task_path, channel,
            type, content)
       SELECT ?, checkpoint_ns, checkpoint_id, task_id, idx, run_id, task_path, channel,
              type, content
       FROM checkpoint_writes WHERE thread_id = ?""",
)
# The order of the writes is that of their rows, which decides between writes of several runs.
_ORDERED = " ORDER BY rowid"
_KEYS = (
    ("checkpoints", "checkpoint_ns, checkpoint_id", "length(content) + length(metadata)", ""),
    ("checkpoint_blobs", "checkpoint_ns, channel, version", "length(content)", ""),
    (
        "checkpoint_writes",
        "checkpoint_ns, checkpoint_id, task_id, idx, run_id",
        "length(content)",
        _ORDERED,
    ),
)

# Without the values that stand in the checkpoints: those are counted with the channels.
_CHECKPOINTS = """
    SELECT count(*), coalesce(sum(
        length(CAST(content AS BLOB)) + length(CAST(metadata AS BLOB))
        - length(CAST(json_extract(content, '$.channel_values') AS BLOB))), 0)
    FROM checkpoints WHERE thread_id = ?
"""
_WRITES = """
    SELECT count(*), coalesce(sum(length(content)), 0) FROM checkpoint_writes WHERE thread_id = ?
"""
_CHANNELS = """
    SELECT channel, count(*), sum(bytes) FROM (
        SELECT channel, length(content) AS bytes FROM checkpoint_blobs WHERE thread_id = :thread
        UNION ALL
        SELECT channel, bytes FROM (
            SELECT DISTINCT c.checkpoint_ns, v.key AS channel, n.value AS version,
                   coalesce(length(CAST(v.value AS BLOB)), 0) AS bytes
            FROM checkpoints c, json_each(c.content, '$.channel_values') v,
                 json_each(c.content, '$.channel_versions') n
            WHERE c.thread_id = :thread AND n.key = v.key))
    GROUP BY channel ORDER BY channel
"""


def copy_checkpoints(connection: sqlite3.Connection, source: str, target: str) -> None:
    """Copy everything a thread has been through to another one that is new."""
    for statement, (*_, order) in zip(_COPIES, _KEYS, strict=True):
        connection.execute(f"{statement}{order}", (target, source))


def copies(connection: sqlite3.Connection, source: str, target: str) -> list[Change]:
    """Return the changes that do the same row by row."""
    changes: list[Change] = []
    for statement, (table, key, size, order) in zip(_COPIES, _KEYS, strict=True):
        marks = ", ".join("?" * (key.count(",") + 1))
        one = f"{statement} AND ({key}) = ({marks})"
        select = f"SELECT {size}, {key} FROM {table} WHERE thread_id = ?{order}"
        found = connection.execute(select, (source,))
        changes += [(one, (target, source, *place), weight) for weight, *place in found]
    return changes


def checkpoints_size(connection: sqlite3.Connection, thread_id: str) -> ThreadSize:
    """Return what the checkpoints of a thread take."""
    checkpoints = connection.execute(_CHECKPOINTS, (thread_id,)).fetchone()
    writes = connection.execute(_WRITES, (thread_id,)).fetchone()
    channels = connection.execute(_CHANNELS, {"thread": thread_id})
    return ThreadSize(
        checkpoints=Size(*checkpoints),
        channels={channel: Size(count, size) for channel, count, size in channels},
        pending_writes=Size(*writes),
    )
