"""The savers of a storage, and the edits of its states, for all drivers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Generic
from uuid import UUID

from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple

from loomline.server.domain.errors import StateChanged
from loomline.server.domain.runs import Claim
from loomline.server.storage.checkpoints import (
    Access,
    Connection,
    Settled,
    Sink,
    Statements,
    lost_channels,
)
from loomline.server.storage.saver import SaverOptions, StorageSaver
from loomline.server.storage.sinks import DirectSink, Sinks
from loomline.server.storage.staged import Collected, StagedSaver, newest_place


@dataclass(frozen=True, slots=True)
class Savers(Generic[Connection]):
    """Makes the savers of one storage."""

    access: Access[Connection]
    statements: Statements[Connection]
    sinks: Sinks
    options: SaverOptions

    def direct(self) -> StorageSaver[Connection]:
        """Return a saver that commits each write before it returns."""
        return self.into(DirectSink(self.access, self.statements.write))

    def into(self, sink: Sink, claim: Claim | None = None) -> StorageSaver[Connection]:
        """Return a saver that gives its rows to a sink."""
        return StorageSaver(self.access, self.statements, sink, claim, self.options)

    def of(self, claim: Claim, *, wait: bool) -> StorageSaver[Connection]:
        """Return the saver of a claim. With ``wait`` it commits each write before it returns."""
        sink: Sink = self.sinks.of(claim)
        return self.into(Settled(sink) if wait else sink, claim)

    def staged(self) -> Staged[Connection]:
        """Return a saver that keeps its rows in memory until they are written together."""
        collected = Collected()
        saver = StagedSaver(self.direct(), self.into(collected), self.options.serde)
        return Staged(self.statements, saver, collected)


@dataclass(frozen=True, slots=True)
class Staged(Generic[Connection]):
    """The rows of a change of state, and the saver that collects them."""

    statements: Statements[Connection]
    saver: StagedSaver
    collected: Collected = field(default_factory=Collected)

    def write(self, connection: Connection, thread_id: UUID) -> None:
        """Write all rows within the caller's transaction, which holds the thread.

        Raises:
            StateChanged: the state that the change was made from is no longer the newest, or some
                of its values have been deleted since it was read.
        """
        known = self.statements
        for place, newest in self.saver.newest.items():
            if known.newest(connection, *place) != newest:
                raise StateChanged(thread_id)
        known.write(connection, self.collected.rows)
        for row in self.collected.rows.checkpoints:
            stored = known.load(connection, row.thread_id, row.checkpoint_ns, row.checkpoint_id)
            if stored is None or lost_channels(stored):
                raise StateChanged(thread_id)


class Checkpointed(Generic[Connection]):
    """The methods of ``Storage`` that read and write checkpoints."""

    _savers: Savers[Connection]

    def checkpointer(self) -> BaseCheckpointSaver[str]:
        return self._savers.direct()

    def run_checkpointer(self, claim: Claim, *, wait: bool) -> BaseCheckpointSaver[str]:
        return self._savers.of(claim, wait=wait)

    async def newest_checkpoint(self, thread_id: UUID) -> CheckpointTuple | None:
        return await self._savers.direct().aget_tuple(newest_place(thread_id))

    async def flush(self, claim: Claim) -> None:
        await self._savers.sinks.settle(claim)
