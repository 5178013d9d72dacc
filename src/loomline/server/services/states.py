"""States of threads: reading them, their history, and changing them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar, cast
from uuid import UUID
from weakref import WeakValueDictionary

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.types import StateUpdate

from loomline.runtime import AccessContext
from loomline.server.authz.acting import acting_for
from loomline.server.authz.authorizer import Authorizer, Value
from loomline.server.authz.users import Caller
from loomline.server.domain.access import Condition, both, meets
from loomline.server.domain.errors import (
    ContradictoryInput,
    StateChanged,
    StateRefused,
    ThreadExists,
    ThreadInFlight,
    ThreadNotFound,
    ThreadWithoutGraph,
)
from loomline.server.domain.json import Encoded, JsonObject
from loomline.server.domain.threads import NewThread, Thread, ThreadPatch, ThreadState, status_after
from loomline.server.graphs.registry import Graph, Graphs
from loomline.server.graphs.runtimes import Purpose
from loomline.server.graphs.serde import encode
from loomline.server.graphs.states import (
    Selection,
    Summary,
    change_state,
    command,
    empty_state,
    pointer,
    read_history,
    read_state,
    shown_heads,
    summary,
)
from loomline.server.ports.clock import Clock
from loomline.server.ports.graphs import GraphCalls
from loomline.server.ports.heads import ReadsHeads
from loomline.server.ports.signals import STATE, Signals
from loomline.server.ports.storage import Storage
from loomline.server.services.reading import reading_config
from loomline.server.services.run_request import parse_uuid
from loomline.server.services.thread_requests import (
    CheckpointRequest,
    StateUpdateRequest,
    SuperstepRequest,
    UpdateRequest,
)

_ATTEMPTS = 5

T = TypeVar("T")
Saver = BaseCheckpointSaver[str]
Updates = Sequence[Sequence[StateUpdate]]


@dataclass(frozen=True, slots=True)
class HistoryQuery:
    """Which states of a history: of the place's namespace, strictly older than ``before``."""

    limit: int
    before: str | None
    metadata: JsonObject
    place: CheckpointRequest


@dataclass(frozen=True, slots=True)
class _Change:
    """Updates of a state, of a thread that is there and meets a condition, or of a new one."""

    config: RunnableConfig
    updates: Updates
    access: Condition
    new: NewThread | None = None


@dataclass(frozen=True, slots=True)
class _Use:
    """What a graph is opened for, and for whom."""

    access: AccessContext
    caller: Caller
    saver: Saver


class StateService:
    """Calls graphs where their code cannot block the server; what they write is stored at once."""

    def __init__(
        self,
        *,
        storage: Storage,
        graphs: Graphs,
        calls: GraphCalls,
        signals: Signals,
        clock: Clock,
        authz: Authorizer,
    ) -> None:
        self._storage = storage
        self._graphs = graphs
        self._calls = calls
        self._signals = signals
        self._clock = clock
        self._authz = authz
        self._locks: WeakValueDictionary[UUID, asyncio.Lock] = WeakValueDictionary()

    async def get(
        self,
        caller: Caller,
        thread_id: UUID,
        place: CheckpointRequest | None = None,
        selection: Selection | None = None,
        *,
        subgraphs: bool = False,
    ) -> Encoded:
        """Return a state of a thread, encoded; an empty one where there is no such checkpoint."""
        config = _config(thread_id, place or {})
        wanted = selection or Selection()
        thread = await self._readable(caller, thread_id)
        if _graph_id(thread) is None:
            return encode(empty_state(wanted))

        async def work(graph: Graph) -> Encoded:
            return await read_state(graph, config, wanted, subgraphs=subgraphs)

        return await self._call(self._looking(caller), thread, work)

    async def history(
        self, caller: Caller, thread_id: UUID, query: HistoryQuery, selection: Selection
    ) -> Encoded:
        """Return states of a thread, newest first, encoded as an array."""
        config = _config(thread_id, query.place)
        thread = await self._readable(caller, thread_id)
        if _graph_id(thread) is None or query.limit == 0:
            return Encoded(b"[]")
        saver = self._storage.checkpointer()
        if selection.needs_heads_only and _is_root(config) and isinstance(saver, ReadsHeads):
            heads = await saver.heads(
                config, filter=query.metadata or None, before=_older(query), limit=query.limit
            )
            return shown_heads(heads, selection)

        async def work(graph: Graph) -> Encoded:
            return await read_history(
                graph,
                config,
                selection,
                metadata=query.metadata,
                before=query.before,
                limit=query.limit,
            )

        return await self._call(self._looking(caller), thread, work)

    async def update(self, caller: Caller, thread_id: UUID, body: StateUpdateRequest) -> Encoded:
        """Change a state, or fork from an older one; return the place of the new checkpoint.

        Raises:
            ThreadWithoutGraph: there is nothing to change the state with.
            StateRefused: the graph does not take the update.
            ThreadInFlight: the thread has active runs.
        """
        access = await self._changing(caller, thread_id)
        thread = await self._storage.threads.get(thread_id, with_values=False, access=access)
        if thread.status == "busy":
            raise ThreadInFlight(thread_id)
        config = _config(thread_id, _place(body))
        updates = [
            [StateUpdate(cast("JsonObject | None", body.get("values")), body.get("as_node"))]
        ]
        saved, _ = await self._edit(caller, thread, _Change(config, updates, access))
        await self._signals.publish(STATE, str(thread_id))
        place = pointer(saved) or {}
        return encode(
            {"checkpoint": place, "configurable": place, "checkpoint_id": place["checkpoint_id"]}
        )

    async def create(
        self,
        caller: Caller,
        new: NewThread,
        supersteps: Sequence[SuperstepRequest],
        access: Condition,
    ) -> Thread:
        """Create a thread with the state that its graph makes of some updates.

        Raises:
            ThreadExists: the id is taken.
            StateRefused: the metadata names no graph, or it does not take an update. Nothing has
                been created then.
        """
        await self._changing(caller, new.thread_id)
        updates = [[_update(each) for each in superstep["updates"]] for superstep in supersteps]
        found = await self._existing(new, access)
        if found is not None:
            return found
        config = _config(new.thread_id, {})
        change = _Change(config, updates, access, new)
        _, thread = await self._edit(caller, _to_be(new), change)
        return thread

    async def patch(self, caller: Caller, thread_id: UUID, metadata: JsonObject) -> None:
        """Merge metadata into the thread's."""
        value: Value = {"thread_id": thread_id, "metadata": dict(metadata)}
        access = await self._authz.allow(caller, "threads", "update", value)
        patch = ThreadPatch(self._clock.now(), value.get("metadata") or {})
        await self._storage.threads.update(thread_id, patch, with_values=False, access=access)

    async def _readable(self, caller: Caller, thread_id: UUID) -> Thread:
        access = await self._authz.allow(caller, "threads", "read", {"thread_id": thread_id})
        return await self._storage.threads.get(thread_id, with_values=False, access=access)

    async def _changing(self, caller: Caller, thread_id: UUID) -> Condition:
        """Return which threads somebody may change and then see the result of."""
        change = await self._authz.allow(caller, "threads", "update", {"thread_id": thread_id})
        read = await self._authz.allow(caller, "threads", "read", {"thread_id": thread_id})
        return both(change, read)

    async def _existing(self, new: NewThread, access: Condition) -> Thread | None:
        try:
            found = await self._storage.threads.get(new.thread_id)
        except ThreadNotFound:
            return None
        if new.if_exists == "raise" or not meets(found.metadata, access):
            raise ThreadExists(new.thread_id)
        return found

    async def _edit(
        self, caller: Caller, thread: Thread, change: _Change
    ) -> tuple[RunnableConfig, Thread]:
        if _graph_id(thread) is None:
            raise _no_graph(thread, change.new)
        # One after the other, for each rests on the one before. Other processes may come between.
        async with self._locks.setdefault(thread.thread_id, asyncio.Lock()):
            for _ in range(_ATTEMPTS - 1):
                with suppress(StateChanged):
                    return await self._try_edit(caller, thread, change)
            return await self._try_edit(caller, thread, change)

    async def _try_edit(
        self, caller: Caller, thread: Thread, change: _Change
    ) -> tuple[RunnableConfig, Thread]:
        edit = self._storage.edit(thread.thread_id)

        async def work(graph: Graph) -> tuple[RunnableConfig, Summary]:
            config: RunnableConfig = {**change.config, "metadata": _named(thread)}
            saved = await change_state(graph, config, change.updates)
            return saved, await summary(graph, str(thread.thread_id))

        use = _Use("threads.update", caller, edit.checkpointer)
        saved, state = await self._call(use, thread, work)
        return saved, await edit.commit(self._state(state), change.new, access=change.access)

    def _state(self, state: Summary) -> ThreadState:
        status = status_after("success", has_next=state.has_next)
        return ThreadState(status, state.values, state.interrupts, self._clock.now())

    def _looking(self, caller: Caller) -> _Use:
        return _Use("threads.read", caller, self._storage.checkpointer())

    async def _call(self, use: _Use, thread: Thread, work: Callable[[Graph], Awaitable[T]]) -> T:
        graph_id = _graph_id(thread)
        assert graph_id is not None
        self._graphs.check(graph_id)
        config = _graph_config(thread, graph_id, use.caller)
        purpose = Purpose(use.access, use.caller.user)

        async def opened() -> T:
            with acting_for(use.caller):
                async with self._graphs.open(
                    graph_id, config, purpose, checkpointer=use.saver, store=self._storage.store
                ) as graph:
                    return await work(graph)

        return await self._calls.call(f"{use.access} of {thread.thread_id}", opened)


def _graph_id(thread: Thread) -> str | None:
    found = thread.metadata.get("graph_id")
    return found if isinstance(found, str) else None


def _named(thread: Thread) -> JsonObject:
    """Return what the metadata of checkpoints says of the graph, as it does after runs."""
    return {
        key: thread.metadata[key] for key in ("graph_id", "assistant_id") if key in thread.metadata
    }


def _no_graph(thread: Thread, new: NewThread | None) -> StateRefused:
    if new is None:
        return ThreadWithoutGraph(thread.thread_id)
    return StateRefused("'supersteps' need the name of a graph: set 'graph_id' in the metadata.")


def _to_be(new: NewThread) -> Thread:
    """Return a thread as it will be when it has been created."""
    return Thread(
        thread_id=new.thread_id,
        status="idle",
        metadata=new.metadata,
        config={},
        values=None,
        interrupts=None,
        error=None,
        created_at=new.now,
        updated_at=new.now,
        state_updated_at=new.now,
    )


def _update(body: UpdateRequest) -> StateUpdate:
    given = body.get("command")
    if given is None:
        return StateUpdate(cast("JsonObject | None", body.get("values")), body["as_node"])
    if body.get("values") is not None:
        raise ContradictoryInput("An update has either 'values' or a 'command', not both.")
    return StateUpdate(cast("JsonObject", command(cast("JsonObject", given))), body["as_node"])


def _place(body: StateUpdateRequest) -> CheckpointRequest:
    place = body.get("checkpoint") or {}
    short = body.get("checkpoint_id")
    return place if short is None else {**place, "checkpoint_id": short}


def _config(thread_id: UUID, place: CheckpointRequest) -> RunnableConfig:
    """Return the config that names a checkpoint of a thread, or the newest of a namespace.

    Raises:
        InvalidInput: the id of the checkpoint is none.
    """
    named: dict[str, object] = {
        "thread_id": str(thread_id),
        "checkpoint_ns": place.get("checkpoint_ns") or "",
    }
    checkpoint_id = place.get("checkpoint_id")
    if checkpoint_id is not None:
        named["checkpoint_id"] = str(parse_uuid(checkpoint_id, "checkpoint"))
    if place.get("checkpoint_map"):
        named["checkpoint_map"] = place["checkpoint_map"]
    return {"configurable": named}


def _is_root(config: RunnableConfig) -> bool:
    """Return whether a config names the graph itself, not a subgraph, which the graph looks up."""
    named = config["configurable"]
    return not named["checkpoint_ns"] and "checkpoint_map" not in named


def _older(query: HistoryQuery) -> RunnableConfig | None:
    if query.before is None:
        return None
    return {"configurable": {"checkpoint_id": query.before}}


def _graph_config(thread: Thread, graph_id: str, caller: Caller) -> RunnableConfig:
    """Return the config of the thread's last run for a factory."""
    named: JsonObject = {"thread_id": str(thread.thread_id), "graph_id": graph_id}
    return reading_config(thread.config, caller, named)
