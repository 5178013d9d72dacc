"""Threads: a conversation with its state, and the status that follows from its runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal, TypeAlias
from uuid import UUID

from loomline.schema import OnConflictBehavior, RunStatus, ThreadStatus
from loomline.server.domain.access import EVERYTHING, Condition
from loomline.server.domain.extract import Path
from loomline.server.domain.json import EMPTY_OBJECT, Encoded, JsonObject, load_object

TtlStrategy: TypeAlias = Literal["delete", "keep_latest"]
"""What becomes of a thread that has expired: nothing is left, or its latest checkpoints."""

PruneStrategy: TypeAlias = TtlStrategy

ThreadSort: TypeAlias = Literal[
    "thread_id", "status", "created_at", "updated_at", "state_updated_at"
]


def question_ids(interrupts: Encoded | None) -> tuple[str, ...]:
    """Return the ids of a thread's open questions.

    Args:
        interrupts: The questions by the ids of their tasks, encoded.
    """
    if interrupts is None or interrupts == EMPTY_OBJECT:
        return ()
    tasks = load_object(interrupts).values()
    asked = [each for task in tasks for each in (task if isinstance(task, list) else [])]
    return tuple(str(each.get("id")) for each in asked if isinstance(each, dict))


@dataclass(frozen=True, slots=True)
class Ttl:
    """How long a thread is kept after the last change, and what happens then."""

    minutes: float
    strategy: TtlStrategy = "delete"


@dataclass(frozen=True, slots=True)
class NewThread:
    thread_id: UUID
    metadata: JsonObject
    if_exists: OnConflictBehavior
    now: datetime
    ttl: Ttl | None = None


@dataclass(frozen=True, slots=True)
class Thread:
    """A thread's row. ``values``, ``interrupts`` and ``error`` are None before the first run.

    ``values`` is None as well where it was not asked for.
    """

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
    ttl: Ttl | None = None

    @property
    def expires_at(self) -> datetime | None:
        """Return when the thread expires unless something happens on it."""
        return None if self.ttl is None else self.updated_at + timedelta(minutes=self.ttl.minutes)


@dataclass(frozen=True, slots=True)
class ThreadPatch:
    """A change of a thread. ``metadata`` is merged into the thread's, key by key at the top."""

    now: datetime
    metadata: JsonObject = field(default_factory=dict)
    ttl: Ttl | None = None


@dataclass(frozen=True, slots=True)
class ThreadState:
    """What a thread's row says of its newest checkpoint."""

    status: ThreadStatus
    values: Encoded
    interrupts: Encoded
    now: datetime


@dataclass(frozen=True, slots=True)
class ThreadFilter:
    """Which threads: those that meet all of it. Empty and None: no condition.

    ``metadata`` and ``values`` are contained in the thread's, as ``filters.contains`` has it; a
    thread without values contains none.
    """

    ids: Sequence[UUID] = ()
    status: ThreadStatus | None = None
    metadata: JsonObject = field(default_factory=dict)
    values: JsonObject = field(default_factory=dict)
    access: Condition = EVERYTHING


@dataclass(frozen=True, slots=True)
class ThreadQuery:
    """A search. Threads that are equal in ``sort_by`` are sorted by their ids, in the same order.

    ``with_values``: whether the values are wanted. ``extract`` names what is wanted out of rows.
    """

    where: ThreadFilter
    limit: int
    offset: int = 0
    sort_by: ThreadSort = "updated_at"
    descending: bool = True
    with_values: bool = True
    extract: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FoundThread:
    """A row of a search. ``extracted`` is an object with the aliases, encoded, or None."""

    thread: Thread
    extracted: Encoded | None = None


@dataclass(frozen=True, slots=True)
class Pruned:
    """``threads`` were deleted or cut down; ``stopped`` were active runs of deleted ones."""

    threads: tuple[UUID, ...] = ()
    stopped: tuple[UUID, ...] = ()


@dataclass(frozen=True, slots=True)
class Size:
    count: int
    bytes: int


@dataclass(frozen=True, slots=True)
class ThreadSize:
    """What a thread takes in the database. ``channels``: versions and bytes of each channel."""

    checkpoints: Size
    channels: Mapping[str, Size]
    pending_writes: Size


def status_after(run_status: RunStatus, *, has_next: bool) -> ThreadStatus:
    """Return the status of a thread whose last run ended and that has nothing queued."""
    if run_status in {"error", "timeout"}:
        return "error"
    if run_status == "interrupted" or has_next:
        return "interrupted"
    return "idle"
