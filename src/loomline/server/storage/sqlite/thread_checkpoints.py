"""The checkpoints of a thread as a whole: copied with it, and weighed."""

from __future__ import annotations

import sqlite3
from typing import Final

from loomline.server.domain.threads import Size, ThreadSize
from loomline.server.storage.sqlite.checkpoint_keys import ThreadKey, copy_key, thread_key
from loomline.server.storage.sqlite.pieces import Change

# A copy names no run: what happens to the runs of the source does not concern it. Writes of several
# runs to one position stay apart all the same.
_METADATA = """
    iif(json_extract({0}, '$.thread_id') IS NULL, {0}, json_set({0}, '$.thread_id', new_id))
"""
_GIVEN = "(SELECT ? AS new_key, ? AS new_id) WHERE thread_id = ?"
_COPIES: Final = (
    f"""INSERT INTO checkpoint_facts (thread_id, facts_id, content)
        SELECT new_key, facts_id, {_METADATA.format("content")} FROM checkpoint_facts, {_GIVEN}""",
    f"""INSERT INTO checkpoints
            (thread_id, checkpoint_ns, checkpoint_id, parent_id, content, metadata, facts_id)
        SELECT new_key, checkpoint_ns, checkpoint_id, parent_id, content,
               {_METADATA.format("metadata")}, facts_id
        FROM checkpoints, {_GIVEN}""",
    f"""INSERT INTO checkpoint_blobs
            (thread_id, checkpoint_ns, channel, version, type, content)
        SELECT new_key, checkpoint_ns, channel, version, type, content
        FROM checkpoint_blobs, {_GIVEN}""",
    f"""INSERT INTO checkpoint_writes
            (thread_id, checkpoint_ns, checkpoint_id, task_id, idx, run_id, task_path, channel,
             type, content)
        SELECT new_key, checkpoint_ns, checkpoint_id, task_id, idx, run_id, task_path, channel,
               type, content
        FROM checkpoint_writes, {_GIVEN}""",
)
# The order of the writes is that of their rows, which decides between writes of several runs.
_ORDERED = " ORDER BY checkpoint_writes.rowid"
_KEYS: Final = (
    ("checkpoint_facts", "facts_id", "length(content)", ""),
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
_FACTS = """
    SELECT coalesce(sum(length(CAST(content AS BLOB))), 0) FROM checkpoint_facts WHERE thread_id = ?
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
    """Copy all checkpoints of a thread, with their values and writes, to a new thread."""
    given = _given(connection, source, copy_key(connection, source, target))
    for statement, (*_, order) in zip(_COPIES, _KEYS, strict=True):
        connection.execute(f"{statement}{order}", given)


def copies(connection: sqlite3.Connection, source: str, target: str) -> list[Change]:
    """Return the changes that do the same row by row.

    The target has its key already: ``copy_key`` is called when the copy begins.
    """
    changes: list[Change] = []
    given = _given(connection, source, thread_key(connection, target))
    for statement, (table, key, size, order) in zip(_COPIES, _KEYS, strict=True):
        marks = ", ".join("?" * (key.count(",") + 1))
        one = f"{statement} AND ({key}) = ({marks})"
        select = f"SELECT {size}, {key} FROM {table} WHERE thread_id = ?{order}"
        found = connection.execute(select, (thread_key(connection, source).key,))
        changes += [(one, (*given, *place), weight) for weight, *place in found]
    return changes


def _given(connection: sqlite3.Connection, source: str, target: ThreadKey) -> tuple[str, str, str]:
    return (target.key, target.thread_id, thread_key(connection, source).key)


def checkpoints_size(connection: sqlite3.Connection, thread_id: str) -> ThreadSize:
    """Return the number and the size of the checkpoints of a thread."""
    key = thread_key(connection, thread_id).key
    count, size = connection.execute(_CHECKPOINTS, (key,)).fetchone()
    (shared,) = connection.execute(_FACTS, (key,)).fetchone()
    writes = connection.execute(_WRITES, (key,)).fetchone()
    channels = connection.execute(_CHANNELS, {"thread": key})
    return ThreadSize(
        checkpoints=Size(count, size + shared),
        channels={channel: Size(count, size) for channel, count, size in channels},
        pending_writes=Size(*writes),
    )
