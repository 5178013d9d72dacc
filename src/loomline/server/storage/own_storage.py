"""Any storage, with its checkpoints in the user's own saver.

The rows of threads and runs stay in the database. The two are not written together, so the order
of the writes is chosen such that a failure leaves too much rather than too little, and a request
that failed can be repeated.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from uuid import UUID

from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple

from loomline.cache import Backend
from loomline.server.domain.access import EVERYTHING, Condition
from loomline.server.domain.errors import (
    LeaseLost,
    RunNotFound,
    SaverLacks,
    StorageUnavailable,
    ThreadNotFound,
)
from loomline.server.domain.json import JsonObject
from loomline.server.domain.runs import (
    Cancelled,
    Claim,
    Created,
    Finished,
    NewRun,
    Outcome,
    Run,
    Stop,
)
from loomline.server.domain.threads import (
    Pruned,
    PruneStrategy,
    Thread,
    ThreadSize,
)
from loomline.server.ports.storage import (
    AssistantStorage,
    CronStorage,
    RunStorage,
    StateEdit,
    ThreadStorage,
    WebhookStorage,
)
from loomline.server.ports.store import Store
from loomline.server.storage.encrypted import RewritableStorage
from loomline.server.storage.own_edits import OwnEdit
from loomline.server.storage.own_saver import OwnSaver
from loomline.server.storage.rewriting import Rewriter
from loomline.server.storage.wrapping import Wrapper, passed

logger: logging.Logger = logging.getLogger("loomline.storage")

_ROLL_BACK = "Rolling a run back"


class OwnSaverStorage:
    """``Storage`` around another one, with the checkpoints in the user's saver."""

    def __init__(self, inner: RewritableStorage, own: OwnSaver) -> None:
        self._inner = inner
        self._own = own

    async def open(self) -> None:
        await self._inner.open()
        self.threads: ThreadStorage = OwnSaverThreads(self._inner.threads, self._own)
        self.runs: RunStorage = OwnSaverRuns(self._inner.runs, self._inner.threads, self._own)

    async def close(self) -> None:
        await self._inner.close()

    async def ping(self) -> None:
        await self._inner.ping()

    @property
    def assistants(self) -> AssistantStorage:
        return self._inner.assistants

    @property
    def crons(self) -> CronStorage:
        return self._inner.crons

    @property
    def webhooks(self) -> WebhookStorage:
        return self._inner.webhooks

    @property
    def store(self) -> Store:
        return self._inner.store

    @property
    def cache(self) -> Backend:
        return self._inner.cache

    def checkpointer(self) -> BaseCheckpointSaver[str]:
        return self._own.saver

    async def newest_checkpoint(self, thread_id: UUID) -> CheckpointTuple | None:
        return await self._own.newest(thread_id)

    def edit(self, thread_id: UUID) -> StateEdit:
        return OwnEdit(self._own, self._inner.threads, self._inner.edit(thread_id), thread_id)

    def run_checkpointer(self, claim: Claim, *, wait: bool) -> BaseCheckpointSaver[str]:  # noqa: ARG002
        return self._own.saver

    async def flush(self, claim: Claim) -> None:
        await self._inner.flush(claim)

    def rewriter(self) -> Rewriter:
        return self._inner.rewriter()


class OwnSaverThreads(Wrapper[ThreadStorage]):
    @passed(ThreadStorage.create)
    def create(self) -> None: ...

    @passed(ThreadStorage.get)
    def get(self) -> None: ...

    @passed(ThreadStorage.event_number)
    def event_number(self) -> None: ...

    @passed(ThreadStorage.priority)
    def priority(self) -> None: ...

    @passed(ThreadStorage.search)
    def search(self) -> None: ...

    @passed(ThreadStorage.count)
    def count(self) -> None: ...

    @passed(ThreadStorage.update)
    def update(self) -> None: ...

    def __init__(self, inner: ThreadStorage, own: OwnSaver) -> None:
        super().__init__(inner)
        self._own = own

    async def delete(self, thread_id: UUID, *, access: Condition = EVERYTHING) -> tuple[UUID, ...]:
        await self._inner.get(thread_id, with_values=False, access=access)
        # First: if this fails the thread is still there, and the request can be repeated.
        await self._own.delete_threads([thread_id])
        active = await self._inner.delete(thread_id, access=access)
        if active:
            await self._own.delete_threads([thread_id])
        return active

    async def copy(
        self,
        thread_id: UUID,
        new_id: UUID,
        now: datetime,
        *,
        metadata: JsonObject | None = None,
        access: Condition = EVERYTHING,
    ) -> Thread:
        made = await self._inner.copy(thread_id, new_id, now, metadata=metadata, access=access)
        try:
            await self._own.copy(thread_id, new_id)
        except BaseException:
            await self.delete(new_id)
            raise
        return made

    async def prune(
        self, thread_ids: Sequence[UUID], strategy: PruneStrategy, *, access: Condition = EVERYTHING
    ) -> Pruned:
        if strategy == "delete":
            pruned = await self._inner.prune(thread_ids, strategy, access=access)
            await self._own.delete_threads(pruned.threads)
            return pruned
        self._own.require("aprune", "Pruning a thread to its latest state")
        pruned = await self._inner.prune(thread_ids, strategy, access=access)
        await self._own.keep_latest(pruned.threads)
        return pruned

    async def size(self, thread_id: UUID, *, access: Condition = EVERYTHING) -> ThreadSize:
        await self._inner.get(thread_id, with_values=False, access=access)
        raise SaverLacks(
            "The size of a thread", "a saver does not report the size of its checkpoints."
        )

    async def expire(self, now: datetime, limit: int) -> Pruned:
        pruned = await self._inner.expire(now, limit)
        left = [each for each in pruned.threads if await exists(self._inner, each)]
        gone = [each for each in pruned.threads if each not in left]
        try:
            await self._own.delete_threads(gone)
            if self._own.has("aprune"):
                await self._own.keep_latest(left)
        except StorageUnavailable:
            ids = ", ".join(map(str, gone))
            logger.exception("checkpoints of expired threads are left", extra={"threads": ids})
        return pruned


class OwnSaverRuns(Wrapper[RunStorage]):
    @passed(RunStorage.get)
    def get(self) -> None: ...

    @passed(RunStorage.list)
    def list(self) -> None: ...

    @passed(RunStorage.active)
    def active(self) -> None: ...

    @passed(RunStorage.over)
    def over(self) -> None: ...

    @passed(RunStorage.claim)
    def claim(self) -> None: ...

    @passed(RunStorage.next_due)
    def next_due(self) -> None: ...

    @passed(RunStorage.renew)
    def renew(self) -> None: ...

    @passed(RunStorage.ask)
    def ask(self) -> None: ...

    @passed(RunStorage.last_events)
    def last_events(self) -> None: ...

    @passed(RunStorage.reclaim)
    def reclaim(self) -> None: ...

    @passed(RunStorage.forget_keys)
    def forget_keys(self) -> None: ...

    @passed(RunStorage.stats)
    def stats(self) -> None: ...

    def __init__(self, inner: RunStorage, threads: ThreadStorage, own: OwnSaver) -> None:
        super().__init__(inner)
        self._threads = threads
        self._own = own

    async def create(self, new: NewRun) -> Created:
        rolls_back = new.multitask_strategy == "rollback"
        if rolls_back:
            self._own.require("adelete_for_runs", _ROLL_BACK)
        created = await self._inner.create(new)
        if rolls_back:
            # Runs that wait may have begun before, on a worker that is gone.
            await self._own.delete_runs(created.ended)
        return created

    async def delete(self, thread_id: UUID, run_id: UUID, *, access: Condition = EVERYTHING) -> Run:
        await self._inner.get(thread_id, run_id, access=access)
        if self._own.has("adelete_for_runs"):
            await self._own.delete_runs([run_id])
        run = await self._inner.delete(thread_id, run_id, access=access)
        await self._clean_after(run)
        return run

    async def finish(self, claim: Claim, outcome: Outcome) -> Finished:
        run = claim.run
        if outcome.roll_back and self._own.has("adelete_for_runs"):
            # Before the thread is free for another run, which would read them.
            await self._own.delete_runs([run.run_id])
        async with self._leaving_nothing(run):
            finished = await self._inner.finish(claim, outcome)
        if run.temporary and not outcome.untold:
            with suppress(StorageUnavailable):  # logged; the run has ended all the same
                await self._own.delete_threads([run.thread_id])
        return finished

    async def release(self, claim: Claim, *, pause_seconds: float = 0.0) -> None:
        async with self._leaving_nothing(claim.run):
            await self._inner.release(claim, pause_seconds=pause_seconds)

    async def cancel(
        self,
        thread_id: UUID,
        run_ids: Sequence[UUID],
        stop: Stop,
        *,
        access: Condition = EVERYTHING,
    ) -> Cancelled:
        rolls_back = stop.action == "rollback"
        if rolls_back:
            self._own.require("adelete_for_runs", _ROLL_BACK)
        cancelled = await self._inner.cancel(thread_id, run_ids, stop, access=access)
        if rolls_back:
            await self._own.delete_runs(cancelled.ended)
        if cancelled.ended and not await exists(self._threads, thread_id):
            await self._own.delete_threads([thread_id])
        return cancelled

    @asynccontextmanager
    async def _leaving_nothing(self, run: Run) -> AsyncIterator[None]:
        """Delete the late checkpoints of a run that was deleted while it was executed.

        The saver has no fence: it takes the writes of a run until the worker hears of the deletion.
        """
        try:
            yield
        except LeaseLost:
            with suppress(StorageUnavailable):  # logged
                await self._own.settle(run.thread_id)
                await self._clean_after(run)
            raise

    async def _clean_after(self, run: Run) -> None:
        """Delete the checkpoints of a run that is gone, and of its thread if that is gone."""
        if not await exists(self._threads, run.thread_id):
            await self._own.delete_threads([run.thread_id])
            return
        if self._own.has("adelete_for_runs"):
            with suppress(RunNotFound):
                await self._inner.get(run.thread_id, run.run_id)
                return
            await self._own.delete_runs([run.run_id])


async def exists(threads: ThreadStorage, thread_id: UUID) -> bool:
    """Return whether there is a thread with an id."""
    try:
        await threads.get(thread_id, with_values=False)
    except ThreadNotFound:
        return False
    return True
