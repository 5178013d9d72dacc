"""Work on all rows of a thread, divided into pieces that each fit into a short transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from loomline.server.storage.sqlite.checkpoint_keys import forget_key, thread_key

PIECE_ROWS: Final = 200
PIECE_BYTES: Final = 256 * 1024
"""The most that one transaction copies or deletes: a few milliseconds.

A single row may be larger, since a value cannot be divided.
"""

Change: TypeAlias = tuple[str, tuple[object, ...], int]
"""A statement that changes one row, its parameters, and the size of the row in bytes."""

Piece: TypeAlias = Sequence[tuple[str, Sequence[tuple[object, ...]]]]
"""Statements with their parameters."""


@dataclass(frozen=True, slots=True)
class _Table:
    """A table with rows of threads."""

    name: str
    size: str
    key: str
    owner: str = "key"  # the parameter that its column thread_id is compared with


_REMOVED: Final = (
    # The checkpoints come first: a checkpoint without its values must never be found.
    _Table("checkpoints", "length(content) + length(metadata)", "checkpoint_ns, checkpoint_id"),
    _Table("thread_values", "length(content)", "rowid", owner="thread"),
    _Table("checkpoint_blobs", "length(content)", "rowid"),
    _Table("checkpoint_writes", "length(content)", "rowid"),
    _Table("checkpoint_facts", "length(content)", "rowid"),
    _Table("runs", "length(kwargs)", "rowid", owner="thread"),
)

_WEIGH: Final = "SELECT count(*), coalesce(sum(bytes), 0) FROM ({})".format(
    " UNION ALL ".join(
        f"SELECT bytes FROM (SELECT {table.size} AS bytes FROM {table.name}"
        f" WHERE thread_id = :{table.owner} LIMIT :most)"
        for table in _REMOVED
    )
)

_BEGIN: Final = "INSERT OR REPLACE INTO upkeep (thread_id, work) VALUES (?, ?)"
_BEGIN_TIDYING: Final = "INSERT OR IGNORE INTO upkeep (thread_id, work) VALUES (?, 'tidy')"
_END: Final = "DELETE FROM upkeep WHERE thread_id = ? AND work = ?"
_WORK: Final = "SELECT work FROM upkeep WHERE thread_id = ?"


class ThreadUnderWork(Exception):
    """Rows of the thread are being removed or pruned."""

    def __init__(self, thread_id: str) -> None:
        super().__init__(thread_id)
        self.thread_id = thread_id


@dataclass(slots=True)
class Room:
    """The rows and bytes that a transaction still has room for."""

    rows: int = PIECE_ROWS
    size: int = PIECE_BYTES

    @property
    def is_left(self) -> bool:
        return self.rows > 0 and self.size > 0

    def take(self, size: int) -> None:
        self.rows -= 1
        self.size -= size

    def fits(self, connection: sqlite3.Connection, thread_id: str) -> bool:
        """Return whether all rows of a thread fit into one transaction, and take the room."""
        given = {**_owners(connection, thread_id), "most": PIECE_ROWS + 1}
        rows, size = connection.execute(_WEIGH, given).fetchone()
        if rows > self.rows or size > self.size:
            return False
        self.rows -= rows
        self.size -= size
        return True


def begin_work(connection: sqlite3.Connection, thread_id: str, work: str) -> None:
    """Note work on a thread, which the upkeep thread continues, after a restart too."""
    connection.execute(_BEGIN, (thread_id, work))


def begin_tidying(connection: sqlite3.Connection, thread_id: str) -> None:
    """Note that values may be unused. Other work on the thread stays noted and comes first."""
    connection.execute(_BEGIN_TIDYING, (thread_id,))


def end_work(connection: sqlite3.Connection, thread_id: str, work: str) -> None:
    connection.execute(_END, (thread_id, work))


def work_on(connection: sqlite3.Connection, thread_id: str) -> str | None:
    """Return the work that is noted for a thread."""
    row = connection.execute(_WORK, (thread_id,)).fetchone()
    return None if row is None else str(row[0])


def remove_all(connection: sqlite3.Connection, thread_id: str) -> None:
    """Delete the rows of a thread that fits into one transaction."""
    owners = _owners(connection, thread_id)
    for table in _REMOVED:
        connection.execute(f"DELETE FROM {table.name} WHERE thread_id = :{table.owner}", owners)
    forget_key(connection, thread_id)


def remove_piece(connection: sqlite3.Connection, thread_id: str) -> bool:
    """Delete a piece of the rows of a thread; return whether there may be more."""
    room = Room()
    owners = _owners(connection, thread_id)
    for table in _REMOVED:
        _remove_some(connection, table, owners[table.owner], room)
        if not room.is_left:
            return True
    forget_key(connection, thread_id)
    return False


def _owners(connection: sqlite3.Connection, thread_id: str) -> dict[str, str]:
    """Return the values of ``thread_id`` by which the tables know a thread."""
    return {"thread": thread_id, "key": thread_key(connection, thread_id).key}


def changed_rows(connection: sqlite3.Connection, piece: Piece) -> int:
    """Execute a piece; return the number of rows that it has changed."""
    return sum(connection.executemany(statement, keys).rowcount for statement, keys in piece)


def pieces(changes: Iterable[Change]) -> Iterator[Piece]:
    """Divide changes into pieces, in their order."""
    piece: list[tuple[str, list[tuple[object, ...]]]] = []
    room = Room()
    for statement, key, size in changes:
        if not piece or piece[-1][0] != statement:
            piece.append((statement, []))
        piece[-1][1].append(key)
        room.take(size)
        if not room.is_left:
            yield piece
            piece, room = [], Room()
    if piece:
        yield piece


def _remove_some(connection: sqlite3.Connection, table: _Table, owner: str, room: Room) -> None:
    taken: list[tuple[object, ...]] = []
    select = f"SELECT {table.size}, {table.key} FROM {table.name} WHERE thread_id = ? LIMIT ?"
    found = connection.execute(select, (owner, room.rows))
    for size, *place in found:
        taken.append((owner, *place))
        room.take(size)
        if not room.is_left:
            break
    found.close()
    marks = ", ".join("?" * (table.key.count(",") + 1))
    connection.executemany(
        f"DELETE FROM {table.name} WHERE thread_id = ? AND ({table.key}) = ({marks})", taken
    )
