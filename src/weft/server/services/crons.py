"""Crons."""

from __future__ import annotations

from datetime import datetime
from typing import cast
from uuid import UUID

from weft.schema import OnCompletionBehavior
from weft.server.authz.users import Caller
from weft.server.domain.assistants import Assistant
from weft.server.domain.crons import (
    Cron,
    CronFilter,
    CronQuery,
    config_with_id,
    run_fields,
    scheduled,
    without_id,
)
from weft.server.domain.errors import (
    AssistantNotFound,
    ContradictoryInput,
    CronAssistantNotFound,
    InvalidInput,
    UnusableInput,
)
from weft.server.domain.filters import Page
from weft.server.domain.ids import uuid7
from weft.server.domain.json import JsonObject
from weft.server.domain.schedules import check_schedule, check_timezone, parse_time
from weft.server.ports.clock import Clock
from weft.server.ports.storage import Storage
from weft.server.services.assistants import AssistantService
from weft.server.services.cron_requests import (
    CronCountRequest,
    CronCreateRequest,
    CronPatchRequest,
    CronSearchRequest,
    ThreadCronCreateRequest,
)
from weft.server.services.requests import RunCreateRequest
from weft.server.services.run_request import new_run, parse_uuid
from weft.server.services.webhooks import WebhookGuard


class CronService:
    def __init__(
        self, storage: Storage, assistants: AssistantService, clock: Clock, guard: WebhookGuard
    ) -> None:
        self._guard = guard
        self._storage = storage
        self._assistants = assistants
        self._clock = clock

    async def create(
        self,
        caller: Caller,
        thread_id: UUID | None,
        body: CronCreateRequest | ThreadCronCreateRequest,
    ) -> Cron:
        """Create a cron, for a thread or (None) for a new thread each time."""
        fields = cast("JsonObject", body)
        _check_times(fields)
        assistant = await self._assistant(caller, body["assistant_id"])
        now = self._clock.now()
        _check_run(thread_id, fields, assistant, now)
        await self._guard.check(body.get("webhook"))
        cron_id = uuid7()
        cron = Cron(
            cron_id=cron_id,
            assistant_id=assistant.assistant_id,
            thread_id=thread_id,
            user_id="",
            schedule=body["schedule"],
            timezone=body.get("timezone"),
            end_time=body.get("end_time"),
            payload=_payload(fields, assistant, cron_id),
            metadata=body.get("metadata", {}),
            on_run_completed=_on_run_completed(thread_id, fields),
            enabled=body.get("enabled", True),
            next_run_date=None,
            created_at=now,
            updated_at=now,
        )
        return await self._storage.crons.create(scheduled(cron, now))

    async def get(self, caller: Caller, cron_id: UUID) -> Cron:
        return await self._storage.crons.get(cron_id)

    async def update(self, caller: Caller, cron_id: UUID, body: CronPatchRequest) -> Cron:
        """Change a cron.

        Raises:
            UnusableInput: nothing is to be changed.
            ContradictoryInput: fields that exclude each other are given.
        """
        fields = cast("JsonObject", body)
        if not fields:
            raise UnusableInput("Request body cannot be empty")
        _check_times(fields)
        cron = await self._storage.crons.get(cron_id)
        if "on_run_completed" in fields and cron.thread_id is not None:
            raise ContradictoryInput(
                "'on_run_completed' is for crons whose runs get threads of their own."
            )
        assistant = await self._storage.assistants.get(cron.assistant_id)
        now = self._clock.now()
        _check_run(cron.thread_id, {**cron.payload, **fields}, assistant, now)
        await self._guard.check(body.get("webhook"))
        return await self._storage.crons.update(cron_id, fields, now)

    async def delete(self, caller: Caller, cron_id: UUID) -> None:
        await self._storage.crons.delete(cron_id)

    async def search(self, caller: Caller, body: CronSearchRequest) -> Page[Cron]:
        query = CronQuery(
            _filter(body),
            limit=body.get("limit", 10),
            offset=body.get("offset", 0),
            sort_by=body.get("sort_by", "created_at"),
            descending=body.get("sort_order") != "asc",
        )
        return await self._storage.crons.search(query)

    async def count(self, caller: Caller, body: CronCountRequest) -> int:
        return await self._storage.crons.count(_filter(body))

    async def _assistant(self, caller: Caller, name: str) -> Assistant:
        try:
            return await self._assistants.find(caller, name)
        except (InvalidInput, AssistantNotFound):
            raise CronAssistantNotFound(name) from None


def _filter(body: CronCountRequest) -> CronFilter:
    assistant, thread = body.get("assistant_id"), body.get("thread_id")
    return CronFilter(
        assistant_id=None if assistant is None else parse_uuid(assistant, "assistant"),
        thread_id=None if thread is None else parse_uuid(thread, "thread"),
        enabled=body.get("enabled"),
        metadata=body.get("metadata", {}),
    )


def _check_times(fields: JsonObject) -> None:
    """Make sure that what says when can be read.

    Raises:
        InvalidInput: it cannot.
    """
    if "schedule" in fields:
        check_schedule(cast("str", fields["schedule"]))
    if fields.get("timezone") is not None:
        check_timezone(cast("str", fields["timezone"]))
    if fields.get("end_time") is not None:
        parse_time(cast("str", fields["end_time"]), "end_time")


def _check_run(
    thread_id: UUID | None, fields: JsonObject, assistant: Assistant, now: datetime
) -> None:
    """Make sure that the runs of a cron will be accepted, while there is somebody to be told."""
    request = run_fields(fields)
    request["config"] = without_id(fields.get("config"))
    new_run(thread_id, cast("RunCreateRequest", request), assistant, request_id="", now=now)


def _payload(fields: JsonObject, assistant: Assistant, cron_id: UUID) -> JsonObject:
    return {
        **fields,
        "assistant_id": str(assistant.assistant_id),
        "config": config_with_id(fields.get("config"), cron_id),
    }


def _on_run_completed(thread_id: UUID | None, fields: JsonObject) -> OnCompletionBehavior | None:
    if thread_id is not None:
        return None
    return cast("OnCompletionBehavior", fields.get("on_run_completed", "delete"))
