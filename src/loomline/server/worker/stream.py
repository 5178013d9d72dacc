"""One langgraph call, whichever of its two entrances the requested modes need."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, TypeAlias, cast

from langchain_core.runnables.schema import StreamEvent
from langgraph.pregel import Pregel
from langgraph.runtime import RunControl

from loomline.server.worker.chunks import ROOT, Namespace, library_modes
from loomline.server.worker.plan import Plan

# What graphs are parametrised with, and what they yield, is the user's own.
Graph: TypeAlias = "Pregel[Any, Any, Any, Any]"
Chunk: TypeAlias = tuple[Namespace, str, Any]


async def chunks(graph: Graph, plan: Plan, control: RunControl) -> AsyncGenerator[Chunk]:
    """Yield ``(namespace, mode, payload)`` for everything the graph reports.

    Raises:
        GraphDrained: ``control`` was asked to let the run stop, and it has, between two steps.
    """
    find = _events if "events" in plan.modes else _stream
    source = find(graph, plan, control)
    async with aclosing(source):
        async for chunk in source:
            yield chunk


async def _stream(graph: Graph, plan: Plan, control: RunControl) -> AsyncGenerator[Chunk]:
    source = graph.astream(
        cast("Any", plan.input),
        plan.config,
        subgraphs=plan.subgraphs,
        control=control,
        **_arguments(graph, plan),
    )
    async for chunk in source:
        yield _split(chunk, plan)


async def _events(graph: Graph, plan: Plan, control: RunControl) -> AsyncGenerator[Chunk]:
    source = graph.astream_events(
        plan.input,
        plan.config,
        version="v2",
        subgraphs=plan.subgraphs,
        control=control,
        **_arguments(graph, plan),
    )
    async for event in source:
        if _is_root_chunk(event):
            yield _split(event["data"]["chunk"], plan)
        else:
            yield ROOT, "events", event


def _is_root_chunk(event: StreamEvent) -> bool:
    return event["event"] == "on_chain_stream" and not event["parent_ids"]


def _split(chunk: object, plan: Plan) -> Chunk:
    if plan.subgraphs:
        return cast("Chunk", chunk)
    mode, payload = cast("tuple[str, Any]", chunk)
    return ROOT, mode, payload


def _arguments(graph: Graph, plan: Plan) -> dict[str, Any]:
    return {
        "context": call_context(graph, plan),
        "stream_mode": library_modes(plan.modes),
        # langgraph streams the whole state otherwise, private keys included.
        "output_keys": graph.output_channels,
        "interrupt_before": plan.interrupt_before,
        "interrupt_after": plan.interrupt_after,
        "durability": plan.durability,
    }


def call_context(graph: Graph, plan: Plan) -> dict[str, Any]:
    """Return the context without the keys that the graph's schema does not know.

    The same values serve as ``configurable``, where any key is allowed. An empty context is not
    absent: langgraph makes an object of the schema's defaults of it.
    """
    fields = getattr(graph.context_schema, "__dataclass_fields__", None)
    known = fields if fields is not None else plan.context
    return {key: value for key, value in plan.context.items() if key in known}
