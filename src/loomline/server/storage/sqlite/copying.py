"""Copies of threads: in one transaction where the thread is small, else in pieces."""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Final
from uuid import UUID

from loomline.server.domain.errors import StateChanged, StorageUnavailable, ThreadNotFound
from loomline.server.domain.json import JsonObject
from loomline.server.storage.sqlite.checkpoint_keys import copy_key
from loomline.server.storage.sqlite.pieces import (
    Change,
    Room,
    begin_tidying,
    begin_work,
    changed_rows,
    end_work,
    pieces,
    work_on,
)
from loomline.server.storage.sqlite.rows import micros, obj, text
from loomline.server.storage.sqlite.thread_checkpoints import copies, copy_checkpoints
from loomline.server.storage.sqlite.upkeep import Upkeep

_HEAD = """
    SELECT settled_status, config, interrupts, error, ttl_minutes, ttl_strategy, metadata, content
    FROM threads LEFT JOIN thread_values USING (thread_id) WHERE thread_id = ?
"""
_INSERT = """
    INSERT INTO threads (thread_id, status, settled_status, config, interrupts, error, ttl_minutes,
                         ttl_strategy, metadata, created_at, updated_at, state_updated_at)
    SELECT ?, status, status, ?, ?, ?, ?, ?, ?, made, made, made
    FROM (SELECT ? AS status, ? AS made)
"""
_INSERT_VALUES = "INSERT INTO thread_values (thread_id, content) VALUES (?, ?)"

_ATTEMPTS: Final = 3


@dataclass(frozen=True, slots=True)
class Copy:
    """The copy of a thread that is asked for; ``metadata`` is merged into that of the source."""

    source: UUID
    target: UUID
    now: datetime
    metadata: JsonObject


@dataclass(frozen=True, slots=True)
class _Plan:
    head: tuple[object, ...]
    changes: list[Change]


def copy_small(connection: sqlite3.Connection, copy: Copy) -> bool:
    """Copy a thread that fits into one transaction; return False if it does not fit."""
    source, target = str(copy.source), str(copy.target)
    if not Room().fits(connection, source):
        return False
    head = connection.execute(_HEAD, (source,)).fetchone()
    copy_checkpoints(connection, source, target)
    _insert(connection, copy, head)
    return True


def copy_in_pieces(upkeep: Upkeep, copy: Copy) -> None:
    """Copy a thread of any size. The copy appears with its last piece.

    No lock is needed: checkpoints, values and writes never change in their rows, the long
    deletions are executed by the same upkeep thread, and a short deletion in between, such as that
    of a run that is rolled back, shows as a missing row: then the copy begins again.

    Raises:
        StateChanged: Runs were deleted from the source during each attempt.
        StorageUnavailable: A piece could not be written.
    """
    target = str(copy.target)
    upkeep.write_piece(partial(_begin, copy=copy))
    try:
        for _ in range(_ATTEMPTS):
            if _copied(upkeep, copy):
                return
            upkeep.clear_copy(target)
            upkeep.write_piece(partial(_begin, copy=copy))
        raise StateChanged(copy.source)
    except BaseException:
        with suppress(StorageUnavailable):
            upkeep.abandon_copy(target)
        raise


def _begin(connection: sqlite3.Connection, copy: Copy) -> None:
    begin_work(connection, str(copy.target), "copy")
    copy_key(connection, str(copy.source), str(copy.target))


def _copied(upkeep: Upkeep, copy: Copy) -> bool:
    plan = upkeep.read(lambda connection: _plan(connection, copy))
    for piece in pieces(plan.changes):
        rows = sum(len(keys) for _, keys in piece)
        if upkeep.write_piece(partial(changed_rows, piece=piece)) < rows:
            return False

    def finish(connection: sqlite3.Connection) -> None:
        end_work(connection, str(copy.target), "copy")
        _insert(connection, copy, plan.head)
        if work_on(connection, str(copy.source)) == "tidy":
            begin_tidying(connection, str(copy.target))

    upkeep.write_piece(finish)
    return True


def _plan(connection: sqlite3.Connection, copy: Copy) -> _Plan:
    source = str(copy.source)
    head = connection.execute(_HEAD, (source,)).fetchone()
    if head is None:
        raise ThreadNotFound(copy.source)
    return _Plan(head, copies(connection, source, str(copy.target)))


def _insert(connection: sqlite3.Connection, copy: Copy, head: tuple[object, ...]) -> None:
    status, *columns, metadata, content = head
    merged = text({**obj(str(metadata)), **copy.metadata}) if copy.metadata else metadata
    target = str(copy.target)
    connection.execute(_INSERT, (target, *columns, merged, status, micros(copy.now)))
    if content is not None:
        connection.execute(_INSERT_VALUES, (target, content))
