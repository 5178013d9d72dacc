"""What clients ask of crons, after validation."""

from __future__ import annotations

from typing import Annotated, Literal, Required

from pydantic import WithJsonSchema
from typing_extensions import TypedDict

from loomline.schema import Durability, MultitaskStrategy, OnCompletionBehavior
from loomline.server.domain.crons import CronSort
from loomline.server.domain.json import JsonObject
from loomline.server.services.assistant_requests import ConfigRequest
from loomline.server.services.requests import (
    AssistantName,
    Id,
    Limit,
    Mode,
    Offset,
    TimeoutSeconds,
    Webhook,
)

CronField = Literal[
    "cron_id", "assistant_id", "thread_id", "user_id", "end_time", "schedule", "timezone",
    "payload", "next_run_date", "metadata", "on_run_completed", "enabled", "created_at",
    "updated_at", "now",
]  # fmt: skip
"""A field of a row; ``now`` is one that clients may name and no row has."""

# As ``domain.schedules`` checks them.
Schedule = Annotated[str, WithJsonSchema({"type": "string", "format": "cron"})]
Timezone = Annotated[str, WithJsonSchema({"type": "string", "format": "timezone"})]
Time = Annotated[str, WithJsonSchema({"type": "string", "format": "date-time"})]

CronInput = JsonObject | list[JsonObject]
Nodes = Literal["*"] | list[str]


class _CronFields(TypedDict, total=False):
    end_time: Time | None
    input: CronInput
    metadata: JsonObject
    config: ConfigRequest
    context: JsonObject
    webhook: Webhook
    interrupt_before: Nodes
    interrupt_after: Nodes
    multitask_strategy: MultitaskStrategy
    enabled: bool
    stream_mode: Mode | list[Mode]
    stream_subgraphs: bool
    stream_resumable: bool
    durability: Durability
    timeout_seconds: TimeoutSeconds


class CronPatchRequest(_CronFields, total=False):
    schedule: Schedule
    timezone: Timezone
    on_run_completed: OnCompletionBehavior


class ThreadCronCreateRequest(_CronFields, total=False):
    assistant_id: Required[AssistantName]
    schedule: Required[Schedule]
    timezone: Timezone | None
    checkpoint_during: bool


class CronCreateRequest(ThreadCronCreateRequest, total=False):
    on_run_completed: OnCompletionBehavior


class CronCountRequest(TypedDict, total=False):
    assistant_id: Id
    thread_id: Id
    enabled: bool
    metadata: JsonObject


class CronSearchRequest(CronCountRequest, total=False):
    limit: Limit
    offset: Offset
    sort_by: CronSort
    sort_order: Literal["asc", "desc"]
    select: list[CronField]
