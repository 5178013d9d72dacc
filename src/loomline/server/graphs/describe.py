"""What a graph looks like: its drawing and its schemas, as JSON."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Annotated, Any, Final, NotRequired, Required, TypeAlias, get_args, get_origin

from langchain_core.runnables import RunnableConfig
from langgraph.channels.base import BaseChannel
from langgraph.pregel import Pregel
from pydantic import ConfigDict, Field, PydanticUserError, create_model
from pydantic.json_schema import GenerateJsonSchema
from typing_extensions import ReadOnly

from loomline.server.graphs.registry import Graph

logger: logging.Logger = logging.getLogger("loomline.graphs")

_OLD_TYPED_DICT: Final = "typed-dict-version"

_QUALIFIERS: Final = (NotRequired, ReadOnly, Required)

_ROOT: Final = "__root__"
"""The only channel of a state that is not an object."""

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
    makers: dict[str, Callable[[], Described | None]] = {
        "input_schema": graph.get_input_jsonschema,
        "output_schema": graph.get_output_jsonschema,
        "state_schema": lambda: _state_schema(graph),
        "context_schema": graph.get_context_jsonschema,
    }
    made: Described = {}
    for name, make in makers.items():
        made[name] = _made(graph, name, make)
    context = made.pop("context_schema")
    return made | {"config_schema": context or {}, "context_schema": context}


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


def _made(graph: Graph, name: str, make: Callable[[], Described | None]) -> Described | None:
    try:
        return make()
    except PydanticUserError as error:
        if error.code != _OLD_TYPED_DICT:
            logger.debug("a schema cannot be made", exc_info=True)
            return None
        logger.warning(
            "a schema is missing: before Python 3.12 pydantic cannot read typing.TypedDict. Import"
            " TypedDict from typing_extensions instead",
            extra={"graph": graph.get_name(), "schema": name},
        )
        return None
    except Exception:  # types of users may refuse in any way, and the other schemas are still good
        logger.debug("a schema cannot be made", exc_info=True)
        return None


def _state_schema(graph: Graph) -> Described:
    channels = {name: graph.channels[name] for name in graph.stream_channels_list}
    kinds = {
        name: _unqualified(channel.UpdateType)
        for name, channel in channels.items()
        if isinstance(channel, BaseChannel)
    }
    title = graph.get_name("state")
    # The name of a field cannot begin with an underscore, as langgraph's channels do; an alias can.
    fields: dict[str, Any] = {
        f"field_{number}": (kind, Field(None, alias=name, title=_title(name)))
        for number, (name, kind) in enumerate(kinds.items())
    }
    config = ConfigDict(arbitrary_types_allowed=True, protected_namespaces=())
    model = create_model(title, __config__=config, **fields)
    described: Described = model.model_json_schema(schema_generator=_Lenient)
    return _of_root(described, title) if list(kinds) == [_ROOT] else described


def _unqualified(kind: Any) -> Any:  # noqa: ANN401
    """Return a type without the qualifiers that pydantic refuses outside of a TypedDict."""
    origin = get_origin(kind)
    if origin is Annotated:
        inner, *marks = get_args(kind)
        return Annotated[_unqualified(inner), *marks]
    return _unqualified(get_args(kind)[0]) if origin in _QUALIFIERS else kind


def _title(channel: str) -> str:
    return channel.replace("_", " ").title().strip()


def _of_root(described: Described, title: str) -> Described:
    """Return the schema of a state that is a list or a number instead of an object."""
    rest = {key: described[key] for key in ("$defs",) if key in described}
    return {**described["properties"][_ROOT], **rest, "title": title}


class _Lenient(GenerateJsonSchema):
    """Says nothing of a type that has no schema, instead of refusing the whole."""

    ignored_warning_kinds = {"skipped-choice", "non-serializable-default"}  # noqa: RUF012

    def handle_invalid_for_json_schema(self, schema: Any, error_info: str) -> Described:  # noqa: ANN401, ARG002
        return {}
