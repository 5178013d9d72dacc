"""Runs: from the request to the outcome."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

from loomline.schema import CancelAction, MultitaskStrategy, RunStatus, ThreadStatus
from loomline.server.domain.access import EVERYTHING, Condition, meets
from loomline.server.domain.crons import Firing
from loomline.server.domain.errors import ThreadNotFound
from loomline.server.domain.idempotency import IdempotencyKey
from loomline.server.domain.json import EMPTY_OBJECT, Encoded, JsonObject, dump
from loomline.server.domain.outputs import Output
from loomline.server.domain.protocol import answered
from loomline.server.domain.run_spec import RunSpec, StoredSpec
from loomline.server.domain.threads import Ttl

PRIORITIES: Final = range(-5, 6)
"""The priorities of runs: the lowest comes first. Runs have 0 unless told."""

ACTIVE: frozenset[RunStatus] = frozenset({"pending", "running"})


@dataclass(frozen=True, slots=True)
class Run:
    """A run's row.

    ``request`` is the run's request, as it is stored: encrypted where a driver has read the row.
    ``attempt`` counts the executions that have begun: 0 while it has never been claimed. ``error``
    is ``{"error": class, "message": text}``, encoded, once it has failed. ``webhook``: the URL that
    is told when it ends. ``user`` is whose run it is, encoded: only the worker reads it.
    ``sealing`` is the context that its request was encrypted with: what it stores is encrypted with
    the same. ``number_before`` is the number of the thread's last event before those of the run,
    None until it has any. ``last_number`` is the number of the run's last event, None until its end
    has a number: the end of a run that never began comes after the events of the run that has begun
    and is active, so it has no number until that run has ended. ``stop_reason`` is the reason of
    the first order to stop the run. ``output`` is the part of the state that the graph's output
    schema shows, known once the run has ended.
    """

    run_id: UUID
    thread_id: UUID
    assistant_id: UUID
    graph_id: str
    status: RunStatus
    metadata: JsonObject
    request: StoredSpec
    multitask_strategy: MultitaskStrategy
    temporary: bool
    resumable: bool
    attempt: int
    created_at: datetime
    updated_at: datetime
    error: Encoded | None = None
    webhook: str | None = None
    user: Encoded | None = None
    sealing: JsonObject = field(default_factory=dict)
    number_before: int | None = None
    last_number: int | None = None
    stop_reason: str | None = None
    output: Output = field(default_factory=Output)

    @property
    def spec(self) -> RunSpec:
        """The run's request, decoded on first use."""
        return self.request.spec

    @property
    def cancel_reason(self) -> str | None:
        """The reason of the cancellation; None for a run that was not cancelled.

        A run that ended by itself before its worker followed the order has the reason stored too.
        """
        return self.stop_reason if self.status == "interrupted" else None

    @property
    def active(self) -> bool:
        return self.status in ACTIVE


@dataclass(frozen=True, slots=True)
class NewRun:
    """A run to be. ``created_at`` is the time it is due, which ``after_seconds`` puts off.

    ``thread_ttl`` is for the thread where it has to be created. ``own_thread``: the thread is made
    for this run alone, and has its metadata. ``access`` is a condition on a thread that exists;
    one that has to be created begins with ``thread_metadata``. ``answers`` are the ids of the
    questions that this run alone may answer. ``priority`` becomes that of the thread, unless the
    thread has one.
    """

    run_id: UUID
    thread_id: UUID
    assistant_id: UUID
    graph_id: str
    assistant_metadata: JsonObject
    metadata: JsonObject
    request: StoredSpec
    multitask_strategy: MultitaskStrategy
    create_thread: bool
    thread_config: JsonObject
    created_at: datetime
    now: datetime
    thread_ttl: Ttl | None = None
    own_thread: bool = False
    webhook: str | None = None
    key: IdempotencyKey | None = None
    limits: QueueLimits | None = None
    thread_metadata: JsonObject = field(default_factory=dict)
    access: Condition = EVERYTHING
    user: Encoded | None = None
    firing: Firing | None = None
    answers: tuple[str, ...] = ()
    priority: int | None = None

    @property
    def spec(self) -> RunSpec:
        return self.request.spec

    @property
    def questions(self) -> tuple[str, ...]:
        """The ids of the questions that the run answers by id."""
        return self.answers or tuple(answered(self.spec.resume))


@dataclass(frozen=True, slots=True)
class QueueLimits:
    """How many runs may wait, the new one included: on its thread, and (0: any number) in all."""

    thread: int
    total: int = 0


@dataclass(frozen=True, slots=True)
class Created:
    """A run that exists now, and the runs that had to make way for it.

    ``superseded`` were running: their workers must be told. ``ended`` were still pending and are
    over (or gone) already: whoever follows them must be let go. ``replayed``: nothing has
    happened, since an earlier request with the same key has created the run. ``access`` is the
    condition under which the caller may read the thread.
    """

    run: Run
    superseded: tuple[UUID, ...] = ()
    ended: tuple[UUID, ...] = ()
    replayed: bool = False
    access: Condition = EVERYTHING


@dataclass(frozen=True, slots=True)
class Stop:
    """Why a running run shall stop, and what becomes of what it did."""

    action: CancelAction
    reason: str


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to execute a run, until the lease runs out.

    ``token`` is the fence: it changes with every claim, and only its holder may write.
    ``fresh`` says that the thread has no checkpoint yet. ``stop`` is an order that an earlier
    worker died before it could follow. ``number`` counts the claims of the run, and other than
    ``run.attempt`` also those that were handed over: of two claims the later one has the greater.
    ``event_number`` is what the events of the thread are numbered up to: those of this execution
    come after it.
    """

    run: Run
    token: str
    fresh: bool
    stop: Stop | None = None
    number: int = 1
    event_number: int = 0


@dataclass(frozen=True, slots=True)
class Renewal:
    """What a worker learns when it renews its leases."""

    lost: tuple[UUID, ...] = ()
    stops: dict[UUID, Stop] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended.

    ``values`` None leaves the thread's values as they are. ``roll_back`` removes the run and its
    checkpoints. ``error`` is ``{"error": class, "message": text}``, encoded, or None. ``untold``:
    those who wait for the result could not be told, and will look for it in the database, so the
    thread of a temporary run stays for ``UNTOLD_MINUTES``. ``event_number`` is the number of the
    run's last event. ``output`` is the part of the state that the graph's output schema shows.
    ``last_events`` are the encoded questions and the end of a run with events of the thread
    protocol, for readers whose log has no end of the run. ``asked`` are the ids of the open
    questions in ``interrupts``.
    """

    status: RunStatus
    thread_status: ThreadStatus
    values: Encoded | None = None
    interrupts: Encoded = EMPTY_OBJECT
    error: Encoded | None = None
    roll_back: bool = False
    untold: bool = False
    event_number: int = 0
    output: Output = field(default_factory=Output)
    last_events: Encoded | None = None
    asked: tuple[str, ...] = ()


UNTOLD_MINUTES = 5.0


@dataclass(frozen=True, slots=True)
class Finished:
    """What finishing a run led to. ``waiting``: the thread has another run that can start."""

    waiting: bool


@dataclass(frozen=True, slots=True)
class Cancelled:
    """``ended`` were pending and are over; ``stopping`` are running and have been marked."""

    ended: tuple[UUID, ...] = ()
    stopping: tuple[UUID, ...] = ()


@dataclass(frozen=True, slots=True)
class Reclaimed:
    """Runs whose worker is gone: put back into the queue, or given up after too many attempts."""

    requeued: tuple[UUID, ...] = ()
    given_up: tuple[UUID, ...] = ()


@dataclass(frozen=True, slots=True)
class QueueStats:
    """How many runs wait and execute, and how long those that are due have waited.

    Unblocked are runs whose thread has nothing running. The waits are None where nothing waits.
    ``unknown_graph``: those of the waiting ones whose graph is none of those that were asked for.
    """

    pending: int
    running: int
    longest_wait_seconds: float | None = None
    median_wait_seconds: float | None = None
    longest_unblocked_wait_seconds: float | None = None
    unknown_graph: int = 0


def number_at_end(claim: Claim, outcome: Outcome) -> int:
    """Return the number of the last event of a run that its worker has ended."""
    return max(outcome.event_number, claim.event_number)


def run_metadata(new: NewRun, thread_metadata: JsonObject) -> JsonObject:
    """Return a run's metadata: assistant, thread, request, then the ids, later ones winning."""
    return {
        **new.assistant_metadata,
        **thread_metadata,
        **new.metadata,
        "graph_id": new.graph_id,
        "assistant_id": str(new.assistant_id),
    }


def thread_metadata_after(new: NewRun, thread_metadata: JsonObject) -> JsonObject:
    """Return a thread's metadata once the run exists: the ids follow the newest run."""
    ids: JsonObject = {"graph_id": new.graph_id, "assistant_id": str(new.assistant_id)}
    if new.own_thread:
        return {**thread_metadata, **new.metadata, **ids}
    return {**thread_metadata, **ids}


def pending_run(new: NewRun, metadata: JsonObject) -> Run:
    """Return a run as it is once it has been stored."""
    return Run(
        run_id=new.run_id,
        thread_id=new.thread_id,
        assistant_id=new.assistant_id,
        graph_id=new.graph_id,
        status="pending",
        metadata=metadata,
        request=new.request,
        multitask_strategy=new.multitask_strategy,
        temporary=new.spec.temporary,
        resumable=new.spec.resumable,
        attempt=0,
        created_at=new.created_at,
        updated_at=new.now,
        webhook=new.webhook,
        user=new.user,
    )


def replayed(
    new: NewRun, place: tuple[UUID, UUID], found: Run | None, thread_metadata: JsonObject | None
) -> Created:
    """Return the answer to a request that was sent before with the same key.

    The thread must be the caller's at this moment: the key alone proves only that it once was.

    Args:
        new: The run that the request asks for.
        place: The thread and the run that the key stands for.
        found: That run, or None if it has been removed. The answer then repeats the request.
        thread_metadata: The metadata of the thread, or None if the thread is gone.

    Raises:
        ThreadNotFound: the thread is gone, and not only because its run has ended; or it does not
            meet the condition of the request any more.
    """
    thread_id, run_id = place
    if thread_metadata is None:
        if not new.spec.temporary:
            raise ThreadNotFound(thread_id)
    elif not (meets(thread_metadata, new.access) or _never_met(new)):
        raise ThreadNotFound(thread_id)
    asked = dataclasses.replace(new, thread_id=thread_id, run_id=run_id)
    return Created(found or pending_run(asked, run_metadata(asked, {})), replayed=True)


def reading(new: NewRun) -> Condition:
    """Return the condition under which the caller may read the thread of a run later."""
    return EVERYTHING if _never_met(new) else new.access


def _never_met(new: NewRun) -> bool:
    """Return whether a run's own thread did not meet the condition when it was made.

    Handlers may return a filter without writing it on the new thread. Such a thread was never
    found by the filter, so it cannot have been lost either.
    """
    born = thread_metadata_after(new, new.thread_metadata)
    return new.own_thread and not meets(born, new.access)


LOST_NUMBERS = 1_000_000
"""Numbers that an execution may have given to events nobody counted, because its worker died."""

ENDED_NUMBERS = 2
"""Numbers for the events of a run that ends without having begun."""

_PAUSES = (4.0, 600.0)


def pause_after(claim: Claim) -> float:
    """Return how long a run is left alone that cannot be encrypted or decrypted: longer each time.

    How often it has been put back is what it was claimed beyond its attempts.
    """
    shortest, longest = _PAUSES
    before = min(max(claim.number - claim.run.attempt, 0), 10)
    return min(shortest * 2.0**before, longest)


ATTEMPTS_EXHAUSTED = dump(
    {
        "error": "RunAttemptsExhausted",
        "message": "The run was given up: its worker died at every attempt to execute it.",
    }
)
"""The error of a run that is given up."""
