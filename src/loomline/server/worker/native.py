"""What a graph reports of a run, in langgraph's own form of the thread protocol."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Any, TypeAlias, cast
from uuid import UUID

from langchain_core.runnables import RunnableConfig
from langgraph.runtime import RunControl
from langgraph.stream import ProtocolEvent, StreamChannel, StreamTransformer

from loomline.server.worker.plan import Plan
from loomline.server.worker.stream import Graph, call_context
from loomline.server.worker.tokens import ChunkHandler, Streamed

Scope: TypeAlias = tuple[str, ...]

TASKS = "tasks"

# How long a run that is stopped may take to let go of its nodes.
_LETTING_GO_SECONDS = 30.0


class _Chunked(StreamTransformer):
    """Puts the messages that came in chunks where messages belong, before anybody looks at them.

    Like all transformers it is made for every subgraph as well; there it has nothing to do.
    """

    _native = True
    before_builtins = True
    required_stream_modes = (
        "values", "updates", "messages", "custom", "tasks", "tools", "checkpoints",
    )  # fmt: skip

    def init(self) -> dict[str, Any]:
        return {}

    def process(self, event: ProtocolEvent) -> bool:
        params = event["params"]
        if event["method"] == "custom" and isinstance(params["data"], Streamed):
            event["method"] = "messages"
            params["data"] = (params["data"].event, params["data"].metadata)
        return True


class _Tasks(StreamTransformer):
    """Hands on the tasks, which langgraph keeps to itself, together with their namespace."""

    _native = True

    def __init__(self, scope: Scope = ()) -> None:
        super().__init__(scope)
        self._tasks: StreamChannel[object] = StreamChannel(TASKS)

    def init(self) -> dict[str, Any]:
        return {} if self.scope else {"loomline_tasks": self._tasks}

    def process(self, event: ProtocolEvent) -> bool:
        if event["method"] == TASKS and not self.scope:
            self._tasks.push((tuple(event["params"]["namespace"]), event["params"]["data"]))
        return True


async def native_events(
    graph: Graph, plan: Plan, control: RunControl
) -> AsyncGenerator[ProtocolEvent]:
    """Yield everything that the graph reports, of all its subgraphs, as it happens.

    Raises:
        GraphDrained: ``control`` was asked to let the run stop, and it has, between two steps.
    """
    graph = _with_raw_states(graph)
    watch = ChunkHandler(_run_id(plan))
    config: RunnableConfig = {**plan.config, "callbacks": [watch]}
    run = await graph.astream_events(
        cast("Any", plan.input),
        config,
        version="v3",
        transformers=[_Chunked, _Tasks],
        context=call_context(graph, plan),
        interrupt_before=plan.interrupt_before,
        interrupt_after=plan.interrupt_after,
        durability=plan.durability,
        control=control,
    )
    try:
        async for event in run:
            yield event
    finally:
        await run.abort()
        # When this is cancelled, the graph is told, but not waited for.
        with suppress(TimeoutError):
            async with asyncio.timeout(_LETTING_GO_SECONDS):
                await watch.idle.wait()


def _with_raw_states(graph: Graph) -> Graph:
    """Return a graph that reports states in the form in which they are stored.

    langgraph makes them objects of the schemas otherwise: that adds defaults, and fails as long as
    a required field of the output schema has no value.
    """
    raw = copy.copy(graph)
    raw._output_mapper = raw._state_mapper = None  # noqa: SLF001 - there is no argument for this
    return raw


def _run_id(plan: Plan) -> UUID:
    return cast("UUID", plan.config["run_id"])
