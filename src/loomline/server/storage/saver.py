"""langgraph's checkpoints in the server's database, whichever it is."""

from __future__ import annotations

import inspect
import logging
import random
import sys
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Any, Final, Generic, TypeAlias, cast

import orjson
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    WRITES_IDX_MAP,
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    get_serializable_checkpoint_metadata,
)
from langgraph.checkpoint.serde.base import SerializerProtocol

from loomline.server.domain.errors import CheckpointIncomplete
from loomline.server.domain.runs import Claim
from loomline.server.storage.checkpoints import (
    BLOB_CHANNELS,
    Access,
    BlobRow,
    Connection,
    FactsRow,
    Place,
    PutRow,
    Range,
    Rows,
    Sink,
    Statements,
    Stored,
    WriteRow,
    lost_channels,
    matches,
    reading,
    writing,
)
from loomline.server.storage.inline import is_inline
from loomline.server.storage.sealed_rows import RowSealer, is_plain
from loomline.server.storage.sealing import Sealer
from loomline.server.storage.serde import safe_serde
from loomline.server.storage.staged import Key, checkpoint_key
from loomline.server.storage.steps import Steps, awaited, blocked
from loomline.server.storage.unstorable import unstorable

logger: logging.Logger = logging.getLogger("loomline.storage")

_PLACES: Final = (
    "checkpoint_id", "checkpoint_ns", "langgraph_checkpoint_ns", "langgraph_node",
    "langgraph_path", "langgraph_step", "langgraph_triggers",
)  # fmt: skip

Work: TypeAlias = Callable[[Connection], None]

PAGE = 50
"""Checkpoints that a listing reads at a time."""

FIRST_PAGE = 10
PAGE_BYTES = 1024 * 1024
"""The bytes that a listing reads at a time, roughly: each page is sized after the one before."""

LOOKED_AT = 500
"""Checkpoints whose metadata is compared with a filter before others get their turn."""

_NEW_VERSION: Final = "010d"
"""The sign and the digits of the numbers in the versions of channels on new threads."""

_ALL = sys.maxsize
_CHANNELS_LOGGED = 20

# Removed from the stored form, where they have columns or rows of their own.
_APART = ("id", "channel_values", "pending_sends")

# The keys of the metadata that differ between the checkpoints of a run. All other keys are facts of
# the run, and are stored once for all of its checkpoints.
_OWN: Final = frozenset({
    "source", "step", "writes", "parents", "counters_since_delta_snapshot", "checkpoint_map",
    *_PLACES,
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class SaverOptions:
    """How values become rows. Without a sealer they are not encrypted."""

    sealer: Sealer | None = None
    serde: SerializerProtocol = field(default_factory=safe_serde)

    def row_sealer(self) -> RowSealer | None:
        """Return what encrypts for whoever acts at this moment."""
        return None if self.sealer is None else RowSealer(self.sealer)


@dataclass(frozen=True, slots=True)
class _Facts:
    """The facts of a run, with the JSON that they were made of."""

    encoded: bytes
    row: FactsRow


class StorageSaver(BaseCheckpointSaver[str], Generic[Connection]):
    """A saver on the server's database.

    Values are encoded when a method is called, on the caller's thread: the state may change as
    soon as the call returns. Small plain values stay in the checkpoint; others have a row for each
    version, which the checkpoints that share it share too.
    """

    def __init__(
        self,
        access: Access[Connection],
        statements: Statements[Connection],
        sink: Sink,
        claim: Claim | None = None,
        options: SaverOptions | None = None,
    ) -> None:
        chosen = options or SaverOptions()
        super().__init__(serde=chosen.serde)
        self._seals = chosen.row_sealer()
        self._access = access
        self._statements = statements
        self._sink = sink
        self._thread_id = None if claim is None else str(claim.run.thread_id)
        self._run_id = "" if claim is None else str(claim.run.run_id)
        self._sent_facts: tuple[str, int] | None = None
        self._facts: _Facts | None = None

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        return await awaited(self._get(config))

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        return blocked(self._get(config))

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        listing = self._listing(_range(config, before), filter, limit)
        while (page := await awaited(listing.page())) is not None:
            for stored in page:
                yield self._tuple(stored)

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        listing = self._listing(_range(config, before), filter, limit)
        while (page := blocked(listing.page())) is not None:
            for stored in page:
                yield self._tuple(stored)

    async def heads(
        self,
        config: RunnableConfig,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int,
    ) -> Sequence[CheckpointTuple]:
        """Return checkpoints as ``alist`` does, but without reading their values and writes."""
        where = replace(_range(config, before), heads=True)
        listing = self._listing(where, filter, limit)
        found: list[CheckpointTuple] = []
        while (page := await awaited(listing.page())) is not None:
            found += map(self._tuple, page)
        return found

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        rows, saved = self._put_rows(config, checkpoint, metadata, new_versions)
        await awaited(self._write(rows))
        return saved

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        rows, saved = self._put_rows(config, checkpoint, metadata, new_versions)
        blocked(self._write(rows))
        return saved

    async def aput_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        await awaited(self._write(self._write_rows(config, writes, task_id, task_path)))

    def put_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        blocked(self._write(self._write_rows(config, writes, task_id, task_path)))

    async def adelete_thread(self, thread_id: str) -> None:
        await awaited(self._delete_thread(thread_id))

    def delete_thread(self, thread_id: str) -> None:
        blocked(self._delete_thread(thread_id))

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        await awaited(self._delete_runs(run_ids))

    def delete_for_runs(self, run_ids: Sequence[str]) -> None:
        blocked(self._delete_runs(run_ids))

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        await awaited(self._copy(source_thread_id, target_thread_id))

    def copy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        blocked(self._copy(source_thread_id, target_thread_id))

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        await awaited(self._prune(thread_ids, strategy))

    def prune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        blocked(self._prune(thread_ids, strategy))

    def get_next_version(self, current: str | None, channel: None) -> str:  # noqa: ARG002
        """Return a version after ``current``.

        Versions are compared as strings, so the number keeps the form that it has on its thread.
        The sign of new threads sorts before digits: versions that langgraph's own PostgreSQL saver
        makes, if it continues the thread, come after ours. The random part keeps two forks of one
        checkpoint from giving different values one version.
        """
        number, point, _ = str(current or 0).partition(".")
        form = f"0{len(number)}d" if point else _NEW_VERSION
        sign = "+" if not point or number.startswith("+") else ""
        chance = b64encode(random.getrandbits(48).to_bytes(6), b"-_").decode()  # nosec B311
        return f"{int(number) + 1:{sign}{form}}.{chance}"

    def _get(self, config: RunnableConfig) -> Steps[CheckpointTuple | None]:
        key = checkpoint_key(config)
        if self._sink.has_nothing(key[0], key[1]):
            return None
        yield from self._sink.settle()
        stored = yield from self._load(key)
        while stored is not None and (lost := lost_channels(stored)):
            parent = _parent_of_incomplete(stored, lost, named=key[2] is not None)
            stored = None if parent is None else (yield from self._load(parent))
        if stored is None:
            return None
        (opened,) = yield from self._opened([stored])
        return self._tuple(opened)

    def _load(self, key: Key) -> Steps[Stored | None]:
        return reading(self._access, lambda c: self._statements.load(c, *key))

    def _listing(
        self, where: Range, wanted: dict[str, Any] | None, limit: int | None
    ) -> _Listing[Connection]:
        return _Listing(
            self._access, self._statements, self._sink, self._seals, where, wanted or {},
            _ALL if limit is None else limit,
        )  # fmt: skip

    def _write(self, rows: Rows) -> Steps[None]:
        sealed = rows if self._seals is None else (yield from self._seals.seal(rows))
        yield from self._sink.write(sealed)
        if self._thread_id is not None and rows.facts:
            self._sent_facts = (rows.facts[0].thread_id, rows.facts[0].facts_id)

    def _opened(self, found: Sequence[Stored]) -> Steps[Sequence[Stored]]:
        return found if self._seals is None else (yield from self._seals.open(found))

    def _change(self, work: Work[Connection]) -> Steps[None]:
        yield from self._sink.settle()
        yield from writing(self._access, work)

    def _delete_thread(self, thread_id: str) -> Steps[None]:
        return self._change(lambda c: self._statements.delete_thread(c, str(thread_id)))

    def _copy(self, source: str, target: str) -> Steps[None]:
        return self._change(lambda c: self._statements.copy_thread(c, str(source), str(target)))

    def _delete_runs(self, run_ids: Sequence[str]) -> Steps[None]:
        def work(connection: Connection) -> None:
            for run_id in run_ids:
                self._statements.delete_run(connection, str(run_id))

        return self._change(work)

    def _prune(self, thread_ids: Sequence[str], strategy: str) -> Steps[None]:
        if strategy not in {"keep_latest", "delete"}:
            raise ValueError(f"Unknown strategy '{strategy}': use 'keep_latest' or 'delete'")
        known = self._statements
        prune = known.keep_latest if strategy == "keep_latest" else known.delete_thread

        def work(connection: Connection) -> None:
            for thread_id in thread_ids:
                prune(connection, str(thread_id))

        return self._change(work)

    def _put_rows(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> tuple[Rows, RunnableConfig]:
        thread_id, checkpoint_ns, parent_id = checkpoint_key(config)
        values = checkpoint["channel_values"]
        inline = {name: value for name, value in values.items() if is_inline(value)}
        content = {key: value for key, value in checkpoint.items() if key not in _APART}
        content["channel_values"] = inline
        apart = [name for name in values if name not in inline]
        if apart:
            content[BLOB_CHANNELS] = apart
        blobs = [
            self._blob(thread_id, checkpoint_ns, channel, str(version), values[channel])
            for channel, version in new_versions.items()
            if channel in values and channel not in inline
        ]
        own, facts = self._divided(thread_id, _stored_metadata(config, metadata, checkpoint_ns))
        row = PutRow(
            thread_id=thread_id,
            checkpoint_ns=checkpoint_ns,
            checkpoint_id=checkpoint["id"],
            parent_id=parent_id,
            facts_id=None if facts is None else facts.facts_id,
            content=orjson.dumps(content).decode(),
            metadata=orjson.dumps(own, default=str).decode(),
        )
        rows = Rows([*self._unsent(facts)], [row], blobs)
        rows.size = len(row.content) + len(row.metadata) + sum(len(blob.content) for blob in blobs)
        saved = {
            "thread_id": thread_id,
            "checkpoint_ns": checkpoint_ns,
            "checkpoint_id": checkpoint["id"],
        }
        return rows, {"configurable": saved}

    def _divided(
        self, thread_id: str, metadata: dict[str, Any]
    ) -> tuple[dict[str, Any], FactsRow | None]:
        """Return the metadata of one checkpoint alone, and the facts that it shares with others."""
        run_id = self._run_id if thread_id == self._thread_id else metadata.get("run_id")
        shared = {key: value for key, value in metadata.items() if key not in _OWN}
        if run_id is None and not shared:
            return metadata, None
        content = orjson.dumps(shared, default=str)
        own = {key: value for key, value in metadata.items() if key in _OWN}
        last = self._facts
        if last is None or last.encoded != content or last.row.thread_id != thread_id:
            last = self._facts = _Facts(content, _facts_row(thread_id, run_id, content))
        return own, last.row

    def _unsent(self, facts: FactsRow | None) -> Sequence[FactsRow]:
        """Return the rows of facts to write.

        The writes of a claim are committed in their order or not at all, so facts that an earlier
        write has taken need no second row.
        """
        if facts is None or (facts.thread_id, facts.facts_id) == self._sent_facts:
            return []
        return [facts]

    def _blob(
        self, thread_id: str, checkpoint_ns: str, channel: str, version: str, value: object
    ) -> BlobRow:
        return BlobRow(thread_id, checkpoint_ns, channel, version, *self._typed(channel, value))

    def _typed(self, channel: str, value: object, task_path: str = "") -> tuple[str, bytes]:
        try:
            return self.serde.dumps_typed(value)
        except (TypeError, ValueError) as error:
            raise unstorable(self.serde, error, channel, value, task_path) from error

    def _write_rows(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, path: str
    ) -> Rows:
        thread_id, checkpoint_ns, checkpoint_id = checkpoint_key(config)
        rows: list[WriteRow] = []
        for index, (channel, value) in enumerate(writes):
            kind, content = self._typed(channel, value, path)
            place = WRITES_IDX_MAP.get(channel, index)
            key = (thread_id, checkpoint_ns, str(checkpoint_id), task_id, place, self._run_id)
            rows.append(WriteRow(*key, path, channel, kind, content))
        size = sum(len(row.content) for row in rows)
        # An interrupt or an error of a task may come again; its results are final.
        if all(channel in WRITES_IDX_MAP for channel, _ in writes):
            return Rows(over_writes=rows, size=size)
        return Rows(new_writes=rows, size=size)

    def _tuple(self, stored: Stored) -> CheckpointTuple:
        checkpoint = orjson.loads(stored.content)
        checkpoint.pop(BLOB_CHANNELS, None)
        checkpoint["id"] = stored.checkpoint_id
        for blob in stored.blobs:
            value = self.serde.loads_typed((blob.kind, blob.content))
            checkpoint["channel_values"][blob.channel] = value
        return CheckpointTuple(
            config=_config(stored, stored.checkpoint_id),
            checkpoint=cast("Checkpoint", checkpoint),
            metadata=cast("CheckpointMetadata", stored.whole_metadata()),
            parent_config=_config(stored, stored.parent_id) if stored.parent_id else None,
            pending_writes=[
                (write.task_id, write.channel, self.serde.loads_typed((write.kind, write.content)))
                for write in stored.writes
            ],
        )


@dataclass(slots=True)
class _Listing(Generic[Connection]):
    """The pages of a search for checkpoints. ``left``: how many may still be returned."""

    access: Access[Connection]
    statements: Statements[Connection]
    sink: Sink
    seals: RowSealer | None
    where: Range
    wanted: dict[str, Any]
    left: int
    last: Place | None = None
    most: int = 0
    begun: bool = False

    def page(self) -> Steps[Sequence[Stored] | None]:
        """Return the next checkpoints, decrypted; None after the last page."""
        if not self.begun:
            self.begun, self.most = True, PAGE if self.where.heads else FIRST_PAGE
            yield from self.sink.settle()
        elif self.last is None:
            return None
        if self.left <= 0:
            return None
        rows, self.last = yield from reading(self.access, self._read())
        self.most = PAGE if self.where.heads else _next_page(rows)
        found = self._fitting((yield from self._opened(_complete(rows))))[: self.left]
        self.left -= len(found)
        return found

    def _read(self) -> Callable[[Connection], tuple[Sequence[Stored], Place | None]]:
        most = min(PAGE, self.left, self.most)
        limit = LOOKED_AT if self._readable else most
        where, readable, last = self.where, self._readable, self.last
        return lambda c: self.statements.page(c, where, readable, last, limit=limit, most=most)

    @property
    def _readable(self) -> dict[str, Any]:
        """The part of the filter that the database can compare."""
        if self.seals is None:
            return self.wanted
        return {key: value for key, value in self.wanted.items() if is_plain(key)}

    def _opened(self, found: Sequence[Stored]) -> Steps[Sequence[Stored]]:
        if self.where.heads:
            found = [replace(each, blobs=[]) for each in found]
        return found if self.seals is None else (yield from self.seals.open(found))

    def _fitting(self, found: Sequence[Stored]) -> Sequence[Stored]:
        if self.seals is None or not self.wanted:
            return found
        return [each for each in found if matches(each.metadata, each.facts, self.wanted)]


for _method in (StorageSaver.put_writes, StorageSaver.aput_writes):
    # langgraph asks for the signature at every run. Making it takes a tenth of a small run's time.
    _method.__dict__["__signature__"] = inspect.signature(_method)


def _parent_of_incomplete(stored: Stored, lost: Sequence[str], *, named: bool) -> Key | None:
    """Return the place of the checkpoint to use instead of one whose values are missing.

    Raises:
        CheckpointIncomplete: the caller has named the checkpoint, so no other one will do.
    """
    _report_incomplete(stored, lost)
    if named:
        raise CheckpointIncomplete(stored.thread_id, stored.checkpoint_id, lost)
    parent = stored.parent_id
    # Ids grow from parent to child: anything else would make this search endless.
    if parent is None or parent >= stored.checkpoint_id:
        return None
    return (stored.thread_id, stored.checkpoint_ns, parent)


def _complete(found: Sequence[Stored]) -> Sequence[Stored]:
    """Leave out the checkpoints of a listing whose values are missing, and log each."""
    complete = []
    for stored in found:
        lost = lost_channels(stored)
        if lost:
            _report_incomplete(stored, lost)
        else:
            complete.append(stored)
    return complete


def _next_page(rows: Sequence[Stored]) -> int:
    """Return how many checkpoints the next page may have, after a page with some."""
    size = sum(map(_size, rows))
    return max(1, min(PAGE, PAGE_BYTES * len(rows) // max(size, 1)))


def _size(stored: Stored) -> int:
    values = sum(len(blob.content) for blob in stored.blobs)
    return values + sum(len(write.content) for write in stored.writes) + len(stored.content)


def _report_incomplete(stored: Stored, lost: Sequence[str]) -> None:
    logger.error(
        "a checkpoint is not used: values of its channels are missing in the database",
        extra={
            "thread_id": stored.thread_id,
            "checkpoint_id": stored.checkpoint_id,
            "channels": ", ".join(lost[:_CHANNELS_LOGGED]),
        },
    )


def _config(stored: Stored, checkpoint_id: str) -> RunnableConfig:
    return {
        "configurable": {
            "thread_id": stored.thread_id,
            "checkpoint_ns": stored.checkpoint_ns,
            "checkpoint_id": checkpoint_id,
        }
    }


def _facts_row(thread_id: str, run_id: str | None, content: bytes) -> FactsRow:
    digest = blake2b(content, digest_size=8, key=str(run_id).encode()[:64]).digest()
    facts_id = int.from_bytes(digest) >> 1  # a positive number of 64 bits with a sign
    return FactsRow(thread_id, facts_id, run_id, content.decode())


def _stored_metadata(
    config: RunnableConfig, metadata: CheckpointMetadata, checkpoint_ns: str
) -> dict[str, Any]:
    """Return the metadata to store, with the place in the parent graph and the source of a fork.

    langgraph leaves these keys to the saver.
    """
    given = config.get("metadata", {})
    stored: dict[str, Any] = {
        **get_serializable_checkpoint_metadata(config, metadata),
        **{key: given[key] for key in _PLACES if key in given},
    }
    if checkpoint_ns:
        stored["checkpoint_map"] = config["configurable"].get("checkpoint_map")
    return stored


def _range(config: RunnableConfig | None, before: RunnableConfig | None) -> Range:
    given = (config or {}).get("configurable", {})
    return Range(
        thread_id=given.get("thread_id"),
        checkpoint_ns=given.get("checkpoint_ns"),
        checkpoint_id=given.get("checkpoint_id"),
        before=(before or {}).get("configurable", {}).get("checkpoint_id"),
    )
