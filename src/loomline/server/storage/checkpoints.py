"""Checkpoints between the saver and a database: rows, and the acts that a driver knows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeAlias, TypeVar

import orjson

PutRow: TypeAlias = tuple[str, str, str, str | None, str | None, str, str]
"""Thread, namespace, id, parent's id, run, content, metadata."""

BlobRow: TypeAlias = tuple[str, str, str, str, str, bytes]
"""Thread, namespace, channel, version, type, content."""

WriteRow: TypeAlias = tuple[str, str, str, str, int, str, str, str, str, bytes]
"""Thread, namespace, checkpoint, task, place, run (or empty), path, channel, type, content."""

Place: TypeAlias = tuple[str, str, str]
"""The thread, the namespace and the id of a checkpoint."""

Connection = TypeVar("Connection")
Connection_co = TypeVar("Connection_co", covariant=True)
Connection_contra = TypeVar("Connection_contra", contravariant=True)
T = TypeVar("T")


@dataclass(slots=True)
class Rows:
    """Rows to be written together. ``size`` is about what they weigh, in bytes.

    Of ``new_writes`` the first in a place counts, of ``over_writes`` the last.
    """

    checkpoints: list[PutRow] = field(default_factory=list)
    blobs: list[BlobRow] = field(default_factory=list)
    new_writes: list[WriteRow] = field(default_factory=list)
    over_writes: list[WriteRow] = field(default_factory=list)
    size: int = 0

    def add(self, other: Rows) -> None:
        self.checkpoints += other.checkpoints
        self.blobs += other.blobs
        self.new_writes += other.new_writes
        self.over_writes += other.over_writes
        self.size += other.size


@dataclass(frozen=True, slots=True)
class Stored:
    """A checkpoint as it lies in the database, still encoded.

    ``blobs`` are (channel, type, content), ``writes`` are (task, channel, type, content).
    """

    thread_id: str
    checkpoint_ns: str
    checkpoint_id: str
    parent_id: str | None
    content: str | bytes
    metadata: str | bytes
    blobs: Sequence[tuple[str, str, bytes]]
    writes: Sequence[tuple[str, str, str, bytes]]


@dataclass(frozen=True, slots=True)
class Range:
    """Which checkpoints to list; None anywhere: all of them.

    With ``heads`` no value and no write is read: only the channels that have values are named.
    """

    thread_id: str | None = None
    checkpoint_ns: str | None = None
    checkpoint_id: str | None = None
    before: str | None = None
    heads: bool = False


class Sink(Protocol):
    """Takes rows, and knows when reading would miss some."""

    async def write(self, rows: Rows) -> None: ...

    def write_blocking(self, rows: Rows) -> None: ...

    async def settle(self) -> None:
        """Return once everything taken so far is committed."""
        ...

    def settle_blocking(self) -> None: ...

    def has_nothing(self, thread_id: str, checkpoint_ns: str) -> bool:
        """Return whether it is known, without a look, that no checkpoint can be found there."""
        ...


class Settled:
    """Another sink, waited for at every write."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    async def write(self, rows: Rows) -> None:
        await self._sink.write(rows)
        await self._sink.settle()

    def write_blocking(self, rows: Rows) -> None:
        self._sink.write_blocking(rows)
        self._sink.settle_blocking()

    async def settle(self) -> None:
        await self._sink.settle()

    def settle_blocking(self) -> None:
        self._sink.settle_blocking()

    def has_nothing(self, thread_id: str, checkpoint_ns: str) -> bool:
        return self._sink.has_nothing(thread_id, checkpoint_ns)


class Access(Protocol[Connection_co]):
    """Executes works, from a loop or from a thread without one."""

    async def read(self, work: Callable[[Connection_co], T]) -> T: ...

    def read_blocking(self, work: Callable[[Connection_co], T]) -> T: ...

    async def write(self, work: Callable[[Connection_co], T]) -> T: ...

    def write_blocking(self, work: Callable[[Connection_co], T]) -> T: ...


class Statements(Protocol[Connection_contra]):
    """What a driver can do with checkpoints, each within the caller's transaction."""

    def load(
        self,
        connection: Connection_contra,
        thread_id: str,
        checkpoint_ns: str,
        checkpoint_id: str | None,
    ) -> Stored | None:
        """Return a checkpoint, or (None) the latest of its namespace."""
        ...

    def page(
        self,
        connection: Connection_contra,
        where: Range,
        wanted: Mapping[str, object],
        after: Place | None,
        *,
        limit: int,
        most: int,
    ) -> tuple[list[Stored], Place | None]:
        """Look through checkpoints, newest first, after the place where the page before ended.

        Args:
            connection: The connection to read with.
            where: Which checkpoints.
            wanted: What their metadata must say. Of others nothing else is read.
            after: The place where the page before ended.
            limit: How many are looked at.
            most: How many are returned.

        Returns:
            The checkpoints, and the place where the next page goes on; None where there is none.
        """
        ...

    def delete_thread(self, connection: Connection_contra, thread_id: str) -> None: ...

    def delete_run(self, connection: Connection_contra, run_id: str) -> None:
        """Delete what a run has left on any thread."""
        ...

    def copy_thread(self, connection: Connection_contra, source: str, target: str) -> None: ...

    def keep_latest(self, connection: Connection_contra, thread_id: str) -> None:
        """Delete all but the latest checkpoint of each namespace, and what it is rebuilt from."""
        ...


BLOB_CHANNELS: Final = "loomline:blobs"
"""The key, in the content of a checkpoint, of the channels whose values have rows of their own.

Without this list an empty channel and a channel whose value is lost look the same.
"""


def lost_channels(stored: Stored) -> list[str]:
    """Return the channels of a checkpoint whose values are missing in the database.

    Always none for checkpoints of langgraph's own saver, which keeps no list of them.
    """
    expected = orjson.loads(stored.content).get(BLOB_CHANNELS)
    if not expected:
        return []
    found = {channel for channel, _, _ in stored.blobs}
    return [channel for channel in expected if channel not in found]


def matches(metadata: str | bytes, wanted: Mapping[str, object]) -> bool:
    """Return whether the metadata of a checkpoint says what is wanted."""
    if not wanted:
        return True
    found = orjson.loads(metadata)
    return all(_same(found.get(key), value) for key, value in wanted.items())


def rebuilt_from(latest: Stored, load: Callable[[str], Stored | None]) -> list[str]:
    """Return the ids of a checkpoint and of the ancestors that its delta channels are built from.

    A delta channel holds no value between snapshots: it is the writes since the last one. The
    metadata of a checkpoint counts them for each channel that has any.
    """
    kept = [latest.checkpoint_id]
    missing = set(orjson.loads(latest.metadata).get("counters_since_delta_snapshot") or {})
    current: Stored | None = latest
    while missing and current is not None and current.parent_id is not None:
        current = load(current.parent_id)
        if current is not None:
            kept.append(current.checkpoint_id)
            missing -= _valued(current)
    return kept


def _same(found: object, wanted: object) -> bool:
    # In Python True equals 1, in JSON it does not.
    return found == wanted and isinstance(found, bool) == isinstance(wanted, bool)


def _valued(stored: Stored) -> set[str]:
    inline = orjson.loads(stored.content)["channel_values"]
    return {*inline, *(channel for channel, _, _ in stored.blobs)}
