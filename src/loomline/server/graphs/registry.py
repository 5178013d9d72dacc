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
    contextmanager,
)
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph.state import StateGraph
from langgraph.pregel import Pregel
from langgraph.store.base import BaseStore
from langgraph.store.memory import InMemoryStore

from loomline.server.domain.errors import GraphLoadError, GraphNotFound
from loomline.server.graphs.loader import load_object
from loomline.server.graphs.runtimes import Purpose, Runtime
from loomline.server.graphs.spec import GraphSpec

# What graphs are parametrised with is the user's own.
Graph: TypeAlias = "Pregel[Any, Any, Any, Any]"
Saver: TypeAlias = BaseCheckpointSaver[str]
Factory: TypeAlias = Callable[..., object]
Maker: TypeAlias = Callable[[RunnableConfig, Runtime], object]

# The default of langgraph, for configs without a limit.
_RECURSION_LIMIT: Final = 10_007

# The name that a graph has when it was compiled without one.
_UNNAMED = "LangGraph"


@dataclass(frozen=True, slots=True)
class _Source:
    """A graph that is ready, or how to make one for a config."""

    spec: GraphSpec
    graph: Graph | None
    make: Maker | None


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
        purpose: Purpose | None = None,
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
        what = purpose or Purpose("threads.read")
        told = (_complete(config), what.runtime(store or InMemoryStore()))
        async with AsyncExitStack() as stack:
            yield _equipped(await _make(source, told, stack), checkpointer, store)


def _complete(config: RunnableConfig) -> RunnableConfig:
    """Return a config with all the keys that a factory may look up."""
    return {
        "callbacks": None,
        "configurable": {},
        "metadata": {},
        "recursion_limit": _RECURSION_LIMIT,
        "tags": [],
        **config,
    }


def _equipped(graph: Graph, checkpointer: Saver, store: BaseStore | None) -> Graph:
    """Return a graph that uses the server's checkpointer, and its store where it has one.

    ``Pregel.copy`` would validate the graph again, for each run.
    """
    equipped = copy.copy(graph)
    equipped.checkpointer = checkpointer
    equipped.store = store or graph.store
    return equipped


def _source(spec: GraphSpec, found: object) -> _Source:
    try:
        graph = _compiled(found)
    except ValueError as error:
        raise GraphLoadError(
            spec.graph_id, spec.source, f"it does not compile: {error}."
        ) from error
    if graph is not None:
        return _Source(spec, graph, None)
    return _Source(spec, None, _maker(spec, cast("Factory", found)))


def _compiled(found: object) -> Graph | None:
    if isinstance(found, Pregel):
        return found
    return found.compile() if isinstance(found, StateGraph) else None


def _maker(spec: GraphSpec, factory: Factory) -> Maker:
    """Return how to call a factory: with the config, the runtime, both or nothing.

    Raises:
        GraphLoadError: it needs something else.
    """
    if inspect.isasyncgenfunction(factory):
        factory = asynccontextmanager(factory)
    elif inspect.isgeneratorfunction(factory):
        factory = contextmanager(factory)
    taken = _taken(spec, factory)

    def make(config: RunnableConfig, runtime: Runtime) -> object:
        given = {"config": config, "runtime": runtime}
        first = [given[what] for each, what in taken if each.kind is each.POSITIONAL_ONLY]
        named = {
            each.name: given[what] for each, what in taken if each.kind is not each.POSITIONAL_ONLY
        }
        return factory(*first, **named)

    return make


def _taken(spec: GraphSpec, factory: Factory) -> list[tuple[inspect.Parameter, str]]:
    """Return the parameters that are given something, each with what it is.

    Raises:
        GraphLoadError: a parameter must be given what the server does not have.
    """
    parameters = inspect.signature(factory).parameters.values()
    runtime = next((each for each in parameters if _takes_runtime(each)), None)
    config = next((each for each in parameters if _takes_config(each)), None)
    wanted = [(config, "config"), (runtime, "runtime")]
    taken = [(each, what) for each in parameters for one, what in wanted if each is one]
    names = {each.name for each, _ in taken}
    unknown = [str(each) for each in parameters if _is_required(each) and each.name not in names]
    if unknown:
        raise GraphLoadError(
            spec.graph_id,
            spec.source,
            f"the server has nothing to give for its parameter '{unknown[0]}'. A function that"
            " makes a graph takes no parameter, or config: RunnableConfig, or"
            " runtime: ServerRuntime, or both.",
        )
    return taken


def _takes_runtime(parameter: inspect.Parameter) -> bool:
    variadic = parameter.kind in {parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD}
    return not variadic and "ServerRuntime" in _annotation(parameter)


def _takes_config(parameter: inspect.Parameter) -> bool:
    """Tell by the name or the annotation; a required one without annotation is the config too."""
    if parameter.kind in {parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD}:
        return False
    annotation = _annotation(parameter)
    if "ServerRuntime" in annotation:
        return False
    untyped = parameter.annotation is parameter.empty and _is_required(parameter)
    return parameter.name == "config" or "RunnableConfig" in annotation or untyped


def _annotation(parameter: inspect.Parameter) -> str:
    """Return an annotation as text: it may name what is only imported for type checkers."""
    return inspect.formatannotation(parameter.annotation)


def _is_required(parameter: inspect.Parameter) -> bool:
    variadic = parameter.kind in {parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD}
    return parameter.default is parameter.empty and not variadic


async def _make(
    source: _Source, told: tuple[RunnableConfig, Runtime], stack: AsyncExitStack
) -> Graph:
    assert source.make is not None
    made = source.make(*told)
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
