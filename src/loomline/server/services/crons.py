"""Crons."""

from __future__ import annotations

from datetime import datetime
from typing import cast
from uuid import UUID

from loomline.schema import OnCompletionBehavior
from loomline.server.authz.authorizer import Authorizer, Value
from loomline.server.authz.errors import Refused
from loomline.server.authz.users import Caller
from loomline.server.domain.access import EVERYTHING, Condition
from loomline.server.domain.assistants import Assistant
from loomline.server.domain.crons import (
    Cron,
    CronFilter,
    CronQuery,
    config_with_id,
    run_fields,
    scheduled,
    without_id,
)
from loomline.server.domain.errors import (
    AssistantNotFound,
    ContradictoryInput,
    CronAssistantNotFound,
    InvalidInput,
    UnusableInput,
)
from loomline.server.domain.filters import Page
from loomline.server.domain.ids import uuid7
from loomline.server.domain.json import JsonObject
from loomline.server.domain.schedules import check_schedule, check_timezone, parse_time
from loomline.server.domain.webhooks import leads_inside
from loomline.server.ports.clock import Clock
from loomline.server.ports.storage import Storage
from loomline.server.services.assistants import AssistantService
from loomline.server.services.cron_requests import (
    CronCountRequest,
    CronCreateRequest,
    CronPatchRequest,
    CronSearchRequest,
    ThreadCronCreateRequest,
)
from loomline.server.services.requests import RunCreateRequest
from loomline.server.services.run_request import RunRequest, new_run, parse_uuid
from loomline.server.services.webhooks import WebhookGuard


class CronService:
    def __init__(
        self,
        storage: Storage,
        assistants: AssistantService,
        clock: Clock,
        guard: WebhookGuard,
        authz: Authorizer,
    ) -> None:
        self._guard = guard
        self._storage = storage
        self._assistants = assistants
        self._clock = clock
        self._authz = authz

    async def create(
        self,
        caller: Caller,
        thread_id: UUID | None,
        body: CronCreateRequest | ThreadCronCreateRequest,
    ) -> Cron:
        """Create a cron, for a thread or (None) for a new thread each time."""
        fields = cast("JsonObject", body)
        _check_times(fields)
        assistant = await self._assistant(body["assistant_id"])
        now = self._clock.now()
        await self._guard.check(body.get("webhook"))
        cron_id = uuid7()
        value: Value = {
            "payload": _payload(fields, assistant, cron_id),
            "schedule": body["schedule"],
            "cron_id": cron_id,
            "thread_id": thread_id,
            "user_id": caller.identity,
            "end_time": body.get("end_time"),
            "metadata": dict(body.get("metadata", {})),
        }
        access = await self._authz.allow(caller, "crons", "create", value)
        self._check_target(body["assistant_id"], assistant, access)
        threads = await self._on_thread(caller, thread_id)
        _check_run(thread_id, fields, assistant, now)
        cron = Cron(
            cron_id=cron_id,
            assistant_id=assistant.assistant_id,
            thread_id=thread_id,
            user_id=caller.identity,
            schedule=body["schedule"],
            timezone=body.get("timezone"),
            end_time=body.get("end_time"),
            payload=value["payload"],
            metadata=value.get("metadata") or {},
            on_run_completed=_on_run_completed(thread_id, fields),
            enabled=body.get("enabled", True),
            next_run_date=None,
            created_at=now,
            updated_at=now,
            user=caller.dump(),
        )
        return await self._storage.crons.create(scheduled(cron, now), access=threads)

    async def get(self, caller: Caller, cron_id: UUID) -> Cron:
        access = await self._authz.allow(caller, "crons", "read", {"cron_id": cron_id})
        return await self._storage.crons.get(cron_id, access=access)

    async def update(self, caller: Caller, cron_id: UUID, body: CronPatchRequest) -> Cron:
        """Change a cron.

        Raises:
            UnusableInput: nothing is to be changed.
            ContradictoryInput: fields that exclude each other are given.
        """
        fields = dict(cast("JsonObject", body))
        if not fields:
            raise UnusableInput("Request body cannot be empty")
        _check_times(fields)
        access = await self._updating(caller, cron_id, fields)
        cron = await self._storage.crons.get(cron_id, access=access)
        if "on_run_completed" in fields and cron.thread_id is not None:
            raise ContradictoryInput(
                "'on_run_completed' is for crons whose runs get threads of their own."
            )
        _check_deputy(caller, cron, body.get("webhook"))
        assistant = await self._storage.assistants.get(cron.assistant_id)
        now = self._clock.now()
        _check_run(cron.thread_id, {**cron.payload, **fields}, assistant, now)
        await self._guard.check(body.get("webhook"))
        return await self._storage.crons.update(cron_id, fields, now, access=access)

    async def delete(self, caller: Caller, cron_id: UUID) -> None:
        access = await self._authz.allow(caller, "crons", "delete", {"cron_id": cron_id})
        await self._storage.crons.delete(cron_id, access=access)

    async def search(self, caller: Caller, body: CronSearchRequest) -> Page[Cron]:
        query = CronQuery(
            await self._where(caller, body),
            limit=body.get("limit", 10),
            offset=body.get("offset", 0),
            sort_by=body.get("sort_by", "created_at"),
            descending=body.get("sort_order") != "asc",
        )
        return await self._storage.crons.search(query)

    async def count(self, caller: Caller, body: CronCountRequest) -> int:
        return await self._storage.crons.count(await self._where(caller, body))

    async def _assistant(self, name: str) -> Assistant:
        try:
            return await self._assistants.target(name)
        except (InvalidInput, AssistantNotFound):
            raise CronAssistantNotFound(name) from None

    def _check_target(self, name: str, assistant: Assistant, access: Condition) -> None:
        try:
            self._assistants.check_target(assistant, access)
        except AssistantNotFound:
            raise CronAssistantNotFound(name) from None

    async def _on_thread(self, caller: Caller, thread_id: UUID | None) -> Condition:
        """Return the condition on the thread that a cron is for."""
        if thread_id is None:
            return EVERYTHING
        return await self._authz.allow(caller, "threads", "read", {"thread_id": thread_id})

    async def _updating(self, caller: Caller, cron_id: UUID, fields: JsonObject) -> Condition:
        """Return which crons may be changed; put what the handler made of the metadata in place."""
        named = ("schedule", "end_time", "enabled", "on_run_completed")
        value: Value = {
            "cron_id": cron_id,
            "payload": fields,
            "metadata": dict(cast("JsonObject", fields.get("metadata", {}))),
            **{name: fields.get(name) for name in named},
        }
        access = await self._authz.allow(caller, "crons", "update", value)
        metadata = value.get("metadata") or {}
        if metadata or "metadata" in fields:
            fields["metadata"] = metadata
        return access

    async def _where(
        self, caller: Caller, body: CronCountRequest | CronSearchRequest
    ) -> CronFilter:
        assistant, thread = body.get("assistant_id"), body.get("thread_id")
        value: Value = {
            "assistant_id": None if assistant is None else parse_uuid(assistant, "assistant"),
            "thread_id": None if thread is None else parse_uuid(thread, "thread"),
            "limit": body.get("limit", 0),
            "offset": body.get("offset", 0),
            "metadata": dict(body.get("metadata", {})),
        }
        access = await self._authz.allow(caller, "crons", "search", value)
        about = {"thread_id": value["thread_id"], "metadata": {}}
        return CronFilter(
            assistant_id=value["assistant_id"],
            thread_id=value["thread_id"],
            enabled=body.get("enabled"),
            metadata=value.get("metadata") or {},
            access=access,
            thread_access=await self._authz.allow(caller, "threads", "search", about),
        )


def _check_deputy(caller: Caller, cron: Cron, webhook: str | None) -> None:
    """Make sure that a webhook into the server itself acts as the user who sets it.

    Raises:
        Refused: the runs of the cron are another user's.
    """
    inside = webhook is not None and leads_inside(webhook)
    if inside and caller.identity != Caller.load(cron.user).identity:
        raise Refused(
            403,
            f"The webhook '{webhook:.200}' leads into this server and would act as the user who"
            " created the cron. Only that user may set it; others may set a full URL.",
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
    body = run_fields(fields)
    body["config"] = without_id(fields.get("config"))
    new_run(RunRequest(cast("RunCreateRequest", body), thread_id), assistant, now)


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
