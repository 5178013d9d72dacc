"""Checkpoints between the saver and a database: rows, and the acts that a driver knows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final, NamedTuple, ParamSpec, Protocol, TypeAlias, TypeVar

import orjson

from loomline.server.domain.json import JsonObject
from loomline.server.storage.steps import Steps, step

Place: TypeAlias = tuple[str | bytes, str, str | bytes]
"""The position of a checkpoint in a listing. Only the driver that made it can read it."""

Connection = TypeVar("Connection")
Connection_co = TypeVar("Connection_co", covariant=True)
Connection_contra = TypeVar("Connection_contra", contravariant=True)
P = ParamSpec("P")
T = TypeVar("T")


class PutRow(NamedTuple):
    """A checkpoint. ``content`` has no id, ``metadata`` no key that the facts have."""

    thread_id: str
    checkpoint_ns: str
    checkpoint_id: str
    parent_id: str | None
    facts_id: int | None
    content: str
    metadata: str


class FactsRow(NamedTuple):
    """The metadata that the checkpoints of a run share, stored once for all of them.

    The same facts of the same run have the same id, so a second row is never needed.
    """

    thread_id: str
    facts_id: int
    run_id: str | None
    content: str


class BlobRow(NamedTuple):
    """The value of a channel at a version."""

    thread_id: str
    checkpoint_ns: str
    channel: str
    version: str
    kind: str
    content: bytes


class WriteRow(NamedTuple):
    """A write of a task. ``run_id`` is empty outside of runs."""

    thread_id: str
    checkpoint_ns: str
    checkpoint_id: str
    task_id: str
    idx: int
    run_id: str
    task_path: str
    channel: str
    kind: str
    content: bytes


class StoredBlob(NamedTuple):
    """The value of a channel, as the database returns it."""

    channel: str
    kind: str
    content: bytes


class StoredWrite(NamedTuple):
    """A write of a task, as the database returns it."""

    task_id: str
    channel: str
    kind: str
    content: bytes


@dataclass(slots=True)
class Rows:
    """Rows to be written together. ``size`` is their approximate size in bytes.

    In one position the first of ``new_writes`` counts, and the last of ``over_writes``.
    """

    facts: list[FactsRow] = field(default_factory=list)
    checkpoints: list[PutRow] = field(default_factory=list)
    blobs: list[BlobRow] = field(default_factory=list)
    new_writes: list[WriteRow] = field(default_factory=list)
    over_writes: list[WriteRow] = field(default_factory=list)
    size: int = 0

    def add(self, other: Rows) -> None:
        self.facts += other.facts
        self.checkpoints += other.checkpoints
        self.blobs += other.blobs
        self.new_writes += other.new_writes
        self.over_writes += other.over_writes
        self.size += other.size


@dataclass(frozen=True, slots=True)
class Stored:
    """A checkpoint as the database returns it, still encoded."""

    thread_id: str
    checkpoint_ns: str
    checkpoint_id: str
    parent_id: str | None
    content: str | bytes
    metadata: str | bytes
    facts: str | bytes | None
    blobs: Sequence[StoredBlob]
    writes: Sequence[StoredWrite]

    def whole_metadata(self) -> JsonObject:
        """Return the metadata of the checkpoint, including the facts of its run."""
        return merged(self.metadata, self.facts)


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

    def write(self, rows: Rows) -> Steps[None]: ...

    def settle(self) -> Steps[None]:
        """Return once all rows taken so far are committed."""
        ...

    def has_nothing(self, thread_id: str, checkpoint_ns: str) -> bool:
        """Return whether it is known, without a look, that no checkpoint can be found there."""
        ...


class Settled:
    """Another sink, waited for at every write."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    def write(self, rows: Rows) -> Steps[None]:
        yield from self._sink.write(rows)
        yield from self._sink.settle()

    def settle(self) -> Steps[None]:
        return self._sink.settle()

    def has_nothing(self, thread_id: str, checkpoint_ns: str) -> bool:
        return self._sink.has_nothing(thread_id, checkpoint_ns)


class Access(Protocol[Connection_co]):
    """Executes works, from a loop or from a thread without one."""

    async def point(self, work: Callable[[Connection_co], T]) -> T:
        """Execute one statement that reads a few small rows and finds them by an index."""
        ...

    async def ask(self, work: Callable[[Connection_co], T]) -> T:
        """Execute one statement that reads. Two of them may see different pictures."""
        ...

    async def read(self, work: Callable[[Connection_co], T]) -> T: ...

    def read_blocking(self, work: Callable[[Connection_co], T]) -> T: ...

    async def write(self, work: Callable[[Connection_co], T]) -> T: ...

    def write_blocking(self, work: Callable[[Connection_co], T]) -> T: ...


def reading(access: Access[Connection], work: Callable[[Connection], T]) -> Steps[T]:
    """Execute work on one unchanging picture of the database, and return its result."""
    return step(partial(access.read, work), partial(access.read_blocking, work))


def writing(access: Access[Connection], work: Callable[[Connection], T]) -> Steps[T]:
    """Execute work in a transaction, and return its result once it is committed."""
    return step(partial(access.write, work), partial(access.write_blocking, work))


def static(function: Callable[P, T]) -> Callable[[Callable[[], None]], staticmethod[P, T]]:
    """Make a static method of a function."""
    return lambda _: staticmethod(function)


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

    def newest(
        self, connection: Connection_contra, thread_id: str, checkpoint_ns: str
    ) -> str | None:
        """Return the id of the newest checkpoint of a namespace."""
        ...

    def write(self, connection: Connection_contra, rows: Rows) -> None: ...

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
        """Search checkpoints, newest first, from the position where the page before ended.

        Args:
            connection: The connection to read with.
            where: The range of the checkpoints.
            wanted: The values that their metadata must have. Of other checkpoints only the
                metadata is read.
            after: The position where the page before ended.
            limit: The most checkpoints to examine.
            most: The most checkpoints to return.

        Returns:
            The checkpoints, and the position at which the next page begins; None after the last.
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
    found = {blob.channel for blob in stored.blobs}
    return [channel for channel in expected if channel not in found]


def merged(metadata: str | bytes, facts: str | bytes | None) -> JsonObject:
    """Return the metadata of a checkpoint together with the facts of its run."""
    own: JsonObject = orjson.loads(metadata)
    return own if facts is None else {**own, **orjson.loads(facts)}


def matches(metadata: str | bytes, facts: str | bytes | None, wanted: Mapping[str, object]) -> bool:
    """Return whether the metadata of a checkpoint has all the wanted values."""
    if not wanted:
        return True
    found = merged(metadata, facts)
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
    return {*inline, *(blob.channel for blob in stored.blobs)}
