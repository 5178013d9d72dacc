"""Assistants."""

from __future__ import annotations

from uuid import UUID

from weft.server.domain.assistants import Assistant, default_assistant
from weft.server.domain.errors import AssistantNotFound, InvalidInput, RunTargetNotFound
from weft.server.domain.ids import default_assistant_id
from weft.server.graphs.registry import Graphs
from weft.server.ports.clock import Clock
from weft.server.ports.storage import Storage


class AssistantService:
    def __init__(self, storage: Storage, graphs: Graphs, clock: Clock) -> None:
        self._storage = storage
        self._graphs = graphs
        self._clock = clock

    async def ensure_defaults(self) -> None:
        """Make sure that every graph has its default assistant."""
        now = self._clock.now()
        graphs = self._graphs
        await self._storage.assistants.ensure(
            [default_assistant(g, graphs.name(g), graphs.description(g), now) for g in graphs.ids]
        )

    async def get(self, assistant_id: UUID) -> Assistant:
        return await self._storage.assistants.get(assistant_id)

    async def resolve(self, name: str) -> Assistant:
        """Return the assistant that a run names by id or by graph.

        Raises:
            InvalidInput: it is neither a UUID nor a graph.
            RunTargetNotFound: there is no such assistant.
            GraphNotFound: its graph is no longer served.
        """
        try:
            assistant = await self._storage.assistants.get(self._id(name))
        except AssistantNotFound:
            raise RunTargetNotFound from None
        self._graphs.check(assistant.graph_id)
        return assistant

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
