"""Assistants."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast
from uuid import UUID, uuid4

from weft.server.authz.users import Caller
from weft.server.domain.assistants import (
    Assistant,
    AssistantFilter,
    AssistantPatch,
    AssistantQuery,
    AssistantVersion,
    default_assistant,
    mirrored,
)
from weft.server.domain.errors import AssistantNotFound, InvalidInput, RunTargetNotFound
from weft.server.domain.filters import Page
from weft.server.domain.ids import default_assistant_id
from weft.server.domain.json import JsonObject
from weft.server.graphs.registry import Graphs
from weft.server.ports.clock import Clock
from weft.server.ports.events import EventLog
from weft.server.ports.signals import STOP, Signals
from weft.server.ports.storage import Storage
from weft.server.services.assistant_requests import (
    AssistantCountRequest,
    AssistantCreateRequest,
    AssistantPatchRequest,
    AssistantSearchRequest,
    AssistantVersionsRequest,
)
from weft.server.services.run_request import parse_uuid

_UNNAMED = "Untitled"


class AssistantService:
    def __init__(
        self,
        *,
        storage: Storage,
        graphs: Graphs,
        events: EventLog,
        signals: Signals,
        clock: Clock,
    ) -> None:
        self._storage = storage
        self._graphs = graphs
        self._events = events
        self._signals = signals
        self._clock = clock

    async def ensure_defaults(self) -> None:
        """Make sure that every graph has its default assistant."""
        now = self._clock.now()
        graphs = self._graphs
        await self._storage.assistants.ensure(
            [default_assistant(g, graphs.name(g), graphs.description(g), now) for g in graphs.ids]
        )

    async def create(self, caller: Caller, body: AssistantCreateRequest) -> Assistant:
        given = body.get("assistant_id")
        assistant_id = uuid4() if given is None else parse_uuid(given, "assistant")
        config, context = mirrored(_config(body), body.get("context", {}))
        self._graphs.check(body["graph_id"])
        now = self._clock.now()
        assistant = Assistant(
            assistant_id=assistant_id,
            graph_id=body["graph_id"],
            name=body.get("name") or _UNNAMED,
            description=body.get("description"),
            config=config,
            context=context,
            metadata=body.get("metadata", {}),
            version=1,
            created_at=now,
            updated_at=now,
        )
        return await self._storage.assistants.create(assistant, body.get("if_exists", "raise"))

    async def get(self, caller: Caller, assistant_id: UUID) -> Assistant:
        return await self._storage.assistants.get(assistant_id)

    async def search(self, caller: Caller, body: AssistantSearchRequest) -> Page[Assistant]:
        query = AssistantQuery(
            self._filter(body),
            limit=body.get("limit", 10),
            offset=body.get("offset", 0),
            sort_by=body.get("sort_by", "created_at"),
            descending=body.get("sort_order") != "asc",
        )
        return await self._storage.assistants.search(query)

    async def count(self, caller: Caller, body: AssistantCountRequest) -> int:
        return await self._storage.assistants.count(self._filter(body))

    async def update(
        self, caller: Caller, assistant_id: UUID, body: AssistantPatchRequest
    ) -> Assistant:
        """Change an assistant, which makes it a new version."""
        if "graph_id" in body:
            self._graphs.check(body["graph_id"])
        patch = AssistantPatch(
            now=self._clock.now(),
            graph_id=body.get("graph_id"),
            name=body.get("name"),
            description=body.get("description"),
            config=_config(body) if "config" in body else None,
            context=body.get("context"),
            metadata=body.get("metadata", {}),
        )
        return await self._storage.assistants.update(assistant_id, patch)

    async def delete(self, caller: Caller, assistant_id: UUID, *, delete_threads: bool) -> None:
        """Remove an assistant, and its threads where asked; their active runs are stopped."""
        stopped = await self._storage.assistants.delete(assistant_id, delete_threads=delete_threads)
        for run_id in stopped:
            await self._events.close(str(run_id), keep_seconds=0.0)
            await self._signals.publish(STOP, str(run_id))

    async def versions(
        self, caller: Caller, assistant_id: UUID, body: AssistantVersionsRequest
    ) -> Sequence[AssistantVersion]:
        return await self._storage.assistants.versions(
            assistant_id,
            metadata=body.get("metadata", {}),
            limit=body.get("limit", 10),
            offset=body.get("offset", 0),
        )

    async def set_latest(self, caller: Caller, assistant_id: UUID, version: int) -> Assistant:
        """Make an assistant again what it was in a version."""
        return await self._storage.assistants.set_latest(assistant_id, version, self._clock.now())

    async def find(self, caller: Caller, name: str) -> Assistant:
        """Return the assistant that an id or the name of a graph stands for.

        Raises:
            InvalidInput: it is neither a UUID nor a graph.
            AssistantNotFound: there is no such assistant.
            GraphNotFound: its graph is no longer served.
        """
        assistant = await self._storage.assistants.get(self._id(name))
        self._graphs.check(assistant.graph_id)
        return assistant

    async def resolve(self, caller: Caller, name: str) -> Assistant:
        """Return the assistant that a run names by id or by graph.

        Raises:
            InvalidInput: it is neither a UUID nor a graph.
            RunTargetNotFound: there is no such assistant.
            GraphNotFound: its graph is no longer served.
        """
        try:
            return await self.find(caller, name)
        except AssistantNotFound:
            raise RunTargetNotFound from None

    def _filter(self, body: AssistantCountRequest) -> AssistantFilter:
        if "graph_id" in body:
            self._graphs.check(body["graph_id"])
        return AssistantFilter(
            graph_id=body.get("graph_id"),
            name=body.get("name", ""),
            metadata=body.get("metadata", {}),
        )

    def _id(self, name: str) -> UUID:
        if name in self._graphs.ids:
            return default_assistant_id(name)
        try:
            return UUID(name)
        except ValueError:
            raise InvalidInput(
                f"Invalid assistant: '{name}'. Must be either:\n- A valid assistant UUID, or\n"
                f"- One of the registered graphs: {', '.join(sorted(self._graphs.ids))}"
            ) from None


def _config(body: AssistantCreateRequest | AssistantPatchRequest) -> JsonObject:
    return cast("JsonObject", body.get("config", {}))
