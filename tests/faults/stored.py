"""Hold a database against itself: SQLite's own checks, and checkpoints whose values are there.

A channel that has ever been written keeps a value: in the checkpoint where it is small, otherwise
in the row of its version. Channels of langgraph's own (``branch:to:…``) and ``trail``, whose value
follows from the writes, legitimately have versions without one. ``__start__`` has one in the
checkpoint of an input and in no other.
"""

import contextlib
import shutil
import sqlite3
import tempfile
from pathlib import Path

import psycopg
from tests.faults.model import STORED_CHANNELS

_CHANNELS = sorted(STORED_CHANNELS)

_SQLITE_VALUES = """
    SELECT c.thread_id, c.checkpoint_ns, c.checkpoint_id, v.key || ' ' || v.value
    FROM checkpoints c CROSS JOIN json_each(c.content, '$.channel_versions') v
    WHERE c.checkpoint_id > :since
      AND (v.key IN (SELECT value FROM json_each(:channels))
           OR v.key = '__start__' AND json_extract(c.metadata, '$.source') = 'input')
      AND json_type(c.content, '$.channel_values."' || v.key || '"') IS NULL
      AND NOT EXISTS (
        SELECT 1 FROM checkpoint_blobs b
        WHERE b.thread_id = c.thread_id AND b.checkpoint_ns = c.checkpoint_ns
          AND b.channel = v.key AND b.version = CAST(v.value AS TEXT))
"""
_SQLITE_PARENTS = """
    SELECT c.thread_id, c.checkpoint_ns, c.checkpoint_id, c.parent_id
    FROM checkpoints c
    WHERE c.checkpoint_id > :since AND c.parent_id IS NOT NULL AND NOT EXISTS (
        SELECT 1 FROM checkpoints p
        WHERE p.thread_id = c.thread_id AND p.checkpoint_ns = c.checkpoint_ns
          AND p.checkpoint_id = c.parent_id)
"""
_POSTGRES_VALUES = """
    SELECT c.thread_id, c.checkpoint_ns, c.checkpoint_id, v.key || ' ' || v.value
    FROM checkpoints c CROSS JOIN jsonb_each_text(c.checkpoint -> 'channel_versions') v
    WHERE c.checkpoint_id > %(since)s
      AND (v.key = ANY(%(channels)s)
           OR v.key = '__start__' AND c.metadata ->> 'source' = 'input')
      AND NOT c.checkpoint -> 'channel_values' ? v.key
      AND NOT EXISTS (
        SELECT 1 FROM checkpoint_blobs b
        WHERE b.thread_id = c.thread_id AND b.checkpoint_ns = c.checkpoint_ns
          AND b.channel = v.key AND b.version = v.value AND b.type <> 'empty')
"""
_POSTGRES_PARENTS = """
    SELECT c.thread_id, c.checkpoint_ns, c.checkpoint_id, c.parent_checkpoint_id
    FROM checkpoints c
    WHERE c.checkpoint_id > %(since)s AND c.parent_checkpoint_id IS NOT NULL AND NOT EXISTS (
        SELECT 1 FROM checkpoints p
        WHERE p.thread_id = c.thread_id AND p.checkpoint_ns = c.checkpoint_ns
          AND p.checkpoint_id = c.parent_checkpoint_id)
"""
_NEWEST = "SELECT coalesce(max(checkpoint_id), '') FROM checkpoints"


def inspect_sqlite(path, since=""):
    """Return the damages of a database that no server has open, and its newest checkpoint.

    A copy is inspected: the next server finds the files exactly as the last one has left them.
    """
    if not path.exists():
        return [], ""
    with tempfile.TemporaryDirectory(prefix="loomline-faults-") as folder:
        for each in (path, path.with_name(f"{path.name}-wal")):
            if each.exists():
                shutil.copy(each, folder)
        with contextlib.closing(sqlite3.connect(Path(folder) / path.name)) as connection:
            return _faults_of_copy(connection, since)


def _faults_of_copy(connection, since):
    faults = [
        f"{pragma} says {row}"
        for pragma in ("integrity_check", "foreign_key_check")
        for row in connection.execute(f"PRAGMA {pragma}")
        if row != ("ok",)
    ]
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema")}
    if "checkpoints" not in tables:  # it was killed before it made its tables
        return faults, ""
    given = {"since": since, "channels": _as_json(_CHANNELS)}
    rows = [
        connection.execute(each, given).fetchall() for each in (_SQLITE_VALUES, _SQLITE_PARENTS)
    ]
    return faults + _sentences(*rows), connection.execute(_NEWEST).fetchone()[0]


def inspect_postgres(url, since=""):
    """Return the damages of a database, which servers may use, and its newest checkpoint."""
    with psycopg.connect(url) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        given = {"since": since, "channels": _CHANNELS}
        newest = connection.execute(_NEWEST).fetchone()[0]
        rows = [
            connection.execute(each, given).fetchall()
            for each in (_POSTGRES_VALUES, _POSTGRES_PARENTS)
        ]
    return _sentences(*rows), newest


def _as_json(names):
    return "[" + ", ".join(f'"{name}"' for name in names) + "]"


def _sentences(values, parents):
    return [
        f"checkpoint {checkpoint} of {thread}/{namespace} names a value that is missing: {value}"
        for thread, namespace, checkpoint, value in values
    ] + [
        f"checkpoint {checkpoint} of {thread}/{namespace} has a missing parent: {parent}"
        for thread, namespace, checkpoint, parent in parents
    ]
