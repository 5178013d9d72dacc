"""What clients ask of the store, after validation."""

from __future__ import annotations

from typing import Annotated, Literal, Required

from pydantic import BeforeValidator, Field
from typing_extensions import TypedDict

from weft.server.domain.json import JsonObject
from weft.server.services.requests import Limit, Offset, Whole

Depth = Annotated[Whole, Field(ge=1, le=2**31)]


def _no_zero(value: object) -> object:
    """Refuse the numbers that Python takes for false."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        raise ValueError("Input should be false, a list or null")  # noqa: TRY004 - as pydantic asks
    return value


Index = Annotated[Literal[False] | list[str] | None, BeforeValidator(_no_zero)]
"""The paths to be embedded; false: none of them; null: those of the configuration."""


class ItemPutRequest(TypedDict, total=False):
    namespace: Required[list[str]]
    key: Required[str]
    value: Required[JsonObject]
    index: Index
    ttl: Annotated[float, Field(gt=0)] | None


class ItemDeleteRequest(TypedDict, total=False):
    namespace: list[str]
    key: Required[str]


class ItemSearchRequest(TypedDict, total=False):
    namespace_prefix: list[str] | None
    filter: JsonObject | None
    limit: Limit
    offset: Offset
    query: str | None
    refresh_ttl: bool | None


class NamespaceSearchRequest(TypedDict, total=False):
    prefix: list[str] | None
    suffix: list[str] | None
    max_depth: Depth | None
    limit: Limit
    offset: Offset
