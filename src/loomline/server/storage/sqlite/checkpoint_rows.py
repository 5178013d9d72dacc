"""Rows of checkpoints: how they are written, read, copied and removed."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from typing import TypeAlias

import orjson

from loomline.server.storage.checkpoints import Place, Range, Rows, Stored, matches, rebuilt_from
from loomline.server.storage.sqlite.pieces import Room, begin_tidying

_PUT = """
    INSERT OR REPLACE INTO checkpoints
        (thread_id, checkpoint_ns, checkpoint_id, parent_id, run_id, content, metadata)
    VALUES (?, ?, ?, ?, ?, ?, ?)
"""
_BLOB = """
    INSERT OR IGNORE INTO checkpoint_blobs
        (thread_id, checkpoint_ns, channel, version, type, content)
    VALUES (?, ?, ?, ?, ?, ?)
"""
_WRITE = """
    INSERT OR {} INTO checkpoint_writes
        (thread_id, checkpoint_ns, checkpoint_id, task_id, idx, run_id, task_path, channel, type,
         content)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_WRITE_NEW = _WRITE.format("IGNORE")
_WRITE_OVER = _WRITE.format("REPLACE")

_FIELDS = "thread_id, checkpoint_ns, checkpoint_id, parent_id, content, metadata"
# Of a thread that is deleted, or that is not copied yet, no checkpoint exists for readers.
_VISIBLE = """
    NOT EXISTS (SELECT 1 FROM upkeep u
                WHERE u.thread_id = checkpoints.thread_id AND u.work IN ('remove', 'copy'))
"""
_GET = f"""
    SELECT {_FIELDS} FROM checkpoints
    WHERE thread_id = ? AND checkpoint_ns = ? AND checkpoint_id = ? AND {_VISIBLE}
"""
_LATEST = f"""
    SELECT {_FIELDS} FROM checkpoints WHERE thread_id = ? AND checkpoint_ns = ? AND {_VISIBLE}
    ORDER BY checkpoint_id DESC LIMIT 1
"""
# CROSS JOIN: the versions come first. The other way round reads every blob of the thread.
_BLOBS = """
    SELECT b.channel, b.type, b.content
    FROM json_each(?, '$.channel_versions') v CROSS JOIN checkpoint_blobs b
      ON b.thread_id = ? AND b.checkpoint_ns = ? AND b.channel = v.key
         AND b.version = CAST(v.value AS TEXT)
"""
# An index has all that is read here, so no value is.
_BLOB_NAMES = _BLOBS.replace("b.channel, b.type, b.content", "b.channel, '', x''")
_WRITES = """
    SELECT task_id, idx, channel, type, content FROM checkpoint_writes
    WHERE thread_id = ? AND checkpoint_ns = ? AND checkpoint_id = ?
    ORDER BY task_path, task_id, idx, rowid
"""
# Only what is asked for stands in the statement: with "or is null" no index would be used.
_CONDITIONS = {
    "thread_id": "thread_id = :thread_id",
    "checkpoint_ns": "checkpoint_ns = :checkpoint_ns",
    "checkpoint_id": "checkpoint_id = :checkpoint_id",
    "before": "checkpoint_id < :before",
}
_AFTER = "(checkpoint_id, thread_id, checkpoint_ns) < (:last_id, :last_thread_id, :last_ns)"
_PAGE = f"""
    SELECT {_FIELDS} FROM checkpoints WHERE {{}}
    ORDER BY checkpoint_id DESC, thread_id DESC, checkpoint_ns DESC LIMIT :limit
"""

_TABLES = ("checkpoints", "checkpoint_blobs", "checkpoint_writes")

_WRITES_OF_RUN = """
    DELETE FROM checkpoint_writes WHERE (thread_id, checkpoint_ns, checkpoint_id) IN (
        SELECT thread_id, checkpoint_ns, checkpoint_id FROM checkpoints WHERE run_id = ?)
"""
_CHECKPOINTS_OF_RUN = "DELETE FROM checkpoints WHERE run_id = ?"
_WRITES_BY_RUN = "DELETE FROM checkpoint_writes WHERE thread_id = ? AND run_id = ?"
# There may be many writes on the run's own checkpoints, and their rows are deleted before.
_VISIBLE_WRITES_BY_RUN = """
    DELETE FROM checkpoint_writes
    WHERE thread_id = ? AND run_id = ? AND EXISTS (
        SELECT 1 FROM checkpoints c
        WHERE c.thread_id = checkpoint_writes.thread_id
          AND c.checkpoint_ns = checkpoint_writes.checkpoint_ns
          AND c.checkpoint_id = checkpoint_writes.checkpoint_id)
"""
# Never while a run of the thread is executed: its next checkpoint refers to the values that it has
# read, although no checkpoint in the database may do so any more. A later deletion removes them.
_UNUSED_BLOBS = """
    DELETE FROM checkpoint_blobs
    WHERE thread_id = :thread
      AND NOT EXISTS (SELECT 1 FROM runs WHERE thread_id = :thread AND status = 'running')
      AND (checkpoint_ns, channel, version) NOT IN (
        SELECT c.checkpoint_ns, v.key, CAST(v.value AS TEXT)
        FROM checkpoints c, json_each(c.content, '$.channel_versions') v
        WHERE c.thread_id = :thread)
"""
_COPIES = (
    """INSERT INTO checkpoints
       SELECT ?, checkpoint_ns, checkpoint_id, parent_id, run_id, content, metadata
       FROM checkpoints WHERE thread_id = ?""",
    """INSERT INTO checkpoint_blobs SELECT ?, checkpoint_ns, channel, version, type, content
       FROM checkpoint_blobs WHERE thread_id = ?""",
    """INSERT INTO checkpoint_writes
       SELECT ?, checkpoint_ns, checkpoint_id, task_id, idx, run_id, task_path, channel, type,
              content
       FROM checkpoint_writes WHERE thread_id = ?""",
)


_Head: TypeAlias = tuple[str, str, str, str | None, str, str]
_Write: TypeAlias = tuple[str, int, str, str, bytes]


def write_rows(connection: sqlite3.Connection, rows: Rows) -> None:
    for statement, each in (
        (_BLOB, rows.blobs),
        (_PUT, rows.checkpoints),
        (_WRITE_NEW, rows.new_writes),
        (_WRITE_OVER, rows.over_writes),
    ):
        if each:
            connection.executemany(statement, each)


def load(
    connection: sqlite3.Connection, thread_id: str, checkpoint_ns: str, checkpoint_id: str | None
) -> Stored | None:
    """Return a checkpoint, or (None) the latest of its namespace."""
    if checkpoint_id is None:
        row = connection.execute(_LATEST, (thread_id, checkpoint_ns)).fetchone()
    else:
        row = connection.execute(_GET, (thread_id, checkpoint_ns, checkpoint_id)).fetchone()
    return None if row is None else _complete(connection, row)


def page(
    connection: sqlite3.Connection,
    where: Range,
    wanted: Mapping[str, object],
    after: Place | None,
    *,
    limit: int,
    most: int,
) -> tuple[list[Stored], Place | None]:
    """Look through checkpoints, newest first, as ``Statements`` says."""
    statement, parameters = _page_statement(where, after)
    found: list[Stored] = []
    last, looked = after, 0
    for row in connection.execute(statement, {**parameters, "limit": limit}):
        last, looked = (row[0], row[1], row[2]), looked + 1
        if matches(row[5], wanted):
            found.append(_head(connection, row) if where.heads else _complete(connection, row))
        if len(found) == most:
            return found, last
    return found, last if looked == limit else None


def _page_statement(where: Range, after: Place | None) -> tuple[str, dict[str, str]]:
    parameters: dict[str, str] = {}
    conditions = [_VISIBLE]
    for name, condition in _CONDITIONS.items():
        value: str | None = getattr(where, name)
        if value is not None:
            parameters[name] = value
            conditions.append(condition)
    if after is not None:
        parameters["last_thread_id"], parameters["last_ns"], parameters["last_id"] = after
        conditions.append(_AFTER)
    return _PAGE.format(" AND ".join(conditions)), parameters


def _complete(connection: sqlite3.Connection, row: _Head) -> Stored:
    thread_id, checkpoint_ns, checkpoint_id, _, content, _ = row
    blobs = connection.execute(_BLOBS, (content, thread_id, checkpoint_ns)).fetchall()
    key = (thread_id, checkpoint_ns, checkpoint_id)
    return Stored(*row, blobs=blobs, writes=_valid(connection.execute(_WRITES, key)))


def _head(connection: sqlite3.Connection, row: _Head) -> Stored:
    thread_id, checkpoint_ns, _, _, content, _ = row
    blobs = connection.execute(_BLOB_NAMES, (content, thread_id, checkpoint_ns)).fetchall()
    return Stored(*row, blobs=blobs, writes=[])


def _valid(rows: Iterable[_Write]) -> list[tuple[str, str, str, bytes]]:
    """Return the writes that count where several runs have written to the same place.

    Of results the first counts, of marks such as an interrupt the last, as within one run.
    """
    writes: dict[tuple[str, int], tuple[str, str, str, bytes]] = {}
    for task_id, idx, channel, kind, content in rows:
        if idx < 0 or (task_id, idx) not in writes:
            writes[task_id, idx] = (task_id, channel, kind, content)
    return list(writes.values())


def delete_thread_checkpoints(connection: sqlite3.Connection, thread_id: str) -> None:
    for table in _TABLES:
        connection.execute(f"DELETE FROM {table} WHERE thread_id = ?", (thread_id,))


def delete_run_checkpoints(connection: sqlite3.Connection, run_id: str, thread_id: str) -> None:
    """Delete the checkpoints of a run, and its writes on checkpoints of other runs.

    The values and writes that no checkpoint refers to afterwards are invisible. On a large thread
    they are deleted in pieces later.
    """
    small = Room().fits(connection, thread_id)
    if small:
        connection.execute(_WRITES_OF_RUN, (run_id,))
    deleted = connection.execute(_CHECKPOINTS_OF_RUN, (run_id,)).rowcount
    writes = _WRITES_BY_RUN if small else _VISIBLE_WRITES_BY_RUN
    connection.execute(writes, (thread_id, run_id))
    if deleted and small:
        connection.execute(_UNUSED_BLOBS, {"thread": thread_id})
    elif deleted:
        begin_tidying(connection, thread_id)


def _threads_of_run(connection: sqlite3.Connection, run_id: str) -> list[str]:
    rows = connection.execute(
        "SELECT DISTINCT thread_id FROM checkpoints WHERE run_id = ?", (run_id,)
    )
    return [thread_id for (thread_id,) in rows]


def copy_thread_checkpoints(connection: sqlite3.Connection, source: str, target: str) -> None:
    for statement in _COPIES:
        connection.execute(statement, (target, source))


def keep_latest_checkpoints(connection: sqlite3.Connection, thread_id: str) -> None:
    """Delete all but the latest checkpoint of each namespace, and what it is rebuilt from."""
    rows = connection.execute(
        "SELECT DISTINCT checkpoint_ns FROM checkpoints WHERE thread_id = ?", (thread_id,)
    ).fetchall()
    for (checkpoint_ns,) in rows:
        kept = needed(connection, thread_id, checkpoint_ns)
        for table in ("checkpoint_writes", "checkpoints"):
            connection.execute(
                f"""DELETE FROM {table} WHERE thread_id = ? AND checkpoint_ns = ?
                    AND checkpoint_id NOT IN (SELECT value FROM json_each(?))""",
                (thread_id, checkpoint_ns, orjson.dumps(kept).decode()),
            )
    connection.execute(_UNUSED_BLOBS, {"thread": thread_id})


def needed(connection: sqlite3.Connection, thread_id: str, checkpoint_ns: str) -> list[str]:
    """Return the ids of the latest checkpoint of a namespace and of those it is rebuilt from."""
    latest = load(connection, thread_id, checkpoint_ns, None)
    assert latest is not None
    return rebuilt_from(latest, lambda each: load(connection, thread_id, checkpoint_ns, each))


class SqliteCheckpoints:
    """The acts above, as ``Statements``."""

    def load(
        self,
        connection: sqlite3.Connection,
        thread_id: str,
        checkpoint_ns: str,
        checkpoint_id: str | None,
    ) -> Stored | None:
        return load(connection, thread_id, checkpoint_ns, checkpoint_id)

    def page(
        self,
        connection: sqlite3.Connection,
        where: Range,
        wanted: Mapping[str, object],
        after: Place | None,
        *,
        limit: int,
        most: int,
    ) -> tuple[list[Stored], Place | None]:
        return page(connection, where, wanted, after, limit=limit, most=most)

    def delete_thread(self, connection: sqlite3.Connection, thread_id: str) -> None:
        delete_thread_checkpoints(connection, thread_id)

    def copy_thread(self, connection: sqlite3.Connection, source: str, target: str) -> None:
        copy_thread_checkpoints(connection, source, target)

    def keep_latest(self, connection: sqlite3.Connection, thread_id: str) -> None:
        keep_latest_checkpoints(connection, thread_id)

    def delete_run(self, connection: sqlite3.Connection, run_id: str) -> None:
        for thread_id in _threads_of_run(connection, run_id):
            delete_run_checkpoints(connection, run_id, thread_id)
