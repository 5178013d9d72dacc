"""What a graph looks like: its drawing and its schemas, as JSON."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, TypeAlias

from langchain_core.runnables import RunnableConfig
from langgraph.channels.base import BaseChannel
from langgraph.pregel import Pregel
from pydantic import ConfigDict, create_model
from pydantic.json_schema import GenerateJsonSchema

from loomline.server.graphs.registry import Graph

logger: logging.Logger = logging.getLogger("loomline.graphs")

# JSON in the making: schemas and drawings say whatever the user's types make of them.
Described: TypeAlias = dict[str, Any]


async def drawing(graph: Graph, config: RunnableConfig, xray: bool | int) -> Described:
    """Return nodes and edges; with ``xray`` those of subgraphs, so many levels deep."""
    drawn = (await graph.aget_graph(config, xray=xray)).to_json()
    for node in drawn["nodes"]:
        # Where the class of the node's code lives is nobody's business.
        if isinstance(node.get("data"), dict):
            node["data"].pop("id", None)
    return drawn


def schemas(graph: Graph) -> Described:
    """Return the JSON schemas of a graph; one that cannot be made is None."""
    context = _made(graph.get_context_jsonschema)
    return {
        "input_schema": _made(graph.get_input_jsonschema),
        "output_schema": _made(graph.get_output_jsonschema),
        "state_schema": _made(lambda: _state_schema(graph)),
        "config_schema": context or {},
        "context_schema": context,
    }


async def subgraph_schemas(
    graph: Graph, namespace: str | None, *, recurse: bool
) -> dict[str, Described]:
    """Return the schemas of subgraphs by namespace, of one of them where it is named."""
    found: dict[str, Described] = {}
    async for name, subgraph in graph.aget_subgraphs(recurse=recurse or namespace is not None):
        if isinstance(subgraph, Pregel) and _asked(name, namespace, recurse=recurse):
            found[name] = schemas(subgraph)
    return found


def _asked(name: str, namespace: str | None, *, recurse: bool) -> bool:
    if namespace is None or name == namespace:
        return True
    return recurse and name.startswith(f"{namespace}|")


def _made(make: Callable[[], Described | None]) -> Described | None:
    try:
        return make()
    except Exception:  # types of users may refuse in any way, and the other schemas are still good
        logger.debug("a schema cannot be made", exc_info=True)
        return None


def _state_schema(graph: Graph) -> Described:
    channels = {name: graph.channels[name] for name in graph.stream_channels_list}
    fields: dict[str, Any] = {
        name: (channel.UpdateType, None)
        for name, channel in channels.items()
        if isinstance(channel, BaseChannel)
    }
    model = create_model(
        graph.get_name("state"),
        __config__=ConfigDict(arbitrary_types_allowed=True, protected_namespaces=()),
        **fields,
    )
    described: Described = model.model_json_schema(schema_generator=_Lenient)
    return described


class _Lenient(GenerateJsonSchema):
    """Says nothing of a type that has no schema, instead of refusing the whole."""

    ignored_warning_kinds = {"skipped-choice", "non-serializable-default"}  # noqa: RUF012

    def handle_invalid_for_json_schema(self, schema: Any, error_info: str) -> Described:  # noqa: ANN401, ARG002
        return {}
