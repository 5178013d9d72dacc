"""Any storage with its content encrypted: the rows here, checkpoints and items by their savers.

``sealed_fields`` lists the encrypted fields. Everything that the database must find or merge stays
readable: ids, names, times, statuses, the keys of objects, and the server's own keys in metadata.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Collection, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Protocol, cast
from uuid import UUID

import orjson
from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple

from loomline.cache import Backend
from loomline.schema import RunStatus
from loomline.server.domain.access import EVERYTHING, Condition
from loomline.server.domain.errors import EncryptionFailed, LeaseLost, StorageUnavailable
from loomline.server.domain.filters import Page
from loomline.server.domain.json import Encoded, JsonObject, dump, load_object
from loomline.server.domain.run_spec import RunSpec, StoredSpec
from loomline.server.domain.runs import (
    Claim,
    Created,
    Finished,
    NewRun,
    Outcome,
    Run,
    pause_after,
)
from loomline.server.domain.threads import (
    FoundThread,
    NewThread,
    Thread,
    ThreadPatch,
    ThreadQuery,
    ThreadState,
)
from loomline.server.ports.sealing import ACTING, Acting
from loomline.server.ports.storage import (
    AssistantStorage,
    CronStorage,
    RunStorage,
    StateEdit,
    Storage,
    ThreadStorage,
    WebhookStorage,
)
from loomline.server.ports.store import Store
from loomline.server.storage.encrypted_assistants import EncryptedAssistants
from loomline.server.storage.encrypted_crons import EncryptedCrons
from loomline.server.storage.encrypted_webhooks import EncryptedWebhooks
from loomline.server.storage.extracting import found_thread, needs_values
from loomline.server.storage.rewriting import Rewriter, rewrite
from loomline.server.storage.sealed_fields import COLUMNS, open_record, seal_record
from loomline.server.storage.sealing import Sealer, Seals, is_marked, split_context, with_context
from loomline.server.storage.wrapping import Wrapper, passed

logger: logging.Logger = logging.getLogger("loomline.storage")


# Batches in a row out of which some runs could not be decrypted; those that could must not wait for
# the end of it.
_CLAIMS = 16


_RUN = COLUMNS["runs"]


class RewritableStorage(Storage, Protocol):
    def rewriter(self) -> Rewriter:
        """Return what changes encrypted rows in their places."""
        ...


class EncryptedStorage:
    """``Storage`` that encrypts what goes into another one and decrypts what comes back.

    The other one must have been made with the same ``sealer``.
    """

    def __init__(self, inner: RewritableStorage, sealer: Sealer) -> None:
        self._inner = inner
        self._sealer = sealer

    async def reencrypt(self) -> int:
        """Encrypt everything anew that is encrypted, in an open storage; return how many rows.

        Raises:
            EncryptionFailed: a handler has failed. It may be called again.
        """
        return await rewrite(self._inner.rewriter(), self._sealer)

    async def open(self) -> None:
        await self._inner.open()
        self.assistants: AssistantStorage = EncryptedAssistants(
            self._inner.assistants, self._sealer
        )
        self.threads: ThreadStorage = EncryptedThreads(self._inner.threads, self._sealer)
        self.runs: RunStorage = EncryptedRuns(self._inner.runs, self._sealer)
        self.crons: CronStorage = EncryptedCrons(self._inner.crons, self._sealer)
        self.webhooks: WebhookStorage = EncryptedWebhooks(self._inner.webhooks, self._sealer)

    async def close(self) -> None:
        await self._inner.close()
        await self._sealer.close()

    async def ping(self) -> None:
        await self._inner.ping()

    @property
    def store(self) -> Store:
        return self._inner.store

    @property
    def cache(self) -> Backend:
        return EncryptedCache(self._inner.cache, self._sealer)

    def checkpointer(self) -> BaseCheckpointSaver[str]:
        return self._inner.checkpointer()

    async def newest_checkpoint(self, thread_id: UUID) -> CheckpointTuple | None:
        return await self._inner.newest_checkpoint(thread_id)

    def edit(self, thread_id: UUID) -> StateEdit:
        return EncryptedEdit(self._inner.edit(thread_id), self._sealer)

    def run_checkpointer(self, claim: Claim, *, wait: bool) -> BaseCheckpointSaver[str]:
        # The run acts from here on: what its nodes put into the store is its own as well.
        ACTING.set(Acting(metadata=claim.run.sealing))
        return self._inner.run_checkpointer(claim, wait=wait)

    async def flush(self, claim: Claim) -> None:
        await self._inner.flush(claim)


class EncryptedCache:
    def __init__(self, inner: Backend, sealer: Sealer) -> None:
        self._inner = inner
        self._sealer = sealer

    async def get(self, key: str) -> object | None:
        found = await self._inner.get(key)
        if not isinstance(found, dict):
            return None
        try:
            opened = await self._sealer.run(lambda seals: seals.open(found))
        except EncryptionFailed:
            return None  # its key is gone; it would have been forgotten in a day
        return opened.get("value")

    async def set(self, key: str, value: object, ttl: timedelta) -> None:
        given = load_object(orjson.dumps({"value": value}))
        sealed = await self._sealer.run(lambda seals: seals.seal("cache", "value", given))
        await self._inner.set(key, sealed, ttl)


class EncryptedEdit:
    def __init__(self, inner: StateEdit, sealer: Sealer) -> None:
        self._inner = inner
        self._sealer = sealer

    @property
    def checkpointer(self) -> BaseCheckpointSaver[str]:
        return self._inner.checkpointer

    async def commit(
        self, state: ThreadState, new: NewThread | None = None, *, access: Condition = EVERYTHING
    ) -> Thread:
        async def seal(seals: Seals) -> tuple[ThreadState, NewThread | None]:
            own = None if new is None else await seal_record(seals, new)
            return await seal_record(seals, state), own

        thread = await self._inner.commit(*await self._sealer.run(seal), access=access)
        return await self._sealer.run(lambda seals: open_record(seals, thread))


class EncryptedThreads(Wrapper[ThreadStorage]):
    @passed(ThreadStorage.event_number)
    def event_number(self) -> None: ...

    @passed(ThreadStorage.priority)
    def priority(self) -> None: ...

    @passed(ThreadStorage.delete)
    def delete(self) -> None: ...

    @passed(ThreadStorage.count)
    def count(self) -> None: ...

    @passed(ThreadStorage.prune)
    def prune(self) -> None: ...

    @passed(ThreadStorage.size)
    def size(self) -> None: ...

    @passed(ThreadStorage.expire)
    def expire(self) -> None: ...

    def __init__(self, inner: ThreadStorage, sealer: Sealer) -> None:
        super().__init__(inner)
        self._sealer = sealer

    async def create(self, new: NewThread, *, access: Condition = EVERYTHING) -> Thread:
        sealed = await self._sealer.run(lambda seals: seal_record(seals, new))
        return await self._opened(await self._inner.create(sealed, access=access))

    async def get(
        self, thread_id: UUID, *, with_values: bool = True, access: Condition = EVERYTHING
    ) -> Thread:
        found = await self._inner.get(thread_id, with_values=with_values, access=access)
        return await self._opened(found)

    async def search(self, query: ThreadQuery) -> Page[FoundThread]:
        # Paths lead into what only we can read.
        plain = dataclasses.replace(query, extract={}, with_values=needs_values(query))
        page = await self._inner.search(plain)

        async def row(seals: Seals, found: FoundThread) -> FoundThread:
            thread = await open_record(seals, found.thread)
            shown = found_thread(thread, query.extract)
            if query.with_values:
                return shown
            return dataclasses.replace(shown, thread=dataclasses.replace(thread, values=None))

        async def rows(seals: Seals) -> list[FoundThread]:
            return await seals.each(lambda found: row(seals, found), page.rows)

        return dataclasses.replace(page, rows=await self._sealer.run(rows))

    async def update(
        self,
        thread_id: UUID,
        patch: ThreadPatch,
        *,
        with_values: bool = True,
        access: Condition = EVERYTHING,
    ) -> Thread:
        sealed = await self._sealer.run(lambda seals: seal_record(seals, patch))
        return await self._opened(
            await self._inner.update(thread_id, sealed, with_values=with_values, access=access)
        )

    async def copy(
        self,
        thread_id: UUID,
        new_id: UUID,
        now: datetime,
        *,
        metadata: JsonObject | None = None,
        access: Condition = EVERYTHING,
    ) -> Thread:
        own = await self._sealer.run(lambda seals: seals.seal("thread", "metadata", metadata or {}))
        made = await self._inner.copy(thread_id, new_id, now, metadata=own, access=access)
        return await self._opened(made)

    async def _opened(self, thread: Thread) -> Thread:
        return await self._sealer.run(lambda seals: open_record(seals, thread))


class EncryptedRuns(Wrapper[RunStorage]):
    @passed(RunStorage.active)
    def active(self) -> None: ...

    @passed(RunStorage.over)
    def over(self) -> None: ...

    @passed(RunStorage.next_due)
    def next_due(self) -> None: ...

    @passed(RunStorage.renew)
    def renew(self) -> None: ...

    @passed(RunStorage.release)
    def release(self) -> None: ...

    @passed(RunStorage.cancel)
    def cancel(self) -> None: ...

    @passed(RunStorage.reclaim)
    def reclaim(self) -> None: ...

    @passed(RunStorage.forget_keys)
    def forget_keys(self) -> None: ...

    @passed(RunStorage.stats)
    def stats(self) -> None: ...

    def __init__(self, inner: RunStorage, sealer: Sealer) -> None:
        super().__init__(inner)
        self._sealer = sealer

    async def create(self, new: NewRun) -> Created:
        try:
            sealed = await self._sealer.run(lambda seals: _seal_new_run(seals, new))
        except EncryptionFailed:
            _ = new.request.encoded  # raises the better error for a request that is too deep
            raise
        created = await self._inner.create(sealed)
        run = created.run
        if run.request is not sealed.request:  # an older run, of a request with the same key
            return dataclasses.replace(created, run=await self._opened(run))
        # The thread may have added to the metadata; all else is that of the request.
        metadata = await self._sealer.run(lambda seals: seals.open(run.metadata))
        own = dataclasses.replace(run, metadata=metadata, user=new.user)
        return dataclasses.replace(created, run=own)

    async def get(
        self, thread_id: UUID | None, run_id: UUID, *, access: Condition = EVERYTHING
    ) -> Run:
        return await self._opened(await self._inner.get(thread_id, run_id, access=access))

    async def list(
        self,
        thread_id: UUID,
        *,
        limit: int,
        offset: int,
        status: RunStatus | None,
        access: Condition = EVERYTHING,
    ) -> Sequence[Run]:
        runs = await self._inner.list(
            thread_id, limit=limit, offset=offset, status=status, access=access
        )
        return await self._all(runs)

    async def delete(self, thread_id: UUID, run_id: UUID, *, access: Condition = EVERYTHING) -> Run:
        return await self._opened(await self._inner.delete(thread_id, run_id, access=access))

    async def claim(
        self,
        worker: str,
        limit: int,
        lease_seconds: float,
        *,
        graphs: Collection[str] | None = None,
    ) -> Sequence[Claim]:
        found: list[Claim] = []
        for _ in range(_CLAIMS):
            rest = limit - len(found)
            try:
                claims = await self._inner.claim(worker, rest, lease_seconds, graphs=graphs)
            except StorageUnavailable:
                if not found:
                    raise
                break  # those that are ours by now must not be lost
            opened = await self._claims(claims)
            found += opened
            if len(opened) == len(claims):
                break
        return found

    async def _claims(self, claims: Sequence[Claim]) -> Sequence[Claim]:
        if not claims:
            return claims
        try:
            runs = await self._all([claim.run for claim in claims])
        except EncryptionFailed:
            # One of them may be to blame: the others must not wait for it, nor lose an attempt.
            return [each for claim in claims if (each := await self._claimed(claim)) is not None]
        return [
            dataclasses.replace(claim, run=run) for claim, run in zip(claims, runs, strict=True)
        ]

    async def _claimed(self, claim: Claim) -> Claim | None:
        """Return a claim decrypted; None: that has failed, and the run waits for a while."""
        run_id = claim.run.run_id
        try:
            return dataclasses.replace(claim, run=await self._opened(claim.run))
        except EncryptionFailed as error:
            logger.warning("a run waits: %s", error, extra={"run_id": str(run_id)})
        with suppress(LeaseLost, StorageUnavailable):  # without the database its lease runs out
            await self._inner.release(claim, pause_seconds=pause_after(claim))
        return None

    async def ask(self, claim: Claim, interrupts: Encoded, asked: Sequence[str]) -> None:
        async def seal(_: Seals) -> Encoded:
            seals = Seals(self._sealer, Acting(metadata=claim.run.sealing))
            return cast("Encoded", await seals.seal_text("thread", "interrupts", interrupts))

        await self._inner.ask(claim, await self._sealer.run(seal), asked)

    async def finish(self, claim: Claim, outcome: Outcome) -> Finished:
        async def seal(_: Seals) -> tuple[Claim, Outcome]:
            seals = Seals(self._sealer, Acting(metadata=claim.run.sealing))
            run = claim.run
            if run.webhook is not None:  # what it tells is made of the run, and stored as well
                run = await _seal_told(seals, run)
            values = await seals.seal_text("thread", "values", outcome.values)
            interrupts = await seals.seal_text("thread", "interrupts", outcome.interrupts)
            error = await seals.seal_text("run", _RUN["error"].name, outcome.error)
            events = await seals.seal_text("run", _RUN["last_events"].name, outcome.last_events)
            sealed = dataclasses.replace(
                outcome,
                values=values,
                interrupts=cast("Encoded", interrupts),
                error=error,
                last_events=events,
            )
            return dataclasses.replace(claim, run=run), sealed

        return await self._inner.finish(*await self._sealer.run(seal))

    async def last_events(self, run_id: UUID) -> Encoded | None:
        found = await self._inner.last_events(run_id)
        return await self._sealer.run(lambda seals: seals.open_text(found))

    async def _opened(self, run: Run) -> Run:
        return await self._sealer.run(lambda seals: _open_run(seals, run))

    async def _all(self, runs: Sequence[Run]) -> Sequence[Run]:
        async def work(seals: Seals) -> Sequence[Run]:
            return await seals.each(lambda run: _open_run(seals, run), runs)

        return await self._sealer.run(work)


async def _seal_new_run(seals: Seals, new: NewRun) -> NewRun:
    # The metadata of the assistant becomes the run's.
    metadata = {**new.assistant_metadata, **new.metadata}
    own = await seals.seal("run", _RUN["metadata"].name, metadata)
    return dataclasses.replace(
        new,
        assistant_metadata={key: own[key] for key in new.assistant_metadata},
        metadata={key: own[key] for key in new.metadata},
        thread_metadata=await seals.seal("thread", "metadata", new.thread_metadata),
        user=await seals.seal_text("run", _RUN["caller"].name, new.user),
        request=StoredSpec(spec=new.spec, sealed=await _seal_spec(seals, new.spec)),
        thread_config=await seals.seal_config("thread", new.thread_config),
    )


async def _seal_spec(seals: Seals, spec: RunSpec) -> Encoded:
    sealed = await seals.seal("run", _RUN["kwargs"].name, spec.document())
    return dump(with_context(sealed, await seals.metadata()))


async def _seal_told(seals: Seals, run: Run) -> Run:
    stored = run.request.sealed
    if stored is None:  # decoded anew: a graph may have changed its input
        stored = await _seal_spec(seals, RunSpec.load(run.request.encoded))
    return dataclasses.replace(
        run,
        metadata=await seals.seal("run", _RUN["metadata"].name, run.metadata),
        request=StoredSpec(stored),
        user=await seals.seal_text("run", _RUN["caller"].name, run.user),
    )


async def _open_run(seals: Seals, run: Run) -> Run:
    request, context = run.request, JsonObject()
    if is_marked(request.encoded):
        document, context = split_context(load_object(request.encoded))
        spec = RunSpec.of(await seals.open(document))
        request = StoredSpec(spec=spec, sealed=request.encoded)
    return dataclasses.replace(
        run,
        metadata=await seals.open(run.metadata),
        request=request,
        error=await seals.open_text(run.error),
        user=await seals.open_text(run.user),
        sealing=context,
    )
