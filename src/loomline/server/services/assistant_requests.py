"""What clients ask of assistants, after validation."""

from __future__ import annotations

from typing import Literal, Required

from pydantic import ConfigDict, with_config
from typing_extensions import TypedDict

from loomline.schema import OnConflictBehavior
from loomline.server.domain.assistants import AssistantSort
from loomline.server.domain.json import JsonObject
from loomline.server.services.requests import GraphName, Id, Limit, Offset, Positive, RecursionLimit

AssistantField = Literal[
    "assistant_id", "graph_id", "name", "description", "config", "context", "created_at",
    "updated_at", "metadata", "version",
]  # fmt: skip


@with_config(ConfigDict(extra="allow"))
class ConfigRequest(TypedDict, total=False):
    """A config: what has a type here is checked, everything else is kept as it is."""

    tags: list[str]
    recursion_limit: RecursionLimit
    configurable: JsonObject


class AssistantCreateRequest(TypedDict, total=False):
    graph_id: Required[GraphName]
    assistant_id: Id
    config: ConfigRequest
    context: JsonObject
    metadata: JsonObject
    name: str
    description: str | None
    if_exists: OnConflictBehavior


class AssistantPatchRequest(TypedDict, total=False):
    graph_id: GraphName
    config: ConfigRequest
    context: JsonObject
    metadata: JsonObject
    name: str
    description: str


class AssistantCountRequest(TypedDict, total=False):
    metadata: JsonObject
    graph_id: GraphName
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
    version: Positive
