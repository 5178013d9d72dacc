"""The user's own saver: deletions, copies and pruning for threads and runs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial, wraps
from typing import Any, Final, TypeAlias, TypeVar
from uuid import UUID

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver, ChannelVersions, CheckpointTuple

from loomline.server.domain.errors import LoomlineError, SaverLacks, StorageUnavailable
from loomline.server.ports.graphs import GraphCalls
from loomline.server.ports.savers import has_method
from loomline.server.storage.staged import checkpoint_key, newest_place

logger: logging.Logger = logging.getLogger("loomline.storage")

Saver: TypeAlias = BaseCheckpointSaver[str]

COPY_MOST: Final = 100_000
"""The most checkpoints that a thread may have to be copied one by one."""

SETTLE_SECONDS: Final = 10.0
"""The most that is waited for the writes of a run that has been stopped."""

_QUIET_TURNS: Final = 10

_FAILED: Final = "The checkpoint saver of 'checkpointer.path' failed. Try again later."

T = TypeVar("T")


class Writes:
    """The writes of a saver that are under way, by thread. It belongs to the saver's loop."""

    def __init__(self) -> None:
        self._under_way: dict[str, set[asyncio.Event]] = {}

    def watch(self, saver: Saver) -> Saver:
        """Take note of all async writes of a saver from now on."""
        with suppress(AttributeError):  # a class with slots: its writes are not waited for
            for name in ("aput", "aput_writes"):
                setattr(saver, name, self._noted(getattr(saver, name)))
        return saver

    async def settle(self, thread_id: str) -> None:
        """Return when no write of a thread is under way, or after ``SETTLE_SECONDS``.

        langgraph starts the next write of a run in one of the turns of the loop after the former.
        """
        quiet = 0
        with suppress(TimeoutError):
            async with asyncio.timeout(SETTLE_SECONDS):
                while quiet < _QUIET_TURNS:
                    left = tuple(self._under_way.get(thread_id, ()))
                    quiet = 0 if left else quiet + 1
                    await asyncio.gather(asyncio.sleep(0), *(each.wait() for each in left))

    def _noted(self, write: Callable[..., Awaitable[T]]) -> Callable[..., Awaitable[T]]:
        @wraps(write)
        async def noted(config: RunnableConfig, *rest: object, **more: object) -> T:
            thread_id, over = str(config["configurable"]["thread_id"]), asyncio.Event()
            self._under_way.setdefault(thread_id, set()).add(over)
            try:
                return await write(config, *rest, **more)
            finally:
                over.set()
                left = self._under_way[thread_id]
                left.discard(over)
                if not left:
                    del self._under_way[thread_id]

        return noted


class OwnSaver:
    """The user's saver, called on the loop that it was opened on.

    Args:
        current: Returns the saver, once it is open.
        calls: Executes work on the loop of the saver, from any loop.
        writes: The writes of the saver that are under way.
    """

    def __init__(
        self, current: Callable[[], Saver], calls: GraphCalls, writes: Writes | None = None
    ) -> None:
        self._current = current
        self._calls = calls
        self._writes = writes or Writes()

    @property
    def saver(self) -> Saver:
        return self._current()

    def has(self, method: str) -> bool:
        """Return whether the saver has a method of its own, not only the one of the base class."""
        return has_method(self.saver, method)

    def require(self, method: str, what: str) -> None:
        """Check that the saver has a method.

        Raises:
            SaverLacks: The saver has only the method of the base class.
        """
        if not self.has(method):
            kind = type(self.saver).__name__
            raise SaverLacks(what, f"'{kind}' does not implement '{method}'. Add it.")

    async def newest(self, thread_id: UUID) -> CheckpointTuple | None:
        place = newest_place(thread_id)
        return await self.call("read a checkpoint", lambda: self.saver.aget_tuple(place))

    async def settle(self, thread_id: UUID) -> None:
        """Return when the writes of a thread that are under way have ended.

        langgraph lets them go on when it is cancelled at the end of a run.
        """
        await self.call("wait for writes", lambda: self._writes.settle(str(thread_id)))

    async def delete_threads(self, thread_ids: Iterable[UUID]) -> None:
        """Delete all checkpoints of threads.

        Raises:
            StorageUnavailable: The saver has failed.
        """
        for key in map(str, thread_ids):
            await self.call(f"delete {key}", partial(self.saver.adelete_thread, key))

    async def delete_runs(self, run_ids: Sequence[UUID]) -> None:
        """Delete the checkpoints of runs.

        Raises:
            StorageUnavailable: The saver has failed.
        """
        if run_ids:
            ids = [str(each) for each in run_ids]
            await self.call("delete runs", lambda: self.saver.adelete_for_runs(ids))

    async def keep_latest(self, thread_ids: Sequence[UUID]) -> None:
        """Delete all checkpoints of threads but the latest ones.

        Raises:
            StorageUnavailable: The saver has failed.
        """
        if thread_ids:
            ids = [str(each) for each in thread_ids]
            await self.call("prune", lambda: self.saver.aprune(ids, strategy="keep_latest"))

    async def copy(self, source: UUID, target: UUID) -> None:
        """Copy all checkpoints of a thread, one by one where the saver cannot copy threads.

        Raises:
            SaverLacks: The thread has more than ``COPY_MOST`` checkpoints.
            StorageUnavailable: The saver has failed.
        """

        async def work() -> None:
            if self.has("acopy_thread"):
                await self.saver.acopy_thread(str(source), str(target))
            else:
                await copy_checkpoints(self.saver, str(source), str(target))

        await self.call(f"copy {source}", work)

    async def call(self, name: str, work: Callable[[], Awaitable[T]]) -> T:
        """Call the saver on its loop.

        Raises:
            StorageUnavailable: The saver has raised an error, which is logged.
        """

        async def guarded() -> T:
            try:
                return await work()
            except LoomlineError:
                raise
            except Exception as error:  # a driver may raise any error
                logger.exception("the checkpoint saver failed", extra={"what": name})
                raise StorageUnavailable(_FAILED) from error

        return await self._calls.call(name, guarded)


async def copy_checkpoints(saver: Saver, source: str, target: str) -> None:
    """Copy the checkpoints of a thread and their writes, under their own ids.

    The places are collected first: a saver may hold a lock or a cursor while it lists, and need not
    list namespaces in the order of their checkpoints.

    Raises:
        SaverLacks: The thread has more than ``COPY_MOST`` checkpoints.
    """
    places: list[RunnableConfig] = []
    async for found in saver.alist({"configurable": {"thread_id": source}}):
        places.append(found.config)
        if len(places) > COPY_MOST:
            raise SaverLacks(
                "A copy of the thread",
                f"it has more than {COPY_MOST} checkpoints, and the saver does not implement"
                " 'acopy_thread'.",
            )
    known: dict[str, ChannelVersions] = {}
    for place in reversed(places):
        stored = await saver.aget_tuple(place)
        if stored is not None:
            await _copy_one(saver, stored, target, known)


async def _copy_one(
    saver: Saver, found: CheckpointTuple, target: str, known: dict[str, ChannelVersions]
) -> None:
    """Copy a checkpoint with its writes.

    ``known`` has the versions of the checkpoint that was copied before it, by namespace: some
    savers store values only for the versions that are called new.
    """
    _, namespace, checkpoint_id = checkpoint_key(found.config)
    versions, before = found.checkpoint["channel_versions"], known.get(namespace, {})
    new = {name: each for name, each in versions.items() if before.get(name) != each}
    known[namespace] = versions
    parent = None if found.parent_config is None else checkpoint_key(found.parent_config)[2]
    metadata = found.metadata.copy()
    if "thread_id" in metadata:
        metadata["thread_id"] = target  # type: ignore[typeddict-unknown-key]  # not a declared key
    await saver.aput(_place(target, namespace, parent), found.checkpoint, metadata, new)
    tasks: dict[str, list[tuple[str, Any]]] = {}
    for task_id, channel, value in found.pending_writes or ():
        tasks.setdefault(task_id, []).append((channel, value))
    for task_id, writes in tasks.items():
        await saver.aput_writes(_place(target, namespace, checkpoint_id), writes, task_id)


def _place(thread_id: str, namespace: str, checkpoint_id: str | None = None) -> RunnableConfig:
    named = {"thread_id": thread_id, "checkpoint_ns": namespace}
    if checkpoint_id is not None:
        named["checkpoint_id"] = checkpoint_id
    return {"configurable": named}
