"""The graphs of a server, opened for each use."""

from __future__ import annotations

import copy
import inspect
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    AsyncExitStack,
    asynccontextmanager,
)
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph.state import StateGraph
from langgraph.pregel import Pregel
from langgraph.store.base import BaseStore

from weft.server.domain.errors import GraphLoadError, GraphNotFound
from weft.server.graphs.loader import load_object
from weft.server.graphs.spec import GraphSpec

# What graphs are parametrised with is the user's own.
Graph: TypeAlias = Pregel[Any, Any, Any, Any]
Saver: TypeAlias = BaseCheckpointSaver[str]
Factory: TypeAlias = Callable[..., object]

# The name that a graph has when it was compiled without one.
_UNNAMED = "LangGraph"


@dataclass(frozen=True, slots=True)
class _Source:
    """A graph that is ready, or a function that makes one, perhaps from the config."""

    spec: GraphSpec
    graph: Graph | None
    factory: Factory | None
    wants_config: bool = False


class Graphs:
    """Every graph by its id."""

    def __init__(self, sources: Mapping[str, _Source]) -> None:
        self._sources = dict(sources)

    @classmethod
    def load(cls, specs: Sequence[GraphSpec]) -> Graphs:
        """Import all graphs.

        Raises:
            GraphLoadError: one of them cannot be served.
        """
        return cls({spec.graph_id: _source(spec, load_object(spec)) for spec in specs})

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(self._sources)

    def name(self, graph_id: str) -> str:
        """Return the name a graph was compiled with, else its id. No factory is called for that."""
        graph = self._sources[graph_id].graph
        named = graph is not None and graph.name != _UNNAMED
        return graph.name if graph is not None and named else graph_id

    def description(self, graph_id: str) -> str | None:
        return self._sources[graph_id].spec.description

    def check(self, graph_id: str) -> None:
        """Make sure that there is a graph.

        Raises:
            GraphNotFound: there is none with this id.
        """
        if graph_id not in self._sources:
            raise GraphNotFound(graph_id, self._sources)

    @asynccontextmanager
    async def open(
        self,
        graph_id: str,
        config: RunnableConfig,
        *,
        checkpointer: Saver,
        store: BaseStore | None = None,
    ) -> AsyncIterator[Graph]:
        """Open a graph for one use, with the server's checkpointer and store in it.

        A factory is called on the running loop, like the nodes that it makes: what it creates
        (clients, connections) belongs to that loop. What it opens is closed at the end.

        Raises:
            GraphNotFound: there is no graph with this id.
            GraphLoadError: its factory returned something else than a graph.
        """
        self.check(graph_id)
        source = self._sources[graph_id]
        if source.graph is not None:
            yield _equipped(source.graph, checkpointer, store)
            return
        async with AsyncExitStack() as stack:
            yield _equipped(await _make(source, config, stack), checkpointer, store)


def _equipped(graph: Graph, checkpointer: Saver, store: BaseStore | None) -> Graph:
    """Return a graph that uses the server's checkpointer, and its store where it has one.

    ``Pregel.copy`` would validate the graph again, for each run.
    """
    equipped = copy.copy(graph)
    equipped.checkpointer = checkpointer
    equipped.store = store or graph.store
    return equipped


def _source(spec: GraphSpec, found: object) -> _Source:
    graph = _compiled(found)
    if graph is not None:
        return _Source(spec, graph, None)
    factory = cast("Factory", found)
    return _Source(spec, None, factory, wants_config=_wants_config(spec, factory))


def _compiled(found: object) -> Graph | None:
    if isinstance(found, Pregel):
        return found
    return found.compile() if isinstance(found, StateGraph) else None


def _wants_config(spec: GraphSpec, factory: Factory) -> bool:
    """Return whether a factory takes the config: as its only required parameter, or by name.

    Raises:
        GraphLoadError: it needs something else.
    """
    parameters = inspect.signature(factory).parameters.values()
    required = [each for each in parameters if _is_required(each)]
    if len(required) > 1:
        names = ", ".join(each.name for each in required)
        raise GraphLoadError(
            spec.graph_id,
            spec.source,
            f"its parameters ({names}) cannot all be given. A graph function takes nothing, or the"
            " config.",
        )
    return bool(required) or any(each.name == "config" for each in parameters)


def _is_required(parameter: inspect.Parameter) -> bool:
    variadic = parameter.kind in {parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD}
    return parameter.default is parameter.empty and not variadic


async def _make(source: _Source, config: RunnableConfig, stack: AsyncExitStack) -> Graph:
    assert source.factory is not None
    made = _call(source.factory, config, with_config=source.wants_config)
    if inspect.isawaitable(made):
        made = await made
    if isinstance(made, AbstractAsyncContextManager):
        made = await stack.enter_async_context(made)
    elif isinstance(made, AbstractContextManager) and not isinstance(made, Pregel):
        made = stack.enter_context(made)
    graph = _compiled(made)
    if graph is None:
        raise GraphLoadError(
            source.spec.graph_id,
            source.spec.source,
            f"the function returned '{type(made).__name__}' instead of a graph.",
        )
    return graph


def _call(factory: Factory, config: RunnableConfig, *, with_config: bool) -> object:
    if inspect.isasyncgenfunction(factory):
        factory = asynccontextmanager(factory)
    if not with_config:
        return factory()
    parameters = inspect.signature(factory).parameters
    if "config" in parameters:
        return factory(config=config)
    return factory(config)
