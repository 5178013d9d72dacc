"""A change of a thread's state, with its checkpoints in the user's own saver."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeAlias
from uuid import UUID

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
)

from loomline.server.domain.access import EVERYTHING, Condition
from loomline.server.domain.errors import StateChanged, ThreadExists, ThreadInFlight
from loomline.server.domain.threads import NewThread, Thread, ThreadState
from loomline.server.ports.storage import StateEdit, ThreadStorage
from loomline.server.storage.own_saver import OwnSaver, Saver
from loomline.server.storage.staged import StagedSaver, checkpoint_key

_Put: TypeAlias = Callable[[Saver], Awaitable[object]]


class OwnEdit:
    """``StateEdit``: calls of the saver wait in memory until they are made one after the other.

    The checkpoints are stored before the thread's row, so that the row never shows a state that
    does not exist. The two are not one act: another change may come between them.

    Args:
        own: The saver.
        threads: The rows of the threads.
        row: The change of the thread's row, without checkpoints.
        thread_id: The thread.
    """

    def __init__(
        self, own: OwnSaver, threads: ThreadStorage, row: StateEdit, thread_id: UUID
    ) -> None:
        self._own = own
        self._threads = threads
        self._row = row
        self._thread_id = thread_id
        self._recorded = _Recorder()
        self._saver = StagedSaver(own.saver, self._recorded, own.saver.serde)

    @property
    def checkpointer(self) -> BaseCheckpointSaver[str]:
        return self._saver

    async def commit(
        self, state: ThreadState, new: NewThread | None = None, *, access: Condition = EVERYTHING
    ) -> Thread:
        if new is None:
            return await self._change(state, access)
        try:
            await self._threads.create(dataclasses.replace(new, if_exists="raise"))
        except ThreadExists:
            if new.if_exists == "raise":
                raise
            return await self._threads.create(new, access=access)
        try:
            return await self._change(state, EVERYTHING)
        except BaseException:
            await asyncio.shield(self._undo())
            raise

    async def _change(self, state: ThreadState, access: Condition) -> Thread:
        thread = await self._threads.get(self._thread_id, with_values=False, access=access)
        if thread.status == "busy":
            raise ThreadInFlight(self._thread_id)
        await self._own.call(f"change {self._thread_id}", self._put_all)
        return await self._row.commit(state, access=access)

    async def _undo(self) -> None:
        await self._threads.delete(self._thread_id)
        await self._own.delete_threads([self._thread_id])

    async def _put_all(self) -> None:
        saver = self._own.saver
        for (thread_id, namespace), newest in self._saver.newest.items():
            place = {"thread_id": thread_id, "checkpoint_ns": namespace}
            found = await saver.aget_tuple({"configurable": place})
            if newest != (None if found is None else found.checkpoint["id"]):
                raise StateChanged(self._thread_id)
        for put in self._recorded.puts:
            await put(saver)


class _Recorder(BaseCheckpointSaver[str]):
    """A saver that keeps the calls of its methods, to be made on another saver later."""

    def __init__(self) -> None:
        super().__init__()
        self.puts: list[_Put] = []

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        # langgraph goes on to use these objects for the next superstep.
        kept = checkpoint.copy()
        kept["channel_values"] = dict(checkpoint["channel_values"])
        kept["channel_versions"] = dict(checkpoint["channel_versions"])
        versions = dict(new_versions)
        self.puts.append(lambda saver: saver.aput(config, kept, metadata, versions))
        thread_id, namespace, _ = checkpoint_key(config)
        saved = {
            "thread_id": thread_id,
            "checkpoint_ns": namespace,
            "checkpoint_id": checkpoint["id"],
        }
        return {"configurable": saved}

    async def aput_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        kept = list(writes)
        self.puts.append(lambda saver: saver.aput_writes(config, kept, task_id, task_path))
