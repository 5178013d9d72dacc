"""Threads: a conversation with its state, and the status that follows from its runs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from weft.schema import OnConflictBehavior, RunStatus, ThreadStatus
from weft.server.domain.json import Encoded, JsonObject


@dataclass(frozen=True, slots=True)
class NewThread:
    thread_id: UUID
    metadata: JsonObject
    if_exists: OnConflictBehavior
    now: datetime


@dataclass(frozen=True, slots=True)
class Thread:
    """A thread's row. ``values``, ``interrupts`` and ``error`` are None before the first run."""

    thread_id: UUID
    status: ThreadStatus
    metadata: JsonObject
    config: JsonObject
    values: Encoded | None
    interrupts: Encoded | None
    error: Encoded | None
    created_at: datetime
    updated_at: datetime
    state_updated_at: datetime


def status_after(run_status: RunStatus, *, has_next: bool) -> ThreadStatus:
    """Return the status of a thread whose last run ended and that has nothing queued."""
    if run_status in {"error", "timeout"}:
        return "error"
    if run_status == "interrupted" or has_next:
        return "interrupted"
    return "idle"
