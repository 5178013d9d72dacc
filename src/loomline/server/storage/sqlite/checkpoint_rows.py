"""Rows of checkpoints: how they are written, read, copied and removed."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import orjson

from loomline.server.storage.checkpoint_copies import copying
from loomline.server.storage.checkpoint_rows import needed, valid_writes
from loomline.server.storage.checkpoints import (
    BlobRow,
    FactsRow,
    Place,
    PutRow,
    Range,
    Rows,
    Stored,
    StoredBlob,
    StoredWrite,
    WriteRow,
    matches,
    static,
)
from loomline.server.storage.sqlite.checkpoint_keys import (
    ThreadKey,
    forget_key,
    new_thread_key,
    packed,
    thread_key,
    thread_of_key,
    unpacked,
)
from loomline.server.storage.sqlite.pieces import Room, begin_tidying
from loomline.server.storage.sqlite.thread_checkpoints import TABLES, copied_to

_FACTS = """
    INSERT OR IGNORE INTO checkpoint_facts (thread_id, facts_id, run_id, content)
    VALUES (?, ?, ?, ?)
"""
_PUT = """
    INSERT OR REPLACE INTO checkpoints
        (thread_id, checkpoint_ns, checkpoint_id, parent_id, facts_id, content, metadata)
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

_SELECT = """
    SELECT c.thread_id, c.checkpoint_ns, c.checkpoint_id, c.parent_id, c.content, c.metadata,
           (SELECT f.content FROM checkpoint_facts f
            WHERE f.thread_id = c.thread_id AND f.facts_id = c.facts_id)
    FROM checkpoints c
"""
# Readers find no checkpoint of a thread that is deleted, or that is not copied yet.
_HIDDEN = "SELECT 1 FROM upkeep WHERE thread_id = ? AND work IN ('remove', 'copy')"
_GET = f"{_SELECT} WHERE c.thread_id = ? AND c.checkpoint_ns = ? AND c.checkpoint_id = ?"
_LATEST = f"""
    {_SELECT} WHERE c.thread_id = ? AND c.checkpoint_ns = ? ORDER BY c.checkpoint_id DESC LIMIT 1
"""
_NEWEST = "SELECT max(checkpoint_id) FROM checkpoints WHERE thread_id = ? AND checkpoint_ns = ?"
# CROSS JOIN: the versions come first. The other way round reads every blob of the thread.
_BLOBS = """
    SELECT b.channel, b.type, b.content
    FROM json_each(?, '$.channel_versions') v CROSS JOIN checkpoint_blobs b
      ON b.thread_id = ? AND b.checkpoint_ns = ? AND b.channel = v.key
         AND b.version = CAST(v.value AS TEXT)
"""
# The index has all these columns, so no value is read.
_BLOB_NAMES = _BLOBS.replace("b.channel, b.type, b.content", "b.channel, '', x''")
_WRITES = """
    SELECT task_id, idx, channel, type, content FROM checkpoint_writes
    WHERE thread_id = ? AND checkpoint_ns = ? AND checkpoint_id = ?
    ORDER BY task_path, task_id, idx, rowid
"""
# The statement has only the conditions that are given: with "or is null" it would use no index.
_CONDITIONS = {
    "thread_id": "c.thread_id = :thread_id",
    "checkpoint_ns": "c.checkpoint_ns = :checkpoint_ns",
    "checkpoint_id": "c.checkpoint_id IN (:checkpoint_id, :checkpoint_id_packed)",
    "before": """CASE typeof(c.checkpoint_id) WHEN 'blob' THEN c.checkpoint_id < :before_packed
                 ELSE c.checkpoint_id < :before END""",
}
_AFTER = "(c.checkpoint_id, c.thread_id, c.checkpoint_ns) < (:last_id, :last_thread, :last_ns)"
_PAGE = f"""
    {_SELECT} WHERE {{}}
    ORDER BY c.checkpoint_id DESC, c.thread_id DESC, c.checkpoint_ns DESC LIMIT :limit
"""

# Checkpoints of older versions name their run; the facts of the others do.
_OF_RUN = """
    (run_id = :run OR facts_id IN (
        SELECT f.facts_id FROM checkpoint_facts f
        WHERE f.thread_id = :thread AND f.run_id = :stored))
"""
_WRITES_OF_RUN = f"""
    DELETE FROM checkpoint_writes WHERE thread_id = :thread AND (checkpoint_ns, checkpoint_id) IN (
        SELECT checkpoint_ns, checkpoint_id FROM checkpoints
        WHERE thread_id = :thread AND {_OF_RUN})
"""
_CHECKPOINTS_OF_RUN = f"DELETE FROM checkpoints WHERE thread_id = :thread AND {_OF_RUN}"
_FACTS_OF_RUN = "DELETE FROM checkpoint_facts WHERE thread_id = :thread AND run_id = :stored"
_WRITES_BY_RUN = "DELETE FROM checkpoint_writes WHERE thread_id = :thread AND run_id = :stored"
# The writes on the run's own checkpoints, whose rows are deleted before, may be many.
_VISIBLE_WRITES_BY_RUN = """
    DELETE FROM checkpoint_writes
    WHERE thread_id = :thread AND run_id = :stored AND EXISTS (
        SELECT 1 FROM checkpoints c
        WHERE c.thread_id = checkpoint_writes.thread_id
          AND c.checkpoint_ns = checkpoint_writes.checkpoint_ns
          AND c.checkpoint_id = checkpoint_writes.checkpoint_id)
"""
# Never while a run of the thread is executed: its next checkpoint refers to the values that it has
# read and to the facts that it has written, although no checkpoint in the database may do so any
# more. A later deletion removes them.
_NOT_RUNNING = """
    NOT EXISTS (SELECT 1 FROM runs WHERE thread_id = :thread_id AND status = 'running')
"""
_UNUSED_BLOBS = f"""
    DELETE FROM checkpoint_blobs
    WHERE thread_id = :thread AND {_NOT_RUNNING}
      AND (checkpoint_ns, channel, version) NOT IN (
        SELECT c.checkpoint_ns, v.key, CAST(v.value AS TEXT)
        FROM checkpoints c, json_each(c.content, '$.channel_versions') v
        WHERE c.thread_id = :thread)
"""
_UNUSED_FACTS = f"""
    DELETE FROM checkpoint_facts
    WHERE thread_id = :thread AND {_NOT_RUNNING}
      AND facts_id NOT IN (
        SELECT facts_id FROM checkpoints WHERE thread_id = :thread AND facts_id IS NOT NULL)
"""
# In hexadecimal, since JSON has no bytes.
_ALL_BUT = """
    DELETE FROM {} WHERE thread_id = :thread AND checkpoint_ns = :namespace
      AND hex(checkpoint_id) NOT IN (SELECT value FROM json_each(:kept))
"""
_THREADS_OF_RUN = """
    SELECT thread_id FROM checkpoints WHERE run_id = :run
    UNION SELECT thread_id FROM checkpoint_facts WHERE run_id IN (:run, :packed)
"""


class _Head(NamedTuple):
    """A row of ``_SELECT``."""

    thread_key: str
    checkpoint_ns: str
    checkpoint_id: str | bytes
    parent_id: str | bytes | None
    content: str
    metadata: str
    facts: str | None


class _Write(NamedTuple):
    """A row of ``_WRITES``."""

    task_id: str | bytes
    idx: int
    channel: str
    kind: str
    content: bytes


class _Keys(dict[str, ThreadKey]):
    """The keys of the threads that rows are written for, by thread."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        super().__init__()
        self._connection = connection
        self._packed = _Packed()

    def __missing__(self, thread_id: str) -> ThreadKey:
        found = self[thread_id] = new_thread_key(self._connection, thread_id)
        return found

    def ids(self, thread: ThreadKey) -> Callable[[str], str | bytes]:
        """Return the function that gives ids of a thread as its rows have them."""
        return self._packed.__getitem__ if thread.is_short else str


class _Packed(dict[str, str | bytes]):
    """Ids as they are stored. The rows of a batch name the same few ids several times."""

    def __missing__(self, value: str) -> str | bytes:
        found = self[value] = packed(value)
        return found


def write_rows(connection: sqlite3.Connection, rows: Rows) -> None:
    """Write rows in the caller's transaction."""
    keys = _Keys(connection)
    for statement, each in (
        (_FACTS, [_stored_facts(keys, row) for row in rows.facts]),
        (_BLOB, [_stored_blob(keys, row) for row in rows.blobs]),
        (_PUT, [_stored_checkpoint(keys, row) for row in rows.checkpoints]),
        (_WRITE_NEW, [_stored_write(keys, row) for row in rows.new_writes]),
        (_WRITE_OVER, [_stored_write(keys, row) for row in rows.over_writes]),
    ):
        if each:
            connection.executemany(statement, each)


def _stored_facts(keys: _Keys, row: FactsRow) -> Sequence[object]:
    thread = keys[row.thread_id]
    return (thread.key, row.facts_id, thread.stored(row.run_id), row.content)


def _stored_blob(keys: _Keys, row: BlobRow) -> Sequence[object]:
    _, *rest = row
    return (keys[row.thread_id].key, *rest)


def _stored_checkpoint(keys: _Keys, row: PutRow) -> Sequence[object]:
    thread_id, checkpoint_ns, checkpoint_id, parent_id, *rest = row
    thread = keys[thread_id]
    stored = keys.ids(thread)
    parent = None if parent_id is None else stored(parent_id)
    return (thread.key, checkpoint_ns, stored(checkpoint_id), parent, *rest)


def _stored_write(keys: _Keys, row: WriteRow) -> Sequence[object]:
    thread_id, checkpoint_ns, checkpoint_id, task_id, idx, run_id, *rest = row
    thread = keys[thread_id]
    stored = keys.ids(thread)
    ids = (stored(checkpoint_id), stored(task_id), idx, stored(run_id))
    return (thread.key, checkpoint_ns, *ids, *rest)


def load(
    connection: sqlite3.Connection, thread_id: str, checkpoint_ns: str, checkpoint_id: str | None
) -> Stored | None:
    """Return a checkpoint, or (None) the latest of its namespace."""
    thread = thread_key(connection, thread_id)
    if checkpoint_id is None:
        row = connection.execute(_LATEST, (thread.key, checkpoint_ns)).fetchone()
    else:
        place = (thread.key, checkpoint_ns, thread.stored(checkpoint_id))
        row = connection.execute(_GET, place).fetchone()
    if row is None or _is_hidden(connection, thread_id):
        return None
    return _complete(connection, thread, _Head(*row))


def newest_checkpoint(
    connection: sqlite3.Connection, thread_id: str, checkpoint_ns: str
) -> str | None:
    """Return the id of the newest checkpoint of a namespace."""
    key = thread_key(connection, thread_id).key
    found: str | bytes | None
    (found,) = connection.execute(_NEWEST, (key, checkpoint_ns)).fetchone()
    return unpacked(found)


def page(
    connection: sqlite3.Connection,
    where: Range,
    wanted: Mapping[str, object],
    after: Place | None,
    *,
    limit: int,
    most: int,
) -> tuple[list[Stored], Place | None]:
    """Search checkpoints, newest first, as ``Statements`` says."""
    if where.thread_id is not None and _is_hidden(connection, where.thread_id):
        return [], None
    statement, parameters = _page_statement(connection, where, after)
    found: list[Stored] = []
    last, looked = after, 0
    for row in connection.execute(statement, {**parameters, "limit": limit}):
        head = _Head(*row)
        last, looked = (head.thread_key, head.checkpoint_ns, head.checkpoint_id), looked + 1
        if matches(head.metadata, head.facts, wanted):
            found += _found(connection, where, head)
        if len(found) == most:
            return found, last
    return found, last if looked == limit else None


def _found(connection: sqlite3.Connection, where: Range, head: _Head) -> list[Stored]:
    """Return the checkpoint of a listing, or nothing if its thread is hidden."""
    thread = thread_of_key(connection, head.thread_key)
    if where.thread_id is None and _is_hidden(connection, thread.thread_id):
        return []
    read = _named if where.heads else _complete
    return [read(connection, thread, head)]


def _is_hidden(connection: sqlite3.Connection, thread_id: str) -> bool:
    return connection.execute(_HIDDEN, (thread_id,)).fetchone() is not None


def _page_statement(
    connection: sqlite3.Connection, where: Range, after: Place | None
) -> tuple[str, dict[str, object]]:
    parameters: dict[str, object] = {}
    conditions = ["TRUE"]
    for name, condition in _CONDITIONS.items():
        value: str | None = getattr(where, name)
        if value is not None:
            parameters |= {name: value, f"{name}_packed": packed(value)}
            conditions.append(condition)
    if where.thread_id is not None:
        parameters["thread_id"] = thread_key(connection, where.thread_id).key
    if after is not None:
        parameters["last_thread"], parameters["last_ns"], parameters["last_id"] = after
        conditions.append(_AFTER)
    return _PAGE.format(" AND ".join(conditions)), parameters


def _complete(connection: sqlite3.Connection, thread: ThreadKey, head: _Head) -> Stored:
    place = (thread.key, head.checkpoint_ns)
    blobs = connection.execute(_BLOBS, (head.content, *place))
    writes = connection.execute(_WRITES, (*place, head.checkpoint_id))
    return _stored(thread, head, blobs, valid_writes(map(_Write._make, writes), _write))


def _named(connection: sqlite3.Connection, thread: ThreadKey, head: _Head) -> Stored:
    """Return a checkpoint with the names of its channels, and without their values."""
    names = connection.execute(_BLOB_NAMES, (head.content, thread.key, head.checkpoint_ns))
    return _stored(thread, head, names, [])


def _stored(
    thread: ThreadKey, head: _Head, blobs: sqlite3.Cursor, writes: Sequence[StoredWrite]
) -> Stored:
    return Stored(
        thread_id=thread.thread_id,
        checkpoint_ns=head.checkpoint_ns,
        checkpoint_id=unpacked(head.checkpoint_id),
        parent_id=unpacked(head.parent_id),
        content=head.content,
        metadata=head.metadata,
        facts=head.facts,
        blobs=[StoredBlob(*row) for row in blobs],
        writes=writes,
    )


def _write(row: _Write) -> StoredWrite:
    return StoredWrite(unpacked(row.task_id), row.channel, row.kind, row.content)


def delete_thread_checkpoints(connection: sqlite3.Connection, thread_id: str) -> None:
    key = thread_key(connection, thread_id).key
    for table in TABLES:
        connection.execute(f"DELETE FROM {table.name} WHERE thread_id = ?", (key,))
    forget_key(connection, thread_id)


def delete_run_checkpoints(connection: sqlite3.Connection, run_id: str, thread_id: str) -> None:
    """Delete the checkpoints of a run, and its writes on checkpoints of other runs.

    The values and writes that no checkpoint refers to afterwards are invisible. On a large thread
    they are deleted in pieces later.
    """
    thread = thread_key(connection, thread_id)
    given = {"thread": thread.key, "run": run_id, "stored": thread.stored(run_id)}
    small = Room().fits(connection, thread_id)
    if small:
        connection.execute(_WRITES_OF_RUN, given)
    deleted = connection.execute(_CHECKPOINTS_OF_RUN, given).rowcount
    connection.execute(_WRITES_BY_RUN if small else _VISIBLE_WRITES_BY_RUN, given)
    connection.execute(_FACTS_OF_RUN, given)
    if deleted and small:
        connection.execute(_UNUSED_BLOBS, {"thread": thread.key, "thread_id": thread_id})
    elif deleted:
        begin_tidying(connection, thread_id)


def _threads_of_run(connection: sqlite3.Connection, run_id: str) -> list[str]:
    rows = connection.execute(_THREADS_OF_RUN, {"run": run_id, "packed": packed(run_id)}).fetchall()
    return [thread_of_key(connection, key).thread_id for (key,) in rows]


def copy_thread_checkpoints(connection: sqlite3.Connection, source: str, target: str) -> None:
    copied = copied_to(connection, source, target)
    for table in TABLES:
        statement, values = copying(table, copied)
        connection.execute(f"{statement}{table.order}", values)


def keep_latest_checkpoints(connection: sqlite3.Connection, thread_id: str) -> None:
    """Delete all but the latest checkpoint of each namespace, and what it is rebuilt from."""
    thread = thread_key(connection, thread_id)
    for checkpoint_ns in namespaces(connection, thread):
        ids = needed(load, connection, thread_id, checkpoint_ns)
        kept = orjson.dumps([_hex(thread.stored(each)) for each in ids]).decode()
        given = {"thread": thread.key, "namespace": checkpoint_ns, "kept": kept}
        for table in ("checkpoint_writes", "checkpoints"):
            connection.execute(_ALL_BUT.format(table), given)
    given = {"thread": thread.key, "thread_id": thread_id}
    connection.execute(_UNUSED_BLOBS, given)
    connection.execute(_UNUSED_FACTS, given)


def _hex(value: str | bytes) -> str:
    return (value.encode() if isinstance(value, str) else value).hex().upper()


def namespaces(connection: sqlite3.Connection, thread: ThreadKey) -> list[str]:
    """Return the namespaces of a thread that have checkpoints."""
    select = "SELECT DISTINCT checkpoint_ns FROM checkpoints WHERE thread_id = ?"
    return [namespace for (namespace,) in connection.execute(select, (thread.key,))]


class SqliteCheckpoints:
    """The functions above, as ``Statements``."""

    @static(load)
    def load() -> None: ...

    @static(newest_checkpoint)
    def newest() -> None: ...

    @static(write_rows)
    def write() -> None: ...

    @static(page)
    def page() -> None: ...

    @static(delete_thread_checkpoints)
    def delete_thread() -> None: ...

    @static(copy_thread_checkpoints)
    def copy_thread() -> None: ...

    @static(keep_latest_checkpoints)
    def keep_latest() -> None: ...

    @staticmethod
    def delete_run(connection: sqlite3.Connection, run_id: str) -> None:
        for thread_id in _threads_of_run(connection, run_id):
            delete_run_checkpoints(connection, run_id, thread_id)
