"""How values of checkpoints become bytes, and which types may come back from them.

Bytes from a database are not to be trusted: what restores any type by its name executes whatever
somebody has written there.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Sequence
from typing import Literal, TypeAlias

from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from loomline.server.domain.errors import UnknownType

AllowedTypes: TypeAlias = tuple[tuple[str, ...], ...] | Literal[True]
"""Modules, each alone or with a name; True: every type."""


def safe_serde(
    msgpack_types: AllowedTypes = (),
    json_types: AllowedTypes = (),
    *,
    pickle: bool = False,
) -> JsonPlusSerializer:
    """Return a serializer that restores plain values, messages and types of langgraph.

    What a graph's own schemas name is added where the graph is. Values of other types come back as
    what they were made of.

    Args:
        msgpack_types: What else is restored: a module and a name, or a module with all its classes.
            True: every type.
        json_types: The same for checkpoints that older versions of langgraph have written.
        pickle: Whether to read and write pickles, which execute what they say.

    Raises:
        UnknownType: a module or a name does not exist.
    """
    return JsonPlusSerializer(
        pickle_fallback=pickle,
        allowed_msgpack_modules=(
            True if msgpack_types is True else list(_pairs(msgpack_types)) or None
        ),
        allowed_json_modules=True if json_types is True else list(_json_names(json_types)) or None,
    )


def _pairs(types: Sequence[tuple[str, ...]]) -> Iterable[tuple[str, str]]:
    for given in types:
        module = _module(given[0])
        if len(given) == 1:
            yield from _classes(given[0], module)
        elif hasattr(module, given[1]):
            yield given[0], given[1]
        else:
            raise UnknownType(":".join(given), f"the module has no '{given[1]}'")


def _json_names(types: Sequence[tuple[str, ...]]) -> Iterable[tuple[str, ...]]:
    # Here the name is a path: ("langchain_core", "messages", "HumanMessage").
    for module, name in _pairs(types):
        yield (*module.split("."), name)


def _module(name: str) -> object:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UnknownType(name, str(error)) from error


def _classes(name: str, module: object) -> Iterable[tuple[str, str]]:
    for attribute, found in vars(module).items():
        if isinstance(found, type) and found.__module__ == name:
            yield name, attribute
