"""What clients ask for, after validation."""

from __future__ import annotations

from typing import Annotated, Literal, Required

from pydantic import BeforeValidator, ConfigDict, Field, WithJsonSchema, with_config
from typing_extensions import TypeAliasType, TypedDict

from loomline.schema import (
    BulkCancelRunsStatus,
    DisconnectMode,
    Durability,
    IfNotExists,
    MultitaskStrategy,
    OnCompletionBehavior,
    StreamMode,
)
from loomline.server.domain.json import Json, JsonObject
from loomline.server.domain.protocol import CHANNELS

LIMIT_MOST = 1000
"""Rows that one answer of a search may hold."""

OFFSET_MOST = 2**53


def _whole(value: object) -> object:
    """Take ``2.0`` for ``2``: JSON has one kind of number."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Limit = Annotated[int, Field(ge=1, le=LIMIT_MOST), BeforeValidator(_whole)]
Positive = Annotated[int, Field(ge=1, le=2**31), BeforeValidator(_whole)]
RecursionLimit = Annotated[int, Field(ge=-(2**53), le=2**53), BeforeValidator(_whole)]
Offset = Annotated[int, Field(ge=0, le=OFFSET_MOST), BeforeValidator(_whole)]


Id = Annotated[str, WithJsonSchema({"type": "string", "format": "uuid"})]
"""A UUID in any of its forms; the services check it, with errors that say whose it is."""

AssistantName = Annotated[str, WithJsonSchema({"type": "string", "format": "assistant"})]
"""The id of an assistant, or the name of a graph, which stands for its default assistant."""

GraphName = Annotated[str, WithJsonSchema({"type": "string", "format": "graph"})]
"""One of the graphs that are served."""

Webhook = Annotated[
    str,
    Field(min_length=1, max_length=65_536),
    WithJsonSchema({"type": "string", "format": "webhook", "minLength": 1, "maxLength": 65_536}),
]
"""A URL that is told when a run ends; the policy of the server says where it may lead."""


Mode = StreamMode

TimeoutSeconds = Annotated[float, Field(gt=0, le=30 * 86_400)]
"""How long a run may take, where that is less than the server allows."""

_PAIR = {"type": "array", "prefixItems": [{"type": "string"}, {}], "minItems": 2, "maxItems": 2}
Update = Annotated[
    JsonObject | list[Json] | None,
    WithJsonSchema(
        {"anyOf": [{"type": "object"}, {"type": "array", "items": _PAIR}, {"type": "null"}]}
    ),
]
"""What to write: by key, or as pairs of a key and a value."""

_SEND = {"type": "object", "properties": {"node": {"type": "string"}}, "required": ["node"]}
_GOAL = {"anyOf": [{"type": "string"}, _SEND]}
Goto = Annotated[
    Json,
    WithJsonSchema({"anyOf": [_GOAL, {"type": "array", "items": _GOAL}, {"type": "null"}]}),
]
"""Where to go on: nodes by name, or with an input of their own."""


class TracerRequest(TypedDict, total=False):
    """Where a run is traced to, if the server traces."""

    project_name: str | None
    example_id: str | None


class CommandRequest(TypedDict, total=False):
    update: Update
    resume: Json
    goto: Goto


class ProtocolCommandRequest(TypedDict, total=False):
    """A command of the thread protocol. What is wrong with ``params`` is told in the answer."""

    id: Required[Annotated[int, Field(ge=-(2**53), le=2**53)]]
    method: Required[str]
    params: Json


_CHANNEL = f"^({'|'.join(CHANNELS)}|custom:(.|\\n)+)$"


class ProtocolStreamRequest(TypedDict, total=False):
    """Which events of a thread are wanted; what does not fit besides is left alone."""

    channels: Required[
        Annotated[list[Annotated[str, Field(pattern=_CHANNEL)]], Field(min_length=1)]
    ]
    namespaces: Json
    depth: Json
    since: Json


BATCH_MOST = 1000
"""Runs that one request may create or cancel."""


class RunCreateRequest(TypedDict, total=False):
    assistant_id: Required[AssistantName]
    input: Json
    command: CommandRequest | None
    config: JsonObject
    context: JsonObject
    metadata: JsonObject
    checkpoint: JsonObject
    checkpoint_id: Id | None
    stream_mode: Mode | list[Mode]
    stream_subgraphs: bool
    stream_resumable: bool
    interrupt_before: Literal["*"] | list[str]
    interrupt_after: Literal["*"] | list[str]
    multitask_strategy: MultitaskStrategy
    if_not_exists: IfNotExists
    on_disconnect: DisconnectMode
    on_completion: OnCompletionBehavior
    after_seconds: float
    durability: Durability
    checkpoint_during: bool
    feedback_keys: list[str]
    langsmith_tracer: TracerRequest | None
    strict_resume: bool
    timeout_seconds: TimeoutSeconds
    webhook: Webhook


RunBatchRequest = TypeAliasType(
    "RunBatchRequest",
    Annotated[list[RunCreateRequest], Field(min_length=1, max_length=BATCH_MOST)],
)


_CANCEL_FORMS: JsonObject = {
    "oneOf": [
        {"required": ["status"], "properties": {"thread_id": False, "run_ids": False}},
        {"required": ["thread_id", "run_ids"], "properties": {"status": False}},
    ]
}


@with_config(ConfigDict(json_schema_extra=_CANCEL_FORMS))
class RunCancelRequest(TypedDict, total=False):
    """Either a status, or a thread and runs of it."""

    status: BulkCancelRunsStatus
    thread_id: Id
    run_ids: Annotated[list[Id], Field(min_length=1, max_length=BATCH_MOST)]
