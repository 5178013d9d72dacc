"""Checkpoints that are prepared first and stored later, whatever the database."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, cast
from uuid import UUID

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    WRITES_IDX_MAP,
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    PendingWrite,
    get_checkpoint_metadata,
)
from langgraph.checkpoint.serde.base import SerializerProtocol

from loomline.server.storage.checkpoints import Rows
from loomline.server.storage.steps import Steps, nothing

Saver: TypeAlias = BaseCheckpointSaver[str]

Key: TypeAlias = tuple[str, str, str | None]
"""The thread, the namespace and the id of a checkpoint; None: the newest one."""

_Key: TypeAlias = tuple[str, str, str]


@dataclass(slots=True)
class _Writes:
    """The staged writes to one checkpoint, each at its place."""

    places: dict[tuple[str, int], PendingWrite] = field(default_factory=dict)

    def add(self, task_id: str, writes: Sequence[tuple[str, Any]]) -> None:
        for index, (channel, value) in enumerate(writes):
            place = WRITES_IDX_MAP.get(channel, index)
            if place < 0 or (task_id, place) not in self.places:
                self.places[task_id, place] = (task_id, channel, value)


class StagedSaver(BaseCheckpointSaver[str]):
    """Reads what ``stored`` has and what was written to itself, which goes to ``staging`` as well.

    ``staging`` is a saver that only collects. Values are encoded when they are written and decoded
    when they are read, as they would be on their way through a database.
    """

    def __init__(
        self, stored: Saver, staging: Saver, serde: SerializerProtocol | None = None
    ) -> None:
        super().__init__(serde=serde)
        self._stored = stored
        self._staging = staging
        self._staged: dict[_Key, tuple[CheckpointTuple, tuple[str, bytes]]] = {}
        self._writes: dict[_Key, _Writes] = {}
        self._newest: dict[tuple[str, str], str | None] = {}

    def with_allowlist(self, extra_allowlist: Collection[tuple[str, ...]]) -> StagedSaver:
        """Return the same saver for values that may be of further types."""
        # A shallow copy: what one of the two stages the other one has as well.
        clone = cast("StagedSaver", super().with_allowlist(extra_allowlist))
        clone._stored = self._stored.with_allowlist(extra_allowlist)  # noqa: SLF001
        return clone

    @property
    def newest(self) -> Mapping[tuple[str, str], str | None]:
        """Return the ids that were the newest stored ones of a thread and a namespace when read.

        What has been written may rest on them: it must not be stored when they no longer are.
        """
        return self._newest

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        thread_id, checkpoint_ns, checkpoint_id = checkpoint_key(config)
        if checkpoint_id is None:
            return await self._latest(config, thread_id, checkpoint_ns)
        key = (thread_id, checkpoint_ns, checkpoint_id)
        if key in self._staged:
            return self._own(key)
        return self._with_writes(await self._stored.aget_tuple(config))

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        saved = await self._staging.aput(config, checkpoint, metadata, new_versions)
        thread_id, checkpoint_ns, parent_id = checkpoint_key(config)
        self._staged[thread_id, checkpoint_ns, checkpoint["id"]] = (
            CheckpointTuple(
                config=saved,
                checkpoint=checkpoint,
                metadata=get_checkpoint_metadata(config, metadata),
                parent_config=_named(thread_id, checkpoint_ns, parent_id),
            ),
            self.serde.dumps_typed(checkpoint),
        )
        return saved

    async def aput_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        await self._staging.aput_writes(config, writes, task_id, task_path)
        thread_id, checkpoint_ns, checkpoint_id = checkpoint_key(config)
        key = (thread_id, checkpoint_ns, str(checkpoint_id))
        decoded = self.serde.loads_typed(self.serde.dumps_typed(list(writes)))
        self._writes.setdefault(key, _Writes()).add(task_id, decoded)

    def get_next_version(self, current: str | None, channel: None) -> str:
        return self._stored.get_next_version(current, channel)

    async def _latest(
        self, config: RunnableConfig, thread_id: str, checkpoint_ns: str
    ) -> CheckpointTuple | None:
        stored = await self._stored.aget_tuple(config)
        # The first answer counts: it is the one that was worked with.
        self._newest.setdefault(
            (thread_id, checkpoint_ns), None if stored is None else stored.checkpoint["id"]
        )
        own = [key for key in self._staged if key[:2] == (thread_id, checkpoint_ns)]
        newest = max(own, default=None, key=lambda key: key[2])
        if newest is None or (stored is not None and stored.checkpoint["id"] > newest[2]):
            return self._with_writes(stored)
        return self._own(newest)

    def _own(self, key: _Key) -> CheckpointTuple:
        staged, content = self._staged[key]
        writes = self._writes.get(key, _Writes())
        return staged._replace(
            checkpoint=self.serde.loads_typed(content),
            pending_writes=list(writes.places.values()),
        )

    def _with_writes(self, stored: CheckpointTuple | None) -> CheckpointTuple | None:
        if stored is None:
            return None
        thread_id, checkpoint_ns, checkpoint_id = checkpoint_key(stored.config)
        writes = self._writes.get((thread_id, checkpoint_ns, str(checkpoint_id)))
        if writes is None:
            return stored
        return stored._replace(
            pending_writes=[*(stored.pending_writes or []), *writes.places.values()]
        )


class Collected:
    """A sink that keeps what it takes."""

    def __init__(self) -> None:
        self.rows: Rows = Rows()

    def write(self, rows: Rows) -> Steps[None]:
        self.rows.add(rows)
        return nothing()

    def settle(self) -> Steps[None]:
        return nothing()

    def has_nothing(self, thread_id: str, checkpoint_ns: str) -> bool:  # noqa: ARG002
        return False


def checkpoint_key(config: RunnableConfig) -> Key:
    """Return the thread, the namespace and the id (None: the newest) that a config names."""
    configurable = config["configurable"]
    checkpoint_id = configurable.get("checkpoint_id")
    return (
        str(configurable["thread_id"]),
        configurable.get("checkpoint_ns") or "",
        None if not checkpoint_id else str(checkpoint_id),
    )


def newest_place(thread_id: UUID | str) -> RunnableConfig:
    """Return the config that names the newest checkpoint of a thread."""
    return {"configurable": {"thread_id": str(thread_id), "checkpoint_ns": ""}}


def _named(thread_id: str, checkpoint_ns: str, parent_id: str | None) -> RunnableConfig | None:
    if parent_id is None:
        return None
    return {
        "configurable": {
            "thread_id": thread_id,
            "checkpoint_ns": checkpoint_ns,
            "checkpoint_id": parent_id,
        }
    }
