"""Turns the rows of checkpoints into rows of a version without facts of runs."""

import sqlite3
from contextlib import closing

import orjson
import psycopg

from loomline.server.storage.sqlite.checkpoint_keys import thread_key, unpacked

_OLD_TABLE = """
    CREATE TABLE old (
        thread_id     TEXT NOT NULL,
        checkpoint_ns TEXT NOT NULL,
        checkpoint_id TEXT NOT NULL,
        parent_id     TEXT,
        run_id        TEXT,
        content       TEXT NOT NULL,
        metadata      TEXT NOT NULL,
        facts_id      INTEGER,
        PRIMARY KEY (thread_id, checkpoint_ns, checkpoint_id)
    ) WITHOUT ROWID
"""
_OLD_LAYOUT = (
    _OLD_TABLE,
    """INSERT INTO old SELECT thread_id, checkpoint_ns, checkpoint_id, parent_id, run_id, content,
              metadata, facts_id FROM checkpoints""",
    "DROP TABLE checkpoints",
    "ALTER TABLE old RENAME TO checkpoints",
    "CREATE INDEX checkpoints_of_run ON checkpoints (run_id) WHERE run_id IS NOT NULL",
    "CREATE INDEX leaves_of_thread ON thread_leaves (thread_id)",
)

_POSTGRES = (
    """UPDATE checkpoints c SET run_id = f.run_id, metadata = c.metadata || f.content::jsonb, facts_id = NULL
       FROM loomline_checkpoint_facts f
       WHERE f.thread_id = c.thread_id AND f.facts_id = c.facts_id""",
    "DELETE FROM loomline_checkpoint_facts",
)


def age_sqlite(path):
    """Rewrite the rows of a database, and give its tables the layout of that time."""
    with closing(sqlite3.connect(path)) as connection, connection:
        threads = connection.execute("SELECT thread_id FROM checkpoint_threads").fetchall()
        for (thread_id,) in threads:
            _age_thread(connection, thread_id, thread_key(connection, thread_id).key)
        connection.execute("DELETE FROM checkpoint_threads")
        connection.execute("DELETE FROM checkpoint_facts")
        for statement in _OLD_LAYOUT:
            connection.execute(statement)


def _age_thread(connection, thread_id, key):
    facts = {
        facts_id: (unpacked(run_id), orjson.loads(content))
        for facts_id, run_id, content in connection.execute(
            "SELECT facts_id, run_id, content FROM checkpoint_facts WHERE thread_id = ?", (key,)
        )
    }
    checkpoints = connection.execute(
        "SELECT rowid, checkpoint_id, parent_id, content, metadata, facts_id FROM checkpoints"
        " WHERE thread_id = ?",
        (key,),
    ).fetchall()
    for rowid, checkpoint_id, parent_id, content, metadata, facts_id in checkpoints:
        run_id, shared = facts.get(facts_id, (None, {}))
        whole = orjson.dumps({**orjson.loads(metadata), **shared}).decode()
        named = orjson.dumps({**orjson.loads(content), "id": unpacked(checkpoint_id)}).decode()
        connection.execute(
            "UPDATE checkpoints SET checkpoint_id = ?, parent_id = ?, content = ?, metadata = ?,"
            " run_id = ?, facts_id = NULL WHERE rowid = ?",
            (unpacked(checkpoint_id), unpacked(parent_id), named, whole, run_id, rowid),
        )
    writes = connection.execute(
        "SELECT checkpoint_id, task_id, run_id, rowid FROM checkpoint_writes WHERE thread_id = ?",
        (key,),
    ).fetchall()
    for *ids, rowid in writes:
        connection.execute(
            "UPDATE checkpoint_writes SET checkpoint_id = ?, task_id = ?, run_id = ?"
            " WHERE rowid = ?",
            (*map(unpacked, ids), rowid),
        )
    for table in ("checkpoints", "checkpoint_blobs", "checkpoint_writes"):
        connection.execute(
            f"UPDATE {table} SET thread_id = ? WHERE thread_id = ?", (thread_id, key)
        )


def age_postgres(url):
    """Rewrite the rows of a database."""
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in _POSTGRES:
            connection.execute(statement)
