"""Assistants."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast
from uuid import UUID, uuid4

from loomline.server.authz.authorizer import Authorizer, Value
from loomline.server.authz.users import Caller
from loomline.server.domain.access import EVERYTHING, Condition, both, meets
from loomline.server.domain.assistants import (
    Assistant,
    AssistantFilter,
    AssistantPatch,
    AssistantQuery,
    AssistantVersion,
    default_assistant,
    mirrored,
)
from loomline.server.domain.errors import AssistantNotFound, InvalidInput
from loomline.server.domain.filters import Page
from loomline.server.domain.ids import default_assistant_id
from loomline.server.domain.json import JsonObject
from loomline.server.graphs.registry import Graphs
from loomline.server.ports.clock import Clock
from loomline.server.ports.events import EventLog
from loomline.server.ports.signals import STOP, Signals
from loomline.server.ports.storage import Storage
from loomline.server.services.assistant_requests import (
    AssistantCountRequest,
    AssistantCreateRequest,
    AssistantPatchRequest,
    AssistantSearchRequest,
    AssistantVersionsRequest,
)
from loomline.server.services.metadata import MetadataLimit
from loomline.server.services.run_request import parse_uuid

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
        authz: Authorizer,
        metadata: MetadataLimit,
    ) -> None:
        self._metadata = metadata
        self._storage = storage
        self._graphs = graphs
        self._events = events
        self._signals = signals
        self._clock = clock
        self._authz = authz
        self._defaults = {graph_id: default_assistant_id(graph_id) for graph_id in graphs.ids}

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
        if_exists = body.get("if_exists", "raise")
        value: Value = {
            "assistant_id": assistant_id,
            "graph_id": body["graph_id"],
            "config": _config(body),
            "context": body.get("context", {}),
            "metadata": dict(body.get("metadata", {})),
            "name": body.get("name") or _UNNAMED,
            "if_exists": if_exists,
        }
        access = await self._authz.allow(caller, "assistants", "create", value)
        config, context = mirrored(value["config"], value["context"])
        self._graphs.check(value["graph_id"])
        now = self._clock.now()
        assistant = Assistant(
            assistant_id=assistant_id,
            graph_id=value["graph_id"],
            name=value["name"],
            description=body.get("description"),
            config=config,
            context=context,
            metadata=value.get("metadata") or {},
            version=1,
            created_at=now,
            updated_at=now,
        )
        return await self._storage.assistants.create(assistant, if_exists, access=access)

    async def get(self, caller: Caller, assistant_id: UUID) -> Assistant:
        access = await self._reading(caller, assistant_id)
        return await self._storage.assistants.get(assistant_id, access=access)

    async def search(self, caller: Caller, body: AssistantSearchRequest) -> Page[Assistant]:
        query = AssistantQuery(
            await self._where(caller, body),
            limit=body.get("limit", 10),
            offset=body.get("offset", 0),
            sort_by=body.get("sort_by", "created_at"),
            descending=body.get("sort_order") != "asc",
        )
        return await self._storage.assistants.search(query)

    async def count(self, caller: Caller, body: AssistantCountRequest) -> int:
        return await self._storage.assistants.count(await self._where(caller, body))

    async def update(
        self, caller: Caller, assistant_id: UUID, body: AssistantPatchRequest
    ) -> Assistant:
        """Change an assistant, which makes it a new version."""
        value: Value = {
            "assistant_id": assistant_id,
            "graph_id": body.get("graph_id"),
            "config": _config(body) if "config" in body else None,
            "context": body.get("context"),
            "metadata": dict(body.get("metadata", {})),
            "name": body.get("name"),
        }
        access = await self._authz.allow(caller, "assistants", "update", value)
        if value["graph_id"] is not None:
            self._graphs.check(value["graph_id"])
        metadata = value.get("metadata") or {}
        if metadata:
            found = await self._storage.assistants.get(assistant_id, access=access)
            self._metadata.check(found.metadata, metadata)
        patch = AssistantPatch(
            now=self._clock.now(),
            graph_id=value["graph_id"],
            name=value["name"],
            description=body.get("description"),
            config=value["config"],
            context=value["context"],
            metadata=metadata,
        )
        return await self._storage.assistants.update(assistant_id, patch, access=access)

    async def delete(self, caller: Caller, assistant_id: UUID, *, delete_threads: bool) -> None:
        """Remove an assistant, and its threads where asked; their active runs are stopped."""
        value = {"assistant_id": assistant_id}
        access = await self._authz.allow(caller, "assistants", "delete", value)
        threads = await self._deleting_threads(caller) if delete_threads else EVERYTHING
        stopped = await self._storage.assistants.delete(
            assistant_id, delete_threads=delete_threads, access=access, threads_access=threads
        )
        for run_id in stopped:
            await self._events.close(str(run_id), keep_seconds=0.0)
            await self._signals.publish(STOP, str(run_id))

    async def versions(
        self, caller: Caller, assistant_id: UUID, body: AssistantVersionsRequest
    ) -> Sequence[AssistantVersion]:
        return await self._storage.assistants.versions(
            assistant_id,
            access=await self._reading(caller, assistant_id),
            metadata=body.get("metadata", {}),
            limit=body.get("limit", 10),
            offset=body.get("offset", 0),
        )

    async def set_latest(self, caller: Caller, assistant_id: UUID, version: int) -> Assistant:
        """Make an assistant again what it was in a version."""
        value = {"assistant_id": assistant_id, "version": version}
        access = await self._authz.allow(caller, "assistants", "update", value)
        now = self._clock.now()
        return await self._storage.assistants.set_latest(assistant_id, version, now, access=access)

    async def find(self, caller: Caller, name: str) -> Assistant:
        """Return the assistant that an id or the name of a graph stands for.

        Raises:
            InvalidInput: it is neither a UUID nor a graph.
            AssistantNotFound: there is no such assistant.
            GraphNotFound: its graph is no longer served.
        """
        assistant = await self.get(caller, self._id(name))
        self._graphs.check(assistant.graph_id)
        return assistant

    async def target(self, name: str) -> Assistant:
        """Return the assistant that a run names by id or by graph, whoever may use it.

        Raises:
            InvalidInput: it is neither a UUID nor a graph.
            AssistantNotFound: there is no such assistant.
        """
        return await self._storage.assistants.get(self._id(name))

    def check_target(self, assistant: Assistant, access: Condition) -> None:
        """Make sure that a run may use an assistant. Everybody may use those of graphs.

        Raises:
            AssistantNotFound: it does not meet the condition.
            GraphNotFound: its graph is no longer served.
        """
        if not self._is_default(assistant) and not meets(assistant.metadata, access):
            raise AssistantNotFound(assistant.assistant_id)
        self._graphs.check(assistant.graph_id)

    def _is_default(self, assistant: Assistant) -> bool:
        # The assistant of a graph that is no longer served has no entry.
        graph_id = assistant.graph_id
        default = self._defaults.get(graph_id) or default_assistant_id(graph_id)
        return assistant.assistant_id == default

    async def _reading(self, caller: Caller, assistant_id: UUID) -> Condition:
        value = {"assistant_id": assistant_id}
        return await self._authz.allow(caller, "assistants", "read", value)

    async def _deleting_threads(self, caller: Caller) -> Condition:
        """Return which threads go with an assistant that somebody deletes."""
        update = await self._authz.allow(caller, "threads", "update", {"thread_id": None})
        return both(
            update, await self._authz.allow(caller, "threads", "delete", {"thread_id": None})
        )

    async def _where(
        self, caller: Caller, body: AssistantCountRequest | AssistantSearchRequest
    ) -> AssistantFilter:
        value: Value = {
            "graph_id": body.get("graph_id"),
            "metadata": dict(body.get("metadata", {})),
            "limit": body.get("limit", 0),
            "offset": body.get("offset", 0),
        }
        access = await self._authz.allow(caller, "assistants", "search", value)
        if value["graph_id"] is not None:
            self._graphs.check(value["graph_id"])
        return AssistantFilter(
            graph_id=value["graph_id"],
            name=body.get("name", ""),
            metadata=value.get("metadata") or {},
            access=access,
        )

    def _id(self, name: str) -> UUID:
        default = self._defaults.get(name)
        if default is not None:
            return default
        try:
            return UUID(name)
        except ValueError:
            raise InvalidInput(
                f"Invalid assistant: '{name:.200}'. Must be either:\n- A valid assistant UUID, or\n"
                f"- One of the registered graphs: {', '.join(sorted(self._graphs.ids))}"
            ) from None


def _config(body: AssistantCreateRequest | AssistantPatchRequest) -> JsonObject:
    return cast("JsonObject", body.get("config", {}))
