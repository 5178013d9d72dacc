"""What clients ask of assistants, after validation."""

from __future__ import annotations

from typing import Annotated, Literal, Required

from pydantic import ConfigDict, Field, with_config
from typing_extensions import TypedDict

from weft.schema import OnConflictBehavior
from weft.server.domain.assistants import AssistantSort
from weft.server.domain.json import JsonObject
from weft.server.services.requests import Limit, Offset, Whole

AssistantField = Literal[
    "assistant_id", "graph_id", "name", "description", "config", "context", "created_at",
    "updated_at", "metadata", "version",
]  # fmt: skip

Number = Annotated[Whole, Field(ge=1, le=2**31)]


@with_config(ConfigDict(extra="allow"))
class ConfigRequest(TypedDict, total=False):
    """A config: what has a type here is checked, everything else is kept as it is."""

    tags: list[str]
    recursion_limit: Annotated[Whole, Field(ge=-(2**53), le=2**53)]
    configurable: JsonObject


class AssistantCreateRequest(TypedDict, total=False):
    graph_id: Required[str]
    assistant_id: str
    config: ConfigRequest
    context: JsonObject
    metadata: JsonObject
    name: str
    description: str | None
    if_exists: OnConflictBehavior


class AssistantPatchRequest(TypedDict, total=False):
    graph_id: str
    config: ConfigRequest
    context: JsonObject
    metadata: JsonObject
    name: str
    description: str


class AssistantCountRequest(TypedDict, total=False):
    metadata: JsonObject
    graph_id: str
    name: str


class AssistantSearchRequest(AssistantCountRequest, total=False):
    limit: Limit
    offset: Offset
    sort_by: AssistantSort
    sort_order: Literal["asc", "desc"]
    select: list[AssistantField]


class AssistantVersionsRequest(TypedDict, total=False):
    metadata: JsonObject
    limit: Limit
    offset: Offset


class AssistantLatestRequest(TypedDict):
    version: Number
