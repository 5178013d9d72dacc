"""Short keys in the rows of checkpoints, where ids would take more room than the content.

A thread has a number, and its rows begin with a key that is made of it. Keys grow with the numbers,
so the rows of a new thread go to the end of each table and index, and fill its pages. UUIDs
are stored as their 16 bytes, which sort like the strings.

Threads with rows of an older version of Loomline were never numbered: their rows have the ids as
strings.
"""

from __future__ import annotations

import re
import sqlite3
from dataclasses import dataclass
from typing import Final, overload

_MARK: Final = "#"
_UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")

# The key of a number, as `_key` makes it.
_HEX = "printf('%x', n.number)"
HAS_CHECKPOINTS: Final = f"""
    (EXISTS (SELECT 1 FROM checkpoint_threads n JOIN checkpoints c
             ON c.thread_id = '{_MARK}' || char(97 + length({_HEX})) || {_HEX}
             WHERE n.thread_id = r.thread_id)
     OR EXISTS (SELECT 1 FROM checkpoints c WHERE c.thread_id = r.thread_id))
"""
"""Whether the thread of a row ``r`` has a checkpoint, under its key or, in old rows, its id."""

_NUMBER = "SELECT number FROM checkpoint_threads WHERE thread_id = ?"
_NAME = "SELECT thread_id FROM checkpoint_threads WHERE number = ?"
_FORGET = "DELETE FROM checkpoint_threads WHERE thread_id = ?"
_OLD_ROWS = """
    EXISTS (SELECT 1 FROM checkpoints WHERE thread_id = :thread)
    OR EXISTS (SELECT 1 FROM checkpoint_blobs WHERE thread_id = :thread)
    OR EXISTS (SELECT 1 FROM checkpoint_writes WHERE thread_id = :thread)
"""
_HAS_OLD_ROWS = f"SELECT {_OLD_ROWS}"
_INSERT = f"""
    INSERT INTO checkpoint_threads (thread_id) SELECT :thread WHERE NOT ({_OLD_ROWS})
"""


@dataclass(frozen=True, slots=True)
class ThreadKey:
    """A thread in the rows of its checkpoints: ``key`` instead of its id."""

    thread_id: str
    key: str

    @property
    def is_short(self) -> bool:
        """Return whether the thread has a number."""
        return self.key[0] == _MARK

    @overload
    def stored(self, value: str) -> str | bytes: ...
    @overload
    def stored(self, value: str | None) -> str | bytes | None: ...
    def stored(self, value: str | None) -> str | bytes | None:
        """Return an id of a checkpoint, a task or a run as the rows of the thread have it."""
        return packed(value) if value is not None and self.is_short else value


def thread_key(connection: sqlite3.Connection, thread_id: str) -> ThreadKey:
    """Return the key of a thread. A thread without a number has no rows, or old ones."""
    row = connection.execute(_NUMBER, (thread_id,)).fetchone()
    return ThreadKey(thread_id, thread_id if row is None else _key(row[0]))


def new_thread_key(connection: sqlite3.Connection, thread_id: str) -> ThreadKey:
    """Return the key of a thread that rows are written for."""
    found = thread_key(connection, thread_id)
    if found.is_short:
        return found
    inserted = connection.execute(_INSERT, {"thread": thread_id})
    if not inserted.rowcount:
        return found
    number = inserted.lastrowid
    assert number is not None
    return ThreadKey(thread_id, _key(number))


def copy_key(connection: sqlite3.Connection, source: str, target: str) -> ThreadKey:
    """Return the key of a thread that gets copies of rows, in which ids stay as they are stored."""
    is_old = not thread_key(connection, source).is_short and _has_old_rows(connection, source)
    return ThreadKey(target, target) if is_old else new_thread_key(connection, target)


def thread_of_key(connection: sqlite3.Connection, key: str) -> ThreadKey:
    """Return the thread that a row belongs to."""
    if key[0] != _MARK:
        return ThreadKey(key, key)
    digits = key[2:]
    (thread_id,) = connection.execute(_NAME, (int(digits, 16),)).fetchone()
    return ThreadKey(thread_id, key)


def forget_key(connection: sqlite3.Connection, thread_id: str) -> None:
    """Delete the number of a thread that has no rows any more."""
    connection.execute(_FORGET, (thread_id,))


def packed(value: str) -> str | bytes:
    """Return a UUID as its bytes, and any other string as it is."""
    return bytes.fromhex(value.replace("-", "")) if _UUID.fullmatch(value) else value


@overload
def unpacked(value: str | bytes) -> str: ...
@overload
def unpacked(value: str | bytes | None) -> str | None: ...
def unpacked(value: str | bytes | None) -> str | None:
    """Return an id as it was before it was stored."""
    if not isinstance(value, bytes):
        return value
    digits = value.hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def _has_old_rows(connection: sqlite3.Connection, thread_id: str) -> bool:
    found = connection.execute(_HAS_OLD_ROWS, {"thread": thread_id}).fetchone()
    return bool(found[0])


def _key(number: int) -> str:
    # The letter for the number of digits makes strings sort like the numbers.
    digits = f"{number:x}"
    return f"{_MARK}{chr(ord('a') + len(digits))}{digits}"
