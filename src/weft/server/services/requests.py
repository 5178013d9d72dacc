"""What clients ask for, after validation."""

from __future__ import annotations

from typing import Annotated, Literal, Required

from pydantic import BeforeValidator, Field
from typing_extensions import TypeAliasType, TypedDict

from weft.schema import (
    BulkCancelRunsStatus,
    DisconnectMode,
    Durability,
    IfNotExists,
    MultitaskStrategy,
    OnCompletionBehavior,
    StreamMode,
)
from weft.server.domain.json import Json, JsonObject

LIMIT_MOST = 1000
"""Rows that one answer of a search may hold."""

OFFSET_MOST = 2**53


def _whole(value: object) -> object:
    """Take ``2.0`` for ``2``: JSON has one kind of number."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Whole = Annotated[int, BeforeValidator(_whole)]
"""An integer, written in either way."""

Limit = Annotated[int, Field(ge=1, le=LIMIT_MOST), BeforeValidator(_whole)]
Offset = Annotated[int, Field(ge=0, le=OFFSET_MOST), BeforeValidator(_whole)]


class CommandRequest(TypedDict, total=False):
    update: JsonObject | list[Json] | None
    resume: Json
    goto: Json


BATCH_MOST = 1000
"""Runs that one request may create or cancel."""


class RunCreateRequest(TypedDict, total=False):
    assistant_id: Required[str]
    input: Json
    command: CommandRequest | None
    config: JsonObject
    context: JsonObject
    metadata: JsonObject
    checkpoint: JsonObject
    checkpoint_id: str | None
    stream_mode: StreamMode | list[StreamMode]
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
    webhook: str


RunBatchRequest = TypeAliasType(
    "RunBatchRequest",
    Annotated[list[RunCreateRequest], Field(min_length=1, max_length=BATCH_MOST)],
)


class RunCancelRequest(TypedDict, total=False):
    """Either a status, or a thread and runs of it."""

    status: BulkCancelRunsStatus
    thread_id: str
    run_ids: Annotated[list[str], Field(min_length=1, max_length=BATCH_MOST)]
