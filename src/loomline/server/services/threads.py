"""Threads."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from uuid import UUID, uuid4

from loomline.server.authz.authorizer import Authorizer, Value
from loomline.server.authz.users import Caller
from loomline.server.domain.access import Condition, both
from loomline.server.domain.extract import parse_paths
from loomline.server.domain.filters import Page
from loomline.server.domain.ids import uuid7
from loomline.server.domain.threads import (
    FoundThread,
    NewThread,
    Thread,
    ThreadFilter,
    ThreadPatch,
    ThreadQuery,
    ThreadSize,
    Ttl,
)
from loomline.server.ports.clock import Clock
from loomline.server.ports.events import EventLog
from loomline.server.ports.signals import STOP, WORK, Signals
from loomline.server.ports.storage import Storage
from loomline.server.services.metadata import MetadataLimit
from loomline.server.services.run_request import parse_uuid
from loomline.server.services.states import StateService
from loomline.server.services.thread_requests import (
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
        authz: Authorizer,
        metadata: MetadataLimit,
        default_ttl: Ttl | None = None,
    ) -> None:
        self._storage = storage
        self._events = events
        self._signals = signals
        self._states = states
        self._clock = clock
        self._authz = authz
        self._metadata = metadata
        self._default_ttl = default_ttl

    async def create(self, caller: Caller, body: ThreadCreateRequest) -> Thread:
        """Create a thread, where the request says so with a state that its graph makes."""
        given = body.get("thread_id")
        thread_id = uuid7() if given is None else parse_uuid(given, "thread")
        if_exists = body.get("if_exists", "raise")
        value: Value = {
            "thread_id": thread_id,
            "metadata": dict(body.get("metadata", {})),
            "if_exists": if_exists,
        }
        access = await self._authz.allow(caller, "threads", "create", value)
        new = NewThread(
            thread_id=thread_id,
            metadata=value.get("metadata") or {},
            if_exists=if_exists,
            now=self._clock.now(),
            ttl=_ttl(body.get("ttl")) or self._default_ttl,
        )
        supersteps = body.get("supersteps")
        if supersteps:
            return await self._states.create(caller, new, supersteps, access)
        return await self._storage.threads.create(new, access=access)

    async def get(self, caller: Caller, thread_id: UUID) -> Thread:
        access = await self._reading(caller, thread_id)
        return await self._storage.threads.get(thread_id, access=access)

    async def search(self, caller: Caller, body: ThreadSearchRequest) -> Page[FoundThread]:
        select = body.get("select")
        ids = [parse_uuid(each, "thread") for each in body.get("ids", [])]
        query = ThreadQuery(
            where=await self._where(caller, body, ids),
            limit=body.get("limit", 10),
            offset=body.get("offset", 0),
            sort_by=body.get("sort_by", "updated_at"),
            descending=body.get("sort_order", "desc") == "desc",
            with_values=not select or "values" in select,
            extract=parse_paths(body.get("extract", {})),
        )
        return await self._storage.threads.search(query)

    async def count(self, caller: Caller, body: ThreadCountRequest) -> int:
        return await self._storage.threads.count(await self._where(caller, body, []))

    async def update(
        self, caller: Caller, thread_id: UUID, body: ThreadPatchRequest, *, with_values: bool
    ) -> Thread:
        """Merge metadata into a thread's and replace its TTL, where they are given."""
        value: Value = {"thread_id": thread_id, "metadata": dict(body.get("metadata", {}))}
        access = await self._authz.allow(caller, "threads", "update", value)
        metadata = value.get("metadata") or {}
        if metadata:
            found = await self._storage.threads.get(thread_id, with_values=False, access=access)
            self._metadata.check(found.metadata, metadata)
        patch = ThreadPatch(self._clock.now(), metadata, _ttl(body.get("ttl")))
        return await self._storage.threads.update(
            thread_id, patch, with_values=with_values, access=access
        )

    async def copy(self, caller: Caller, thread_id: UUID) -> Thread:
        """Copy a thread. What the handler of creating puts into the metadata is the copy's."""
        access = await self._reading(caller, thread_id)
        value: Value = {"thread_id": uuid4(), "metadata": {}, "if_exists": "raise"}
        new_id = value["thread_id"]
        await self._authz.allow(caller, "threads", "create", value)
        return await self._storage.threads.copy(
            thread_id, new_id, self._clock.now(), metadata=value.get("metadata"), access=access
        )

    async def size(self, caller: Caller, thread_id: UUID) -> ThreadSize:
        access = await self._reading(caller, thread_id)
        return await self._storage.threads.size(thread_id, access=access)

    async def delete(self, caller: Caller, thread_id: UUID) -> None:
        """Remove a thread and everything on it; its active runs are stopped."""
        access = await self._authz.allow(caller, "threads", "delete", {"thread_id": thread_id})
        await self._stop(await self._storage.threads.delete(thread_id, access=access))

    async def prune(self, caller: Caller, body: ThreadPruneRequest) -> int:
        """Delete threads, or cut them down to their latest state; return how many there were."""
        ids = list(dict.fromkeys(parse_uuid(each, "thread") for each in body["thread_ids"]))
        strategy = body.get("strategy", "delete")
        pruned = 0
        # All are asked for before anything is done.
        for access, group in await self._prunable(caller, ids):
            for start in range(0, len(group), PRUNE_BATCH):
                batch: Sequence[UUID] = group[start : start + PRUNE_BATCH]
                found = await self._storage.threads.prune(batch, strategy, access=access)
                await self._stop(found.stopped)
                pruned += len(found.threads)
        # A run that came while its thread was pruned could not begin.
        await self._signals.publish(WORK)
        return pruned

    async def _reading(self, caller: Caller, thread_id: UUID) -> Condition:
        return await self._authz.allow(caller, "threads", "read", {"thread_id": thread_id})

    async def _where(
        self, caller: Caller, body: ThreadCountRequest | ThreadSearchRequest, ids: Sequence[UUID]
    ) -> ThreadFilter:
        value: Value = {
            "metadata": dict(body.get("metadata", {})),
            "values": dict(body.get("values", {})),
            "status": body.get("status"),
            "limit": body.get("limit", 0),
            "offset": body.get("offset", 0),
            "ids": ids,
        }
        access = await self._authz.allow(caller, "threads", "search", value)
        return ThreadFilter(
            ids=ids,
            status=value.get("status"),
            metadata=value.get("metadata") or {},
            values=value.get("values") or {},
            access=access,
        )

    async def _prunable(
        self, caller: Caller, ids: Sequence[UUID]
    ) -> list[tuple[Condition, list[UUID]]]:
        """Return threads with the condition under which each may be pruned, neighbours together."""
        every = await self._authz.allow(caller, "threads", "delete", {"thread_ids": list(ids)})
        groups: list[tuple[Condition, list[UUID]]] = []
        for thread_id in ids:
            value = {"thread_id": thread_id}
            access = both(every, await self._authz.allow(caller, "threads", "delete", value))
            if not groups or groups[-1][0] != access:
                groups.append((access, []))
            groups[-1][1].append(thread_id)
        return groups

    async def _stop(self, runs: Iterable[UUID]) -> None:
        """Tell those who work on runs that are gone, and those who follow them."""
        for run_id in runs:
            await self._events.close(str(run_id), keep_seconds=0.0)
            await self._signals.publish(STOP, str(run_id))


def _ttl(given: TtlRequest | None) -> Ttl | None:
    return None if given is None else Ttl(float(given["ttl"]), given.get("strategy", "delete"))
