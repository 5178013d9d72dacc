"""What the graph of an assistant looks like."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from langchain_core.runnables import RunnableConfig

from loomline.server.authz.acting import acting_for
from loomline.server.authz.users import Caller
from loomline.server.domain.assistants import Assistant
from loomline.server.domain.json import Encoded
from loomline.server.graphs.describe import drawing, schemas, subgraph_schemas
from loomline.server.graphs.registry import Graph, Graphs
from loomline.server.graphs.runtimes import Purpose
from loomline.server.graphs.serde import encode
from loomline.server.ports.graphs import GraphCalls
from loomline.server.ports.storage import Storage
from loomline.server.services.assistants import AssistantService
from loomline.server.services.reading import reading_config

Look = Callable[[Graph, RunnableConfig], Awaitable[object]]


class DrawingService:
    """Opens graphs to look at them, where their code cannot block the server."""

    def __init__(
        self, *, storage: Storage, graphs: Graphs, calls: GraphCalls, assistants: AssistantService
    ) -> None:
        self._storage = storage
        self._graphs = graphs
        self._calls = calls
        self._assistants = assistants

    async def graph(self, caller: Caller, assistant: str, xray: bool | int) -> Encoded:
        """Return nodes and edges of the graph of an assistant, named by id or by graph."""

        async def look(graph: Graph, config: RunnableConfig) -> object:
            return await drawing(graph, config, xray)

        return await self._look(caller, await self._assistants.find(caller, assistant), look)

    async def schemas(self, caller: Caller, assistant: str) -> Encoded:
        """Return the JSON schemas of the graph."""
        found = await self._assistants.find(caller, assistant)

        async def look(graph: Graph, _: RunnableConfig) -> object:
            return {"graph_id": found.graph_id, **schemas(graph)}

        return await self._look(caller, found, look)

    async def subgraphs(
        self, caller: Caller, assistant: str, namespace: str | None, *, recurse: bool
    ) -> Encoded:
        """Return the JSON schemas of the graph's subgraphs, by namespace."""

        async def look(graph: Graph, _: RunnableConfig) -> object:
            return await subgraph_schemas(graph, namespace, recurse=recurse)

        return await self._look(caller, await self._assistants.find(caller, assistant), look)

    async def _look(self, caller: Caller, assistant: Assistant, look: Look) -> Encoded:
        config = reading_config(assistant.config, caller, {"graph_id": assistant.graph_id})
        purpose = Purpose("assistants.read", caller.user)

        async def work() -> Encoded:
            with acting_for(caller):
                async with self._graphs.open(
                    assistant.graph_id,
                    config,
                    purpose,
                    checkpointer=self._storage.checkpointer(),
                    store=self._storage.store,
                ) as graph:
                    graph.name = self._graphs.name(assistant.graph_id)
                    return encode(await look(graph, config))

        return await self._calls.call(f"look at {assistant.graph_id}", work)
