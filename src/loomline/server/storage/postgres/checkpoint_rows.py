"""Rows of checkpoints: how they are written, read, copied and removed.

Each kind of row travels as one statement with an array for every column, however many there are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice, starmap
from typing import Final, NamedTuple

import orjson

from loomline.server.domain.json import without_nul
from loomline.server.storage.checkpoint_copies import Copied, copying
from loomline.server.storage.checkpoint_rows import (
    Key,
    grouped,
    last_checkpoints,
    last_writes,
    needed,
)
from loomline.server.storage.checkpoints import (
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
from loomline.server.storage.postgres.connection import Connection, Cursor
from loomline.server.storage.postgres.dialect import DIALECT
from loomline.server.storage.postgres.thread_checkpoints import TABLES

_FACTS = """
    INSERT INTO loomline_checkpoint_facts (thread_id, facts_id, run_id, content)
    SELECT * FROM unnest(%s::text[], %s::bigint[], %s::text[], %s::json[])
    ON CONFLICT DO NOTHING
"""
_PUT = """
    INSERT INTO checkpoints (thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id,
                             facts_id, checkpoint, metadata)
    SELECT * FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::bigint[], %s::jsonb[],
                         %s::jsonb[])
    ON CONFLICT (thread_id, checkpoint_ns, checkpoint_id) DO UPDATE
    SET parent_checkpoint_id = excluded.parent_checkpoint_id, run_id = NULL,
        facts_id = excluded.facts_id, checkpoint = excluded.checkpoint,
        metadata = excluded.metadata
"""
_BLOB = """
    INSERT INTO checkpoint_blobs (thread_id, checkpoint_ns, channel, version, type, blob)
    SELECT * FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %b::bytea[])
    ON CONFLICT DO NOTHING
"""
_PLACE = "thread_id, checkpoint_ns, checkpoint_id, task_id, idx"
_WRITE_COLUMNS = f"{_PLACE}, run_id, task_path, channel, type, blob"
_GIVEN = f"""
    given AS MATERIALIZED (
        SELECT * FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::int[],
                             %s::text[], %s::text[], %s::text[], %s::text[], %b::bytea[])
            AS g ({_WRITE_COLUMNS}))
"""
_OTHERS = """
    SELECT * FROM checkpoint_writes w
    WHERE (w.thread_id, w.checkpoint_ns, w.checkpoint_id, w.task_id, w.idx)
        = (g.thread_id, g.checkpoint_ns, g.checkpoint_id, g.task_id, g.idx)
      AND w.run_id <> g.run_id
    LIMIT 1
"""
# Of results the first counts: what another run has been before with is displaced at once.
_WRITE_NEW = f"""
    WITH {_GIVEN}, kept AS (
        INSERT INTO checkpoint_writes ({_WRITE_COLUMNS}) SELECT * FROM given ON CONFLICT DO NOTHING)
    INSERT INTO loomline_displaced_writes ({_WRITE_COLUMNS})
    SELECT g.* FROM given g CROSS JOIN LATERAL ({_OTHERS}) w
    ON CONFLICT DO NOTHING
"""
# Of marks such as an interrupt the last counts: it displaces that of another run.
_WRITE_OVER = f"""
    WITH {_GIVEN}, displaced AS (
        INSERT INTO loomline_displaced_writes ({_WRITE_COLUMNS})
        SELECT w.thread_id, w.checkpoint_ns, w.checkpoint_id, w.task_id, w.idx, w.run_id,
               w.task_path, w.channel, w.type, w.blob
        FROM given g CROSS JOIN LATERAL ({_OTHERS}) w
        ON CONFLICT ({_PLACE}, run_id) DO UPDATE
        SET channel = excluded.channel, type = excluded.type, blob = excluded.blob, seq = DEFAULT)
    INSERT INTO checkpoint_writes ({_WRITE_COLUMNS}) SELECT * FROM given
    ON CONFLICT ({_PLACE}) DO UPDATE
    SET run_id = excluded.run_id, task_path = excluded.task_path, channel = excluded.channel,
        type = excluded.type, blob = excluded.blob
"""

_SHARED = """
    (SELECT f.content::text FROM loomline_checkpoint_facts f
     WHERE f.thread_id = checkpoints.thread_id AND f.facts_id = checkpoints.facts_id LIMIT 1)
"""
_FIELDS = f"""
    thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, checkpoint::text,
    metadata::text, {_SHARED}
"""
_GET = f"""
    SELECT {_FIELDS} FROM checkpoints
    WHERE thread_id = %s AND checkpoint_ns = %s AND checkpoint_id = %s
"""
_LATEST = f"""
    SELECT {_FIELDS} FROM checkpoints WHERE thread_id = %s AND checkpoint_ns = %s
    ORDER BY checkpoint_id DESC LIMIT 1
"""
# Looked up one by one, by primary key: a join could read every blob of a long thread.
_KEYS = "unnest(%s::text[], %s::text[], %s::text[]) k (thread_id, checkpoint_ns, checkpoint_id)"
_LATEST_KEY = """
    (SELECT thread_id, checkpoint_ns, checkpoint_id FROM checkpoints
     WHERE thread_id = %s AND checkpoint_ns = %s ORDER BY checkpoint_id DESC LIMIT 1) k
"""
_BLOBS = """
    SELECT k.thread_id, k.checkpoint_ns, k.checkpoint_id, v.key, b.type, b.blob
    FROM {}
    CROSS JOIN LATERAL (
        SELECT checkpoint -> 'channel_versions' AS versions FROM checkpoints c
        WHERE (c.thread_id, c.checkpoint_ns, c.checkpoint_id)
            = (k.thread_id, k.checkpoint_ns, k.checkpoint_id) LIMIT 1) c
    CROSS JOIN LATERAL jsonb_each_text(c.versions) v
    CROSS JOIN LATERAL (
        SELECT type, blob FROM checkpoint_blobs b
        WHERE (b.thread_id, b.checkpoint_ns, b.channel, b.version)
            = (k.thread_id, k.checkpoint_ns, v.key, v.value) LIMIT 1) b
    WHERE b.type <> 'empty'
"""
# The values are large enough to be stored apart from their rows, which are all that is read here.
_BLOB_NAMES = _BLOBS.replace("b.type, b.blob", "b.type, ''::bytea")
_WRITES = """
    SELECT k.thread_id, k.checkpoint_ns, k.checkpoint_id, w.task_id, w.channel, w.type, w.blob
    FROM {}
    CROSS JOIN LATERAL (
        SELECT * FROM checkpoint_writes w
        WHERE (w.thread_id, w.checkpoint_ns, w.checkpoint_id)
            = (k.thread_id, k.checkpoint_ns, k.checkpoint_id) OFFSET 0) w
    ORDER BY w.task_path, w.task_id, w.idx
"""
_CONDITIONS = {
    "thread_id": "thread_id = %(thread_id)s",
    "checkpoint_ns": "checkpoint_ns = %(checkpoint_ns)s",
    "checkpoint_id": "checkpoint_id = %(checkpoint_id)s",
    "before": "checkpoint_id < %(before)s",
}
_AFTER = (
    "(checkpoint_id, thread_id, checkpoint_ns) < (%(last_id)s, %(last_thread_id)s, %(last_ns)s)"
)
_NEWEST_FIRST = "ORDER BY checkpoint_id DESC, thread_id DESC, checkpoint_ns DESC"
_PAGE = f"SELECT {{}} FROM checkpoints WHERE {{}} {_NEWEST_FIRST} LIMIT %(limit)s"
_METADATA = f"thread_id, checkpoint_ns, checkpoint_id, metadata::text, {_SHARED}"
_HEADS = f"""
    SELECT {_FIELDS} FROM {_KEYS} JOIN checkpoints USING (thread_id, checkpoint_ns, checkpoint_id)
    {_NEWEST_FIRST}
"""

_NEWEST = "SELECT max(checkpoint_id) FROM checkpoints WHERE thread_id = %s AND checkpoint_ns = %s"

_OF_CHECKPOINTS = ("checkpoint_writes", "loomline_displaced_writes")

# Checkpoints of older versions name their run; the facts of the others do.
_OF_RUN = """
    thread_id = %(thread)s AND (run_id = %(run)s OR facts_id IN (
        SELECT f.facts_id FROM loomline_checkpoint_facts f
        WHERE f.thread_id = %(thread)s AND f.run_id = %(run)s))
"""
_WRITES_OF_RUN = f"""
    DELETE FROM {{}} WHERE thread_id = %(thread)s AND (checkpoint_ns, checkpoint_id) IN (
        SELECT checkpoint_ns, checkpoint_id FROM checkpoints WHERE {_OF_RUN})
"""
_WRITES_BY_RUN = "DELETE FROM {} WHERE thread_id = %(thread)s AND run_id IN (%(run)s, %(tag)s)"
_CHECKPOINTS_OF_RUN = f"DELETE FROM checkpoints WHERE {_OF_RUN} RETURNING 1"
_FACTS_OF_RUN = """
    DELETE FROM loomline_checkpoint_facts WHERE thread_id = %(thread)s AND run_id = %(run)s
"""
# Of results the first, of marks the last: as if the run that is gone had never been.
_BRING_BACK = f"""
    INSERT INTO checkpoint_writes ({_WRITE_COLUMNS})
    SELECT DISTINCT ON ({_PLACE}) {_WRITE_COLUMNS} FROM loomline_displaced_writes
    WHERE thread_id = %(thread)s
    ORDER BY {_PLACE}, CASE WHEN idx < 0 THEN -seq ELSE seq END
    ON CONFLICT DO NOTHING
"""
_BROUGHT_BACK = """
    DELETE FROM loomline_displaced_writes d USING checkpoint_writes w
    WHERE d.thread_id = %(thread)s AND w.thread_id = %(thread)s AND d.run_id = w.run_id
      AND (d.checkpoint_ns, d.checkpoint_id, d.task_id, d.idx)
        = (w.checkpoint_ns, w.checkpoint_id, w.task_id, w.idx)
"""
# The difference of two sets: asking for every blob whether it is used would be quadratic.
# Never while a run of the thread is executed: its next checkpoint refers to the values that it has
# read and to the facts that it has written, although no checkpoint in the database may do so any
# more. A later deletion removes them.
_NOT_RUNNING = """
    NOT EXISTS (
        SELECT 1 FROM loomline_runs r
        WHERE r.thread_id = CASE WHEN %(thread)s ~ '^[0-9a-f-]{36}$' THEN %(thread)s::uuid END
          AND r.status = 'running')
"""
_UNUSED_BLOBS = f"""
    DELETE FROM checkpoint_blobs b USING (
        SELECT checkpoint_ns, channel, version FROM checkpoint_blobs WHERE thread_id = %(thread)s
        EXCEPT
        SELECT c.checkpoint_ns, v.key, v.value
        FROM checkpoints c, jsonb_each_text(c.checkpoint -> 'channel_versions') v
        WHERE c.thread_id = %(thread)s) unused
    WHERE b.thread_id = %(thread)s AND {_NOT_RUNNING}
      AND (b.checkpoint_ns, b.channel, b.version)
        = (unused.checkpoint_ns, unused.channel, unused.version)
"""
_UNUSED_FACTS = f"""
    DELETE FROM loomline_checkpoint_facts
    WHERE thread_id = %(thread)s AND {_NOT_RUNNING}
      AND facts_id NOT IN (
        SELECT facts_id FROM checkpoints WHERE thread_id = %(thread)s AND facts_id IS NOT NULL)
"""
_THREADS_OF_RUN = """
    SELECT thread_id FROM checkpoints WHERE run_id = %(run)s
    UNION SELECT thread_id FROM loomline_checkpoint_facts
          WHERE hashtext(run_id) = hashtext(%(run)s) AND run_id = %(run)s
"""
_NAMESPACES = "SELECT DISTINCT checkpoint_ns FROM checkpoints WHERE thread_id = %s"
_ALL_BUT = """
    DELETE FROM {} WHERE thread_id = %s AND checkpoint_ns = %s AND NOT checkpoint_id = ANY(%s)
"""
_TAG: Final = 12
"""Characters of the ids of runs in the rows of writes, which are many and small."""


class _Head(NamedTuple):
    """A row of ``_FIELDS``."""

    thread_id: str
    checkpoint_ns: str
    checkpoint_id: str
    parent_id: str | None
    content: str
    metadata: str
    facts: str | None

    @property
    def key(self) -> Key:
        return (self.thread_id, self.checkpoint_ns, self.checkpoint_id)


class _Searched(NamedTuple):
    """A row of ``_METADATA``."""

    thread_id: str
    checkpoint_ns: str
    checkpoint_id: str
    metadata: str
    facts: str | None

    @property
    def key(self) -> Key:
        return (self.thread_id, self.checkpoint_ns, self.checkpoint_id)


def write_rows(connection: Connection, rows: Rows) -> None:
    """Write rows; needs no answer."""
    for statement, each in (
        (_FACTS, [_storable_facts(row) for row in rows.facts]),
        (_BLOB, rows.blobs),
        (_PUT, [_storable(row) for row in last_checkpoints(rows.checkpoints)]),
        (_WRITE_NEW, map(_tagged, rows.new_writes)),
        (_WRITE_OVER, map(_tagged, last_writes(rows.over_writes))),
    ):
        columns = [list(column) for column in zip(*each, strict=True)]
        if columns:
            connection.execute(statement, columns)


def load(
    connection: Connection, thread_id: str, checkpoint_ns: str, checkpoint_id: str | None
) -> Stored | None:
    """Return a checkpoint, or (None) the latest of its namespace."""
    if checkpoint_id is None:
        # Every run on a thread with a past begins with this: one round trip.
        place = (thread_id, checkpoint_ns)
        heads = connection.execute(_LATEST, place)
        rest = _rest(connection, _LATEST_KEY, place)
    else:
        heads = connection.execute(_GET, (thread_id, checkpoint_ns, checkpoint_id))
        rest = _rest(connection, _KEYS, ([thread_id], [checkpoint_ns], [checkpoint_id]))
    found = _joined([_Head(*row) for row in heads], *rest)
    return found[0] if found else None


def newest_checkpoint(connection: Connection, thread_id: str, checkpoint_ns: str) -> str | None:
    """Return the id of the newest checkpoint of a namespace."""
    row = connection.execute(_NEWEST, (thread_id, checkpoint_ns)).fetchone()
    assert row is not None  # an aggregate
    found: str | None = row[0]
    return found


def page(
    connection: Connection,
    where: Range,
    wanted: Mapping[str, object],
    after: Place | None,
    *,
    limit: int,
    most: int,
) -> tuple[list[Stored], Place | None]:
    """Search checkpoints, newest first, as ``Statements`` says."""
    statement, parameters = _page_statement(where, after, _METADATA if wanted else _FIELDS)
    found = connection.execute(statement, {**parameters, "limit": limit}).fetchall()
    rows: Sequence[_Searched | _Head] = list(
        starmap(_Searched, found) if wanted else starmap(_Head, found)
    )
    fitting = (place for place, row in enumerate(rows) if matches(row.metadata, row.facts, wanted))
    chosen = list(islice(fitting, most))
    end = chosen[-1] if len(chosen) == most else len(rows) - 1
    on = end < len(rows) - 1 or len(rows) == limit
    heads = _heads(connection, [rows[place] for place in chosen])
    return _complete(connection, heads, named=where.heads), rows[end].key if on else None


def _page_statement(
    where: Range, after: Place | None, fields: str
) -> tuple[str, dict[str, object]]:
    parameters: dict[str, object] = {}
    conditions = ["TRUE"]
    for name, condition in _CONDITIONS.items():
        value: str | None = getattr(where, name)
        if value is not None:
            parameters[name] = value
            conditions.append(condition)
    if after is not None:
        parameters["last_thread_id"], parameters["last_ns"], parameters["last_id"] = after
        conditions.append(_AFTER)
    return _PAGE.format(fields, " AND ".join(conditions)), parameters


def _heads(connection: Connection, rows: Sequence[_Searched | _Head]) -> Sequence[_Head]:
    """Return checkpoints, and read those of which only the key and the metadata are known."""
    heads = [row for row in rows if isinstance(row, _Head)]
    if len(heads) == len(rows):
        return heads
    keys = [list(column) for column in zip(*(row.key for row in rows), strict=True)]
    return [_Head(*row) for row in connection.execute(_HEADS, keys)]


def delete_thread_checkpoints(connection: Connection, thread_id: str) -> None:
    for table in TABLES:
        connection.execute(f"DELETE FROM {table.name} WHERE thread_id = %s", (thread_id,))


def delete_run_checkpoints(connection: Connection, run_id: str, thread_id: str) -> None:
    """Delete what a run has left on a thread, on checkpoints of other runs too."""
    values = {"run": run_id, "tag": _tag(run_id), "thread": thread_id}
    for table in _OF_CHECKPOINTS:
        connection.execute(_WRITES_OF_RUN.format(table), values)
        connection.execute(_WRITES_BY_RUN.format(table), values)
    connection.execute(_BRING_BACK, values)
    connection.execute(_BROUGHT_BACK, values)
    deleted = connection.execute(_CHECKPOINTS_OF_RUN, values).fetchall()
    connection.execute(_FACTS_OF_RUN, values)
    if deleted:
        connection.execute(_UNUSED_BLOBS, values)


def copy_thread_checkpoints(connection: Connection, source: str, target: str) -> None:
    for table in TABLES:
        statement, values = copying(table, Copied(source, target, target))
        DIALECT.execute(connection, f"{statement}{table.order}", values)


def keep_latest_checkpoints(connection: Connection, thread_id: str) -> None:
    """Delete all but the latest checkpoint of each namespace, and what it is rebuilt from."""
    for (checkpoint_ns,) in connection.execute(_NAMESPACES, (thread_id,)).fetchall():
        kept = needed(load, connection, thread_id, checkpoint_ns)
        for table in (*_OF_CHECKPOINTS, "checkpoints"):
            connection.execute(_ALL_BUT.format(table), (thread_id, checkpoint_ns, kept))
    connection.execute(_UNUSED_BLOBS, {"thread": thread_id})
    connection.execute(_UNUSED_FACTS, {"thread": thread_id})


class PostgresCheckpoints:
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
    def delete_run(connection: Connection, run_id: str) -> None:
        for (thread_id,) in connection.execute(_THREADS_OF_RUN, {"run": run_id}).fetchall():
            delete_run_checkpoints(connection, run_id, thread_id)


def _complete(connection: Connection, heads: Sequence[_Head], *, named: bool) -> list[Stored]:
    """Return checkpoints with their blobs and writes, or only with the names of the channels."""
    if not heads:
        return []
    keys = [list(column) for column in zip(*(head.key for head in heads), strict=True)]
    if named:
        found = connection.execute(_BLOB_NAMES.format(_KEYS), keys, binary=True)
        names = grouped(found, StoredBlob)
        return [Stored(*head, names[head.key], []) for head in heads]
    return _joined(heads, *_rest(connection, _KEYS, keys))


def _rest(connection: Connection, keys: str, values: Sequence[object]) -> tuple[Cursor, Cursor]:
    """Request the blobs and the writes of checkpoints."""
    found = connection.execute(_BLOBS.format(keys), values, binary=True)
    return found, connection.execute(_WRITES.format(keys), values, binary=True)


def _joined(heads: Sequence[_Head], found: Cursor, written: Cursor) -> list[Stored]:
    blobs, writes = grouped(found, StoredBlob), grouped(written, StoredWrite)
    return [Stored(*head, blobs[head.key], writes[head.key]) for head in heads]


def _storable(row: PutRow) -> PutRow:
    # langgraph's own saver reads the id from the content.
    content = f'{{"id":{orjson.dumps(row.checkpoint_id).decode()},{row.content[1:]}'
    return row._replace(content=content, metadata=_without_nul(row.metadata))


def _storable_facts(row: FactsRow) -> FactsRow:
    return row._replace(content=_without_nul(row.content))


def _tagged(row: WriteRow) -> WriteRow:
    return row._replace(run_id=_tag(row.run_id))


def _tag(run_id: str) -> str:
    """Return the random end of a run's id: enough to tell the runs of a thread apart.

    Every write has it. Writes of older versions have the whole id.
    """
    return run_id[-_TAG:]


def _without_nul(encoded: str) -> str:
    return without_nul(encoded.encode()).decode()
