"""The rows that pruning deletes, and the rows that no checkpoint refers to."""

from __future__ import annotations

import sqlite3
from typing import Final

from loomline.server.storage.checkpoint_rows import needed
from loomline.server.storage.sqlite.checkpoint_keys import thread_key
from loomline.server.storage.sqlite.checkpoint_rows import load, namespaces
from loomline.server.storage.sqlite.pieces import Change

_CHECKPOINTS = """
    SELECT checkpoint_ns, checkpoint_id, length(content) + length(metadata) FROM checkpoints
    WHERE thread_id = ? ORDER BY checkpoint_id
"""
_DELETE_CHECKPOINT = """
    DELETE FROM checkpoints WHERE thread_id = ? AND checkpoint_ns = ? AND checkpoint_id = ?
"""
_RUNNING = "SELECT 1 FROM runs WHERE thread_id = ? AND status = 'running'"

_UNUSED_BLOBS = """
    SELECT thread_id, checkpoint_ns, channel, version, length(content) FROM checkpoint_blobs
    WHERE thread_id = :thread
      AND NOT EXISTS (SELECT 1 FROM runs WHERE thread_id = :thread_id AND status = 'running')
      AND (checkpoint_ns, channel, version) NOT IN (
        SELECT c.checkpoint_ns, v.key, CAST(v.value AS TEXT)
        FROM checkpoints c, json_each(c.content, '$.channel_versions') v
        WHERE c.thread_id = :thread)
"""
_DELETE_BLOB = """
    DELETE FROM checkpoint_blobs
    WHERE thread_id = ? AND checkpoint_ns = ? AND channel = ? AND version = ?
"""
_UNUSED_WRITES = """
    SELECT thread_id, checkpoint_ns, checkpoint_id, task_id, idx, run_id, length(content)
    FROM checkpoint_writes w
    WHERE thread_id = :thread
      AND NOT EXISTS (SELECT 1 FROM runs WHERE thread_id = :thread_id AND status = 'running')
      AND NOT EXISTS (
        SELECT 1 FROM checkpoints c
        WHERE c.thread_id = w.thread_id AND c.checkpoint_ns = w.checkpoint_ns
          AND c.checkpoint_id = w.checkpoint_id)
"""
_DELETE_WRITE = """
    DELETE FROM checkpoint_writes
    WHERE thread_id = ? AND checkpoint_ns = ? AND checkpoint_id = ? AND task_id = ? AND idx = ?
      AND run_id = ?
"""
_UNUSED_FACTS = """
    SELECT thread_id, facts_id, length(content) FROM checkpoint_facts
    WHERE thread_id = :thread
      AND NOT EXISTS (SELECT 1 FROM runs WHERE thread_id = :thread_id AND status = 'running')
      AND facts_id NOT IN (
        SELECT facts_id FROM checkpoints WHERE thread_id = :thread AND facts_id IS NOT NULL)
"""
_DELETE_FACTS = "DELETE FROM checkpoint_facts WHERE thread_id = ? AND facts_id = ?"
_UNUSED: Final = (
    (_UNUSED_BLOBS, _DELETE_BLOB),
    (_UNUSED_WRITES, _DELETE_WRITE),
    (_UNUSED_FACTS, _DELETE_FACTS),
)


def has_running_run(connection: sqlite3.Connection, thread_id: str) -> bool:
    return connection.execute(_RUNNING, (thread_id,)).fetchone() is not None


def older_checkpoints(connection: sqlite3.Connection, thread_id: str) -> list[Change]:
    """Return the deletions of the checkpoints that pruning does not keep, oldest first."""
    thread = thread_key(connection, thread_id)
    kept = {
        (namespace, thread.stored(checkpoint_id))
        for namespace in namespaces(connection, thread)
        for checkpoint_id in needed(load, connection, thread_id, namespace)
    }
    return [
        (_DELETE_CHECKPOINT, (thread.key, namespace, checkpoint_id), size)
        for namespace, checkpoint_id, size in connection.execute(_CHECKPOINTS, (thread.key,))
        if (namespace, checkpoint_id) not in kept
    ]


def unused_rows(connection: sqlite3.Connection, thread_id: str) -> list[Change]:
    """Return the deletions of the rows of a thread that no checkpoint refers to.

    The deletions stay right when a run begins later: it reads a checkpoint that exists, so it
    refers to values that are used, and to values that it writes itself.
    """
    given = {"thread": thread_key(connection, thread_id).key, "thread_id": thread_id}
    changes: list[Change] = []
    for select, delete in _UNUSED:
        found = connection.execute(select, given)
        changes += [(delete, tuple(key), size) for *key, size in found]
    return changes
