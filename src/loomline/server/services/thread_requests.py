"""What clients ask of threads and their states, after validation."""

from __future__ import annotations

from typing import Annotated, Literal, Required

from pydantic import Field, WithJsonSchema
from typing_extensions import TypedDict

from loomline.schema import OnConflictBehavior, ThreadStatus
from loomline.server.domain.extract import MOST, ROOTS
from loomline.server.domain.json import Json, JsonObject
from loomline.server.domain.threads import PruneStrategy, ThreadSort, TtlStrategy
from loomline.server.services.requests import CommandRequest, Id, Limit, Offset

ThreadField = Literal[
    "thread_id", "created_at", "updated_at", "state_updated_at", "metadata", "config", "context",
    "status", "values", "interrupts",
]  # fmt: skip

# As ``domain.extract`` checks it.
Extract = Annotated[
    dict[str, str],
    WithJsonSchema(
        {
            "type": "object",
            "maxProperties": MOST,
            "propertyNames": {"pattern": "^[A-Za-z0-9_]{1,200}$"},
            "additionalProperties": {
                "type": "string",
                "maxLength": 1000,
                "pattern": rf"^({'|'.join(ROOTS)})([.\[]|$)",
            },
        }
    ),
]

# A century: enough for any plan, and it cannot overflow a date.
_LONGEST_TTL_MINUTES = 100 * 365 * 1440.0

Names = Annotated[list[str], Field(max_length=1000)]


_UUID = {"type": "string", "format": "uuid"}
_POINTER = {"type": "object", "properties": {"checkpoint_id": _UUID}}
_CONFIG = {"type": "object", "properties": {"checkpoint_id": _UUID, "configurable": _POINTER}}
Before = Annotated[
    str | JsonObject | None, WithJsonSchema({"anyOf": [_UUID, _CONFIG, {"type": "null"}]})
]
"""A checkpoint in any of the forms that clients name it in."""


class TtlRequest(TypedDict, total=False):
    """``ttl``: minutes."""

    ttl: Required[Annotated[float, Field(gt=0, le=_LONGEST_TTL_MINUTES)]]
    strategy: TtlStrategy


class UpdateRequest(TypedDict, total=False):
    values: Json
    command: CommandRequest | None
    as_node: Required[str]


class SuperstepRequest(TypedDict):
    updates: Annotated[list[UpdateRequest], Field(max_length=1000)]


class ThreadCreateRequest(TypedDict, total=False):
    thread_id: Id
    metadata: JsonObject
    if_exists: OnConflictBehavior
    ttl: TtlRequest | None
    supersteps: Annotated[list[SuperstepRequest], Field(max_length=1000)] | None


class ThreadPatchRequest(TypedDict, total=False):
    metadata: JsonObject
    ttl: TtlRequest


class ThreadCountRequest(TypedDict, total=False):
    metadata: JsonObject
    values: JsonObject
    status: ThreadStatus


class ThreadSearchRequest(ThreadCountRequest, total=False):
    ids: Annotated[list[Id], Field(max_length=10_000)]
    limit: Limit
    offset: Offset
    sort_by: ThreadSort
    sort_order: Literal["asc", "desc"]
    select: list[ThreadField]
    extract: Extract


class ThreadPruneRequest(TypedDict, total=False):
    thread_ids: Required[Annotated[list[Id], Field(max_length=1000)]]
    strategy: PruneStrategy


class CheckpointRequest(TypedDict, total=False):
    """A checkpoint, or (without its id) the newest of a namespace."""

    thread_id: str | None
    checkpoint_ns: str | None
    checkpoint_id: Id | None
    checkpoint_map: JsonObject | None


class StateAtRequest(TypedDict, total=False):
    checkpoint: Required[CheckpointRequest]
    subgraphs: bool
    select: Names


class StateUpdateRequest(TypedDict, total=False):
    values: JsonObject | list[Json] | None
    as_node: str
    checkpoint: CheckpointRequest | None
    checkpoint_id: Id | None


class StatePatchRequest(TypedDict, total=False):
    metadata: JsonObject


class HistoryRequest(TypedDict, total=False):
    limit: Limit
    before: Before
    metadata: JsonObject | None
    checkpoint: CheckpointRequest | None
    select: Names
