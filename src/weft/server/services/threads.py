"""Threads."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from uuid import UUID, uuid4

from weft.server.authz.users import Caller
from weft.server.domain.extract import parse_paths
from weft.server.domain.filters import Page
from weft.server.domain.ids import uuid7
from weft.server.domain.threads import (
    FoundThread,
    NewThread,
    Thread,
    ThreadFilter,
    ThreadPatch,
    ThreadQuery,
    ThreadSize,
    Ttl,
)
from weft.server.ports.clock import Clock
from weft.server.ports.events import EventLog
from weft.server.ports.signals import STOP, Signals
from weft.server.ports.storage import Storage
from weft.server.services.run_request import parse_uuid
from weft.server.services.states import StateService
from weft.server.services.thread_requests import (
    ThreadCountRequest,
    ThreadCreateRequest,
    ThreadPatchRequest,
    ThreadPruneRequest,
    ThreadSearchRequest,
    TtlRequest,
)

PRUNE_BATCH = 50
"""Threads in one transaction: others must not wait for a thousand of them."""


class ThreadService:
    def __init__(
        self,
        *,
        storage: Storage,
        events: EventLog,
        signals: Signals,
        states: StateService,
        clock: Clock,
        default_ttl: Ttl | None = None,
    ) -> None:
        self._storage = storage
        self._events = events
        self._signals = signals
        self._states = states
        self._clock = clock
        self._default_ttl = default_ttl

    async def create(self, caller: Caller, body: ThreadCreateRequest) -> Thread:
        """Create a thread, where the request says so with a state that its graph makes."""
        given = body.get("thread_id")
        new = NewThread(
            thread_id=uuid7() if given is None else parse_uuid(given, "thread"),
            metadata=body.get("metadata", {}),
            if_exists=body.get("if_exists", "raise"),
            now=self._clock.now(),
            ttl=_ttl(body.get("ttl")) or self._default_ttl,
        )
        supersteps = body.get("supersteps")
        if supersteps:
            return await self._states.create(caller, new, supersteps)
        return await self._storage.threads.create(new)

    async def get(self, caller: Caller, thread_id: UUID) -> Thread:
        return await self._storage.threads.get(thread_id)

    async def search(self, caller: Caller, body: ThreadSearchRequest) -> Page[FoundThread]:
        select = body.get("select")
        query = ThreadQuery(
            where=_filter(body, [parse_uuid(each, "thread") for each in body.get("ids", [])]),
            limit=body.get("limit", 10),
            offset=body.get("offset", 0),
            sort_by=body.get("sort_by", "updated_at"),
            descending=body.get("sort_order", "desc") == "desc",
            with_values=not select or "values" in select,
            extract=parse_paths(body.get("extract", {})),
        )
        return await self._storage.threads.search(query)

    async def count(self, caller: Caller, body: ThreadCountRequest) -> int:
        return await self._storage.threads.count(_filter(body, []))

    async def update(
        self, caller: Caller, thread_id: UUID, body: ThreadPatchRequest, *, with_values: bool
    ) -> Thread:
        """Merge metadata into a thread's and replace its TTL, where they are given."""
        patch = ThreadPatch(self._clock.now(), body.get("metadata", {}), _ttl(body.get("ttl")))
        return await self._storage.threads.update(thread_id, patch, with_values=with_values)

    async def copy(self, caller: Caller, thread_id: UUID) -> Thread:
        return await self._storage.threads.copy(thread_id, uuid4(), self._clock.now())

    async def size(self, caller: Caller, thread_id: UUID) -> ThreadSize:
        return await self._storage.threads.size(thread_id)

    async def delete(self, caller: Caller, thread_id: UUID) -> None:
        """Remove a thread and everything on it; its active runs are stopped."""
        await self._stop(await self._storage.threads.delete(thread_id))

    async def prune(self, caller: Caller, body: ThreadPruneRequest) -> int:
        """Delete threads, or cut them down to their latest state; return how many there were."""
        ids = list(dict.fromkeys(parse_uuid(each, "thread") for each in body["thread_ids"]))
        strategy = body.get("strategy", "delete")
        pruned = 0
        for start in range(0, len(ids), PRUNE_BATCH):
            batch: Sequence[UUID] = ids[start : start + PRUNE_BATCH]
            found = await self._storage.threads.prune(batch, strategy)
            await self._stop(found.stopped)
            pruned += len(found.threads)
        return pruned

    async def _stop(self, runs: Iterable[UUID]) -> None:
        """Tell those who work on runs that are gone, and those who follow them."""
        for run_id in runs:
            await self._events.close(str(run_id), keep_seconds=0.0)
            await self._signals.publish(STOP, str(run_id))


def _ttl(given: TtlRequest | None) -> Ttl | None:
    return None if given is None else Ttl(float(given["ttl"]), given.get("strategy", "delete"))


def _filter(body: ThreadCountRequest, ids: Sequence[UUID]) -> ThreadFilter:
    return ThreadFilter(
        ids=ids,
        status=body.get("status"),
        metadata=body.get("metadata", {}),
        values=body.get("values", {}),
    )
