"""Decisions about rows of checkpoints that all databases share."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol, TypeAlias, TypeVar

from loomline.server.storage.checkpoints import (
    Connection,
    PutRow,
    Stored,
    StoredWrite,
    WriteRow,
    rebuilt_from,
)

T = TypeVar("T")
Key: TypeAlias = tuple[str, str, str]
"""The key of a checkpoint: its thread, its namespace and its id."""


class _Positioned(Protocol):
    @property
    def task_id(self) -> str | bytes: ...

    @property
    def idx(self) -> int: ...


W = TypeVar("W", bound=_Positioned)


def grouped(rows: Iterable[Sequence[Any]], make: Callable[..., T]) -> defaultdict[Key, list[T]]:
    """Return records by their checkpoint; its key is the beginning of each row."""
    groups: defaultdict[Key, list[T]] = defaultdict(list)
    for thread_id, checkpoint_ns, checkpoint_id, *rest in rows:
        groups[thread_id, checkpoint_ns, checkpoint_id].append(make(*rest))
    return groups


def valid_writes(rows: Iterable[W], made: Callable[[W], StoredWrite]) -> list[StoredWrite]:
    """Return the writes that count where several runs have written to the same position.

    Of results the first counts, of marks such as an interrupt the last, as within one run.
    """
    writes: dict[tuple[str | bytes, int], StoredWrite] = {}
    for row in rows:
        place = (row.task_id, row.idx)
        if row.idx < 0 or place not in writes:
            writes[place] = made(row)
    return list(writes.values())


def last_checkpoints(rows: Iterable[PutRow]) -> Iterable[PutRow]:
    """Return checkpoints without the rows that a later row replaces.

    For databases in which one statement sets a row once.
    """
    return {(row.thread_id, row.checkpoint_ns, row.checkpoint_id): row for row in rows}.values()


def last_writes(rows: Iterable[WriteRow]) -> Iterable[WriteRow]:
    """Return writes without the rows that a later row replaces, as ``last_checkpoints`` does."""
    return {
        (row.thread_id, row.checkpoint_ns, row.checkpoint_id, row.task_id, row.idx): row
        for row in rows
    }.values()


def needed(
    load: Callable[[Connection, str, str, str | None], Stored | None],
    connection: Connection,
    thread_id: str,
    checkpoint_ns: str,
) -> list[str]:
    """Return the ids of the latest checkpoint of a namespace and of those it is rebuilt from."""
    latest = load(connection, thread_id, checkpoint_ns, None)
    assert latest is not None
    return rebuilt_from(latest, lambda each: load(connection, thread_id, checkpoint_ns, each))
