"""What clients ask of the store, after validation."""

from __future__ import annotations

from typing import Annotated, Literal, Required

from pydantic import BeforeValidator, Field, WithJsonSchema
from typing_extensions import TypedDict

from loomline.server.domain.json import JsonObject
from loomline.server.services.requests import Limit, Offset, Positive

# As ``domain.items`` checks them.
_LABELS = {"type": "array", "items": {"type": "string", "pattern": "^[^.]+$"}}
Labels = Annotated[list[str], WithJsonSchema(_LABELS)]
Place = Annotated[list[str], WithJsonSchema({**_LABELS, "minItems": 1})]


def _no_zero(value: object) -> object:
    """Refuse the numbers that Python takes for false."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        raise ValueError("Input should be false, a list or null")  # noqa: TRY004 - as pydantic asks
    return value


Index = Annotated[Literal[False] | list[str] | None, BeforeValidator(_no_zero)]
"""The paths to be embedded; false: none of them; null: those of the configuration."""


class ItemPutRequest(TypedDict, total=False):
    namespace: Required[Place]
    key: Required[str]
    value: Required[JsonObject]
    index: Index
    ttl: Annotated[float, Field(gt=0)] | None


class ItemDeleteRequest(TypedDict, total=False):
    namespace: Labels
    key: Required[str]


class ItemSearchRequest(TypedDict, total=False):
    namespace_prefix: Labels | None
    filter: JsonObject | None
    limit: Limit
    offset: Offset
    query: str | None
    refresh_ttl: bool | None


class NamespaceSearchRequest(TypedDict, total=False):
    prefix: Labels | None
    suffix: Labels | None
    max_depth: Positive | None
    limit: Limit
    offset: Offset
