"""Work on all rows of a thread, divided into pieces that each fit into a short transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

PIECE_ROWS: Final = 200
PIECE_BYTES: Final = 256 * 1024
"""The most that one transaction copies or deletes: a few milliseconds.

A single row may be larger, since a value cannot be divided.
"""

Change: TypeAlias = tuple[str, tuple[object, ...], int]
"""A statement that changes one row, its parameters, and the size of the row in bytes."""

Piece: TypeAlias = Sequence[tuple[str, Sequence[tuple[object, ...]]]]
"""Statements with their parameters."""

_REMOVED: Final = (
    # The checkpoints come first: a checkpoint without its values must never be found.
    ("checkpoints", "length(content) + length(metadata)", "checkpoint_ns, checkpoint_id"),
    ("thread_values", "length(content)", "rowid"),
    ("checkpoint_blobs", "length(content)", "rowid"),
    ("checkpoint_writes", "length(content)", "rowid"),
    ("runs", "length(kwargs)", "rowid"),
)

_WEIGH: Final = "SELECT count(*), coalesce(sum(bytes), 0) FROM ({})".format(
    " UNION ALL ".join(
        f"SELECT bytes FROM (SELECT {size} AS bytes FROM {table} WHERE thread_id = :thread"
        " LIMIT :most)"
        for table, size, _ in _REMOVED
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
        given = {"thread": thread_id, "most": PIECE_ROWS + 1}
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
    for table, _, _ in _REMOVED:
        connection.execute(f"DELETE FROM {table} WHERE thread_id = ?", (thread_id,))


def remove_piece(connection: sqlite3.Connection, thread_id: str) -> bool:
    """Delete a piece of the rows of a thread; return whether there may be more."""
    room = Room()
    for table, size, key in _REMOVED:
        _remove_some(
            connection, f"SELECT {size}, {key} FROM {table}", (table, key), thread_id, room
        )
        if not room.is_left:
            return True
    return False


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


def _remove_some(
    connection: sqlite3.Connection,
    select: str,
    of: tuple[str, str],
    thread_id: str,
    room: Room,
) -> None:
    table, key = of
    taken: list[tuple[object, ...]] = []
    found = connection.execute(f"{select} WHERE thread_id = ? LIMIT ?", (thread_id, room.rows))
    for size, *place in found:
        taken.append((thread_id, *place))
        room.take(size)
        if not room.is_left:
            break
    found.close()
    marks = ", ".join("?" * (key.count(",") + 1))
    connection.executemany(
        f"DELETE FROM {table} WHERE thread_id = ? AND ({key}) = ({marks})", taken
    )
