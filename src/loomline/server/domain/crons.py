"""Crons: runs that are started again and again, when a schedule says so."""

from __future__ import annotations

import dataclasses
import logging
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, TypeAlias, cast
from uuid import UUID

from loomline.schema import OnCompletionBehavior
from loomline.server.domain.access import EVERYTHING, Condition
from loomline.server.domain.errors import InvalidInput
from loomline.server.domain.json import Encoded, Json, JsonObject
from loomline.server.domain.schedules import next_time, parse_time

logger: logging.Logger = logging.getLogger("loomline.crons")

CronSort: TypeAlias = Literal[
    "cron_id", "assistant_id", "thread_id", "created_at", "updated_at", "next_run_date", "end_time"
]

RUN_FIELDS = (
    "assistant_id", "input", "metadata", "config", "context", "webhook", "interrupt_before",
    "interrupt_after", "multitask_strategy", "stream_mode", "stream_subgraphs", "stream_resumable",
    "durability", "checkpoint_during", "timeout_seconds",
)  # fmt: skip
"""What of a cron's payload is a field of the runs it starts."""


@dataclass(frozen=True, slots=True)
class Cron:
    """A cron's row.

    ``thread_id`` None: every run gets a thread of its own, and ``on_run_completed`` says what
    becomes of it. ``end_time`` is kept as the client wrote it. ``payload`` is the client's request.
    ``next_run_date`` None: it is never due again. ``user`` is whose runs it starts, encoded.
    ``sealing`` is the context that its request was encrypted with.
    """

    cron_id: UUID
    assistant_id: UUID
    thread_id: UUID | None
    user_id: str
    schedule: str
    timezone: str | None
    end_time: str | None
    payload: JsonObject
    metadata: JsonObject
    on_run_completed: OnCompletionBehavior | None
    enabled: bool
    next_run_date: datetime | None
    created_at: datetime
    updated_at: datetime
    user: Encoded | None = None
    sealing: JsonObject = field(default_factory=dict)

    @property
    def ends_at(self) -> datetime | None:
        return None if self.end_time is None else parse_time(self.end_time, "end_time")


@dataclass(frozen=True, slots=True)
class CronFilter:
    """Which crons: those that meet all of it. Empty and None: no condition.

    ``thread_access`` is a condition on the thread of a cron that has one.
    """

    assistant_id: UUID | None = None
    thread_id: UUID | None = None
    enabled: bool | None = None
    metadata: JsonObject = field(default_factory=dict)
    access: Condition = EVERYTHING
    thread_access: Condition = EVERYTHING


@dataclass(frozen=True, slots=True)
class CronQuery:
    """A search. Rows without a value to sort by come last in either order, equal ones by id."""

    where: CronFilter
    limit: int
    offset: int = 0
    sort_by: CronSort = "created_at"
    descending: bool = True


def next_date(cron: Cron, after: datetime) -> datetime | None:
    """Return when a cron is due next after a moment; None: its end comes first.

    Raises:
        InvalidInput: its schedule cannot be read or never comes true.
    """
    due = next_time(cron.schedule, cron.timezone, after)
    return None if cron.ends_at is not None and due > cron.ends_at else due


@dataclass(frozen=True, slots=True)
class Firing:
    """A due time of a cron. It is over once the cron's date has moved from there to ``next_at``.

    ``starts``: a run belongs to it; not where the end of the cron has passed, and not where its
    schedule can no longer be read.
    """

    cron_id: UUID
    due_at: datetime
    next_at: datetime | None
    starts: bool


def firing(cron: Cron, due_at: datetime, now: datetime) -> Firing:
    """Return what is to be done at a due time. Times between it and now have been missed."""
    ended = cron.ends_at is not None and cron.ends_at < now
    try:
        next_at = None if ended else next_date(cron, now)
    except InvalidInput as error:
        # A time zone or a form of schedules may go with an update of the system or of a library.
        logger.warning("cron %s is given up: %s", cron.cron_id, error)
        ended, next_at = True, None
    return Firing(cron.cron_id, due_at, next_at, starts=not ended)


def scheduled(cron: Cron, now: datetime) -> Cron:
    """Return a cron with the date at which it is due next.

    Raises:
        InvalidInput: its schedule cannot be read or never comes true.
    """
    return dataclasses.replace(cron, next_run_date=next_date(cron, now))


def config_with_id(config: Json, cron_id: UUID) -> JsonObject:
    """Return a config that tells the runs which cron has started them."""
    given = config if isinstance(config, dict) else {}
    configurable = given.get("configurable")
    own = configurable if isinstance(configurable, dict) else {}
    return {**given, "configurable": {**own, "cron_id": str(cron_id)}}


def patched(cron: Cron, fields: JsonObject, now: datetime) -> Cron:
    """Return a cron after a change of some fields, which have been validated.

    ``metadata`` is merged into the cron's and replaces that of the payload; the others replace.

    Raises:
        InvalidInput: the new schedule cannot be read or never comes true.
    """
    payload = {**cron.payload, **fields}
    if "config" in fields:
        payload["config"] = config_with_id(fields["config"], cron.cron_id)
    after = dataclasses.replace(
        cron,
        schedule=cast("str", fields.get("schedule", cron.schedule)),
        timezone=cast("str | None", fields.get("timezone", cron.timezone)),
        end_time=cast("str | None", fields.get("end_time", cron.end_time)),
        enabled=cast("bool", fields.get("enabled", cron.enabled)),
        on_run_completed=cast(
            "OnCompletionBehavior | None", fields.get("on_run_completed", cron.on_run_completed)
        ),
        metadata={**cron.metadata, **cast("JsonObject", fields.get("metadata", {}))},
        payload=payload,
        updated_at=now,
    )
    again = fields.keys() & {"schedule", "timezone", "end_time", "enabled"}
    return scheduled(after, now) if again else after


def run_fields(payload: JsonObject) -> JsonObject:
    """Return the request of a run that a cron starts.

    Context and ``configurable`` exclude each other: where there is a context, the id that was put
    beside it stays behind.
    """
    fields = {name: payload[name] for name in RUN_FIELDS if name in payload}
    if fields.get("context"):
        fields["config"] = without_id(fields.get("config"))
    return fields


def without_id(config: Json) -> JsonObject:
    """Return a config as the client gave it."""
    given = dict(config) if isinstance(config, dict) else {}
    configurable = given.pop("configurable", None)
    if isinstance(configurable, dict):
        own = {key: each for key, each in configurable.items() if key != "cron_id"}
        return {**given, "configurable": own} if own else given
    return given
