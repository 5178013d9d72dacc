"""What a thread's event stream means: runs, interrupts, who gets which event. No I/O.

A connection replays the thread's stored events before it goes on live, and several connections may
overlap, so every taker remembers what it has had, and events of other runs are told apart.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any, Final, Literal, NamedTuple, Protocol, TypeAlias

from loomline.stream.errors import stream_error_frame
from loomline.stream.places import BEFORE_FIRST, Place, Seen
from loomline.stream.subscription import (
    compute_union_filter,
    filter_covers,
    infer_channel,
    matches_subscription,
)
from loomline.stream.types import InterruptPayload, SubscribeParams

RunState: TypeAlias = Literal[
    "starting",  # the command has been sent
    "expected",  # the server has taken it
    "running",
    "paused",  # waits for an answer
    "stopped",  # interrupted, and nothing is asked
    "completed",
    "failed",
]

RECENT_MOST: Final = 1_024
RECENT_BYTES_MOST: Final = 4 * 1024 * 1024
_MARKS_MOST: Final = 1_000

_BASE: Final[SubscribeParams] = {"channels": ["lifecycle", "input"]}
_RUN_OF_EVENT: Final = re.compile(r"(?:synth:)?([0-9a-fA-F-]{36}):")
_SPECIAL: Final = frozenset({"lifecycle", "input"})
_ENDS: Final = frozenset({"completed", "failed"})
_GOING: Final = frozenset({"starting", "expected", "running"})


class Sink(Protocol):
    """Takes the events of a subscription."""

    def feed(self, event: Mapping[str, Any]) -> None:
        """Take an event."""
        ...

    def end(self, error: BaseException | None, run: Run | None) -> None:
        """Take notice that nothing more comes."""
        ...


@dataclass(slots=True, eq=False)
class Run:
    """The run that is being followed.

    Attributes:
        run_id: Its id; None: not known, so any run that goes on is meant.
        after: Events up to this number are not of it.
        own: Whether this client has started it.
        state: How far it is.
        error: Why it has failed, or was refused.
        resumes: Whether it goes on with one that was interrupted.
        others: Runs that are not meant, while the id is not known.
        ended_at: The number of the event that ended it.
        refused: Whether the server has not taken it.
    """

    run_id: str | None = None
    after: int = BEFORE_FIRST
    own: bool = False
    state: RunState = "expected"
    error: BaseException | None = None
    resumes: bool = False
    others: frozenset[str] = frozenset()
    ended_at: int | None = None
    refused: bool = False

    @property
    def over(self) -> bool:
        """Whether it has ended, or will not go on by itself without having asked."""
        return self.state in {"completed", "failed", "stopped"}


@dataclass(frozen=True, slots=True)
class _Progress:
    """How far a run has come, as far as its events tell."""

    state: RunState
    error: BaseException | None = None
    ended_at: int | None = None


class _Kept(NamedTuple):
    event: Mapping[str, Any]
    seq: int
    run_id: str | None
    size: int


@dataclass(slots=True, eq=False)
class Subscription:
    """Someone who wants some of the events of one run."""

    number: int
    params: SubscribeParams
    sink: Sink
    run: Run | None
    start: int
    seen: Seen
    position: int = 0
    place: int | None = None  # the first connection that brings all that is wanted
    ended: bool = False
    endless: bool = False
    channels: frozenset[str] = frozenset()
    simple: bool = True

    def wants(self, event: Mapping[str, Any], channel: str | None) -> bool:
        """Return whether it takes an event."""
        if self.simple:
            return channel in self.channels
        return matches_subscription(event, self.params)  # type: ignore[arg-type]


class ThreadCore:
    """Decides what each event of a thread means for those who follow it.

    Attributes:
        run: The run being followed, if any.
        interrupts: The questions that wait for an answer. The list changes in place while a run
            goes on; the end of the run puts an empty list in its place.
        interrupted: Whether a run waits for an answer.
        last_seq: The highest number seen.
    """

    def __init__(self) -> None:
        self.run: Run | None = None
        self.interrupts: list[InterruptPayload] = []
        self.interrupted: bool = False
        self.last_seq: int = BEFORE_FIRST
        self._asked_by: str | None = None
        self._subscriptions: dict[int, Subscription] = {}
        self._numbers: Iterator[int] = count(1)
        self._seen = Seen()
        self._marks: deque[tuple[int, str]] = deque(maxlen=_MARKS_MOST)
        self._progress: dict[str, _Progress] = {}
        self._last: _Progress | None = None
        self._over_at = BEFORE_FIRST
        self._recent: deque[_Kept] = deque()
        self._recent_bytes = 0
        self._recent_after = BEFORE_FIRST
        self._filter: dict[str, Any] = dict(_BASE)

    # ------------------------------------------------------------------------------------ runs

    def begin(self, *, resumes: bool = False) -> Run:
        """Note that a command that starts a run is on its way."""
        before = self.run
        settled = before is not None and before.state not in _GOING
        self.run = Run(
            after=self.last_seq if resumes or settled else max(self._over_at, _after(before)),
            own=True,
            state="starting",
            resumes=resumes,
            others=frozenset(self._progress),
        )
        if before is not None and before.state == "paused":
            for each in self._subscriptions.values():  # they wait for the answer
                each.run = self.run if each.run is before else each.run
        return self.run

    def began(self, run: Run, run_id: object, applied: object = None) -> None:
        """Note that the server has taken it, after an event if the server names one."""
        if isinstance(applied, int) and applied > run.after and applied > 0:
            self._begin_after(run, run_id, applied)
        if not isinstance(run_id, str):
            run.state = "expected" if run.state == "starting" else run.state
            return
        guessed, run.run_id = run.run_id, run_id
        if guessed not in {None, run_id} or run.state == "starting":
            self._catch_up(run, self._progress.get(run_id))

    def _begin_after(self, run: Run, run_id: object, applied: int) -> None:
        """Note that a run's events come after a number.

        Where events name their run, that name is the surer sign.
        """
        self.observe(applied)
        if run_id in self._progress:
            return
        run.after = applied
        if run.ended_at is None or run.ended_at <= applied:
            run.state, run.error, run.ended_at = "starting", None, None
        for each in self._subscriptions.values():
            if each.run is run:
                each.start = max(each.start, applied)

    def settle(self, run: Run, status: str) -> None:
        """Note how a run has ended, as the server says when it is asked."""
        if run.state in _ENDS:
            return
        if status == "interrupted":
            run.state = "paused" if self.interrupts else "stopped"
        elif status == "success":
            run.state = "completed"
        else:
            run.state, run.error = "failed", RuntimeError(f"Run errored: {status}")
        for each in tuple(self._subscriptions.values()):
            if each.run is run:
                self._end(each, None)

    def withdraw(self, run: Run, before: Run | None) -> None:
        """Note that a run will not begin, and that everything is as it was."""
        if self.run is run:
            self.run = before
        for each in self._subscriptions.values():
            each.run = before if each.run is run else each.run

    def refused(self, run: Run, error: BaseException) -> None:
        """Note that the server has not taken it."""
        run.state, run.error, run.refused = "failed", error, True

    def follow(self, run_id: str | None) -> Run:
        """Follow a run that somebody else has started; None: whichever there is."""
        self.run = Run(run_id=run_id)
        self._catch_up(self.run, self._progress.get(run_id) if run_id else self._last)
        return self.run

    @staticmethod
    def _catch_up(run: Run, progress: _Progress | None) -> None:
        """Give a run the state that its events had told of before it was known."""
        known = progress or _Progress("expected")
        run.state, run.error, run.ended_at = known.state, known.error, known.ended_at

    def observe(self, seq: object) -> None:
        """Note that the server has applied a command after an event."""
        if isinstance(seq, int) and seq > 0:
            self.last_seq = max(self.last_seq, seq)

    def choose(self, interrupt_id: str | None) -> InterruptPayload:
        """Return the interrupt that an answer is for.

        Raises:
            RuntimeError: no interrupt waits, or `interrupt_id` does not name a waiting interrupt,
                or several wait and `interrupt_id` is None.
        """
        if not self.interrupts:
            raise RuntimeError("There is no outstanding interrupt to answer.")
        known = ", ".join(each["interrupt_id"] for each in self.interrupts)
        if interrupt_id is None:
            if len(self.interrupts) > 1:
                raise RuntimeError(
                    "The answer is ambiguous, as several interrupts wait. "
                    f"Pass an interrupt_id: {known}."
                )
            return self.interrupts[0]
        found = self._asked(interrupt_id)
        if found is None:
            raise RuntimeError(
                f"interrupt_id '{interrupt_id}' does not match an outstanding interrupt. "
                f"Use {known}."
            )
        return found

    def answered(self, interrupt: InterruptPayload) -> None:
        """Take an interrupt off the list, as its answer is on its way."""
        self.interrupts[:] = [each for each in self.interrupts if each is not interrupt]
        self.interrupted = bool(self.interrupts)

    def unanswered(self, interrupt: InterruptPayload) -> None:
        """Put an interrupt back, as its answer was refused."""
        if self._asked(interrupt["interrupt_id"]) is None:
            self.interrupts.append(interrupt)
        self.interrupted = True

    def _asked(self, interrupt_id: object) -> InterruptPayload | None:
        return next((i for i in self.interrupts if i["interrupt_id"] == interrupt_id), None)

    def _forget(self) -> None:
        """Drop the questions. A list that a program has kept stays as it is."""
        self.interrupts = []
        self.interrupted = False

    # --------------------------------------------------------------------------- subscriptions

    def subscribe(
        self,
        params: SubscribeParams,
        sink: Sink,
        run: Run | None,
        position: int = BEFORE_FIRST,
        *,
        endless: bool = False,
    ) -> Subscription:
        """Add somebody who wants events of a run, or of all without an end, from a position on.

        Events come once a connection was planned that brings them all.
        """
        start = max(position, _after(run))
        made = Subscription(
            next(self._numbers),
            params,
            sink,
            run,
            start,
            Seen(),
            position=start,
            endless=endless,
            channels=frozenset(params["channels"]),
            simple=not params.get("namespaces") and "custom" not in params["channels"],
        )
        self._subscriptions[made.number] = made
        return made

    def unsubscribe(self, subscription: Subscription) -> None:
        """Remove somebody."""
        self._subscriptions.pop(subscription.number, None)

    def end_all(self, error: BaseException | None) -> None:
        """Tell everybody that nothing more comes."""
        for each in tuple(self._subscriptions.values()):
            self._end(each, error)

    # ----------------------------------------------------------------------------- connections

    def begin_place(self) -> Place:
        """Return the first connection, which brings what is wanted of the run."""
        wanted = self._wanted()
        params = compute_union_filter([_BASE, *wanted]) if wanted else {**_BASE}
        return self.open(params, _after(self.run))

    def plan(self, current: Place | None, subscription: Subscription) -> Place | None:
        """Return the connection to open for a new subscription; None: the current one will do.

        Until that is there, a narrower one would tell of a run's end before all that was wanted.
        """
        wanted = compute_union_filter([_BASE, *self._wanted()])
        if current is None:
            place = self.open(wanted, subscription.start)
        elif filter_covers(current.params, wanted) and self._recent_after <= subscription.start:
            subscription.place = current.number
            for kept in tuple(self._recent):
                if not subscription.ended:
                    self._offer(subscription, kept, infer_channel(kept.event))  # type: ignore[arg-type]
            return None
        else:
            params = compute_union_filter([current.params, wanted])
            place = self.open(params, min(subscription.start, current.seq))
        subscription.place = place.number
        return place

    def open(self, params: dict[str, Any], since: int) -> Place:
        """Return a connection that goes on after an event."""
        marks = [run_id for seq, run_id in self._marks if seq <= since]
        self._recent.clear()
        self._recent_bytes = 0
        self._recent_after = since
        self._filter = params
        run_id = marks[-1] if marks else None
        return Place(next(self._numbers), params, _since(since), since, run_id, since)

    def keep(self, place: Place) -> None:
        """Note that a connection is the current one, after another one could not be opened."""
        if self._filter is not place.params:
            self._filter = place.params
            self._recent.clear()
            self._recent_bytes = 0
            self._recent_after = place.seq

    def again(self, place: Place) -> None:
        """Note that a connection is opened again, after what it has had."""
        place.since = _since(place.furthest)
        place.progressed = False

    def feed(self, place: Place, events: Iterable[Any], size: int) -> None:
        """Take some events of a connection, of so many bytes in all."""
        batch = events if isinstance(events, list) else list(events)
        each = size // max(len(batch), 1)
        for event in batch:
            if isinstance(event, dict):
                self._take(place, event, each)

    def _take(self, place: Place, event: dict[str, Any], size: int) -> None:
        params = event.get("params")
        if not isinstance(params, dict):
            place.error = stream_error_frame(event) or place.error
            return
        seq = event.get("seq")
        if isinstance(seq, int):
            place.seq = seq
            # A server that ignores `since` replays the same events on every attempt, and would be
            # asked without end if these counted as progress.
            if seq > place.furthest:
                place.furthest = seq
                place.progressed = True
                self.last_seq = max(self.last_seq, seq)
        else:
            place.take_unnumbered(event)
        channel = infer_channel(event)  # type: ignore[arg-type]
        if channel in _SPECIAL:
            if channel == "lifecycle" and not params.get("namespace"):
                self._mark(place, event)
            if not self._seen.again(event.get("event_id")):
                self._understand(place, event)
        kept = _Kept(event, place.seq, place.run_id, size)
        self._keep(place, kept)
        for subscription in tuple(self._subscriptions.values()):
            if subscription.place is not None and subscription.place <= place.number:
                self._offer(subscription, kept, channel)

    def _mark(self, place: Place, event: Mapping[str, Any]) -> None:
        """Note which run the connection has come to, where the server tells."""
        run_id = _run_of(event)
        if run_id is None:
            return
        place.run_id = run_id
        if not self._marks or self._marks[-1][0] < place.seq:
            self._marks.append((place.seq, run_id))

    def _offer(self, subscription: Subscription, kept: _Kept, channel: str | None) -> None:
        """Deliver an event to a subscription that wants it; end one that ends with it."""
        event, seq, run_id, _ = kept
        if seq <= subscription.start and "seq" in event:
            return
        run = subscription.run
        if run_id is not None and _foreign(run, run_id):
            return
        wanted = subscription.wants(event, channel)
        if not wanted and channel not in _SPECIAL:
            return
        if subscription.seen.again(event.get("event_id")):
            return
        subscription.position = max(subscription.position, seq)
        if wanted:
            subscription.sink.feed(event)
        if channel in _SPECIAL and not subscription.endless and _ends(event, run):
            self._end(subscription, None)

    def _end(self, subscription: Subscription, error: BaseException | None) -> None:
        self._subscriptions.pop(subscription.number, None)
        subscription.ended = True
        subscription.sink.end(error, subscription.run)

    # --------------------------------------------------------------------- what an event means

    def _understand(self, place: Place, event: Mapping[str, Any]) -> None:
        data = event["params"].get("data")
        if not isinstance(data, dict):
            return
        if event.get("method") == "input.requested":
            self._ask(place, data, event["params"].get("namespace") or [])
        elif event.get("method") == "input.answered":
            self._answered(data)
        elif not event["params"].get("namespace"):
            self._root(place, data)

    def _ask(self, place: Place, data: dict[str, Any], namespace: list[str]) -> None:
        interrupt_id = data.get("interrupt_id")
        if not isinstance(interrupt_id, str):
            return
        value = data["payload"] if "payload" in data else data.get("value")
        asked: InterruptPayload = {
            "interrupt_id": interrupt_id,
            "value": value,
            "namespace": list(namespace),
        }
        before = self._asked(interrupt_id)
        if before is None:
            self.interrupts.append(asked)
        else:
            before.update(asked)
        self.interrupted = True
        self._asked_by = place.run_id
        self._advance(place, _Progress("paused", ended_at=place.seq))

    def _answered(self, data: dict[str, Any]) -> None:
        """Drop the questions that a run, of any client, has begun to answer."""
        ids = data.get("interrupt_ids")
        for interrupt_id in ids if isinstance(ids, list) else []:
            known = self._asked(interrupt_id)
            if known is not None:
                self.answered(known)

    def _root(self, place: Place, data: dict[str, Any]) -> None:
        kind = data.get("event")
        if kind in _ENDS:
            self._forget()
            self._over_at = max(self._over_at, place.seq)
            error = RuntimeError(f"Run errored: {data.get('error')}") if kind == "failed" else None
            state: RunState = "completed" if kind == "completed" else "failed"
            self._advance(place, _Progress(state, error, place.seq))
        elif kind in {"running", "started"}:
            if self._asked_by not in {None, place.run_id}:
                self._forget_questions()
            self._advance(place, _Progress("running"))
        elif kind == "interrupted":
            asked = bool(self.interrupts)
            self._advance(place, _Progress("paused" if asked else "stopped", ended_at=place.seq))

    def _advance(self, place: Place, progress: _Progress) -> None:
        """Take note of how far the run has come that the connection is at."""
        self._last = progress
        if place.run_id is not None:
            self._progress[place.run_id] = progress
            if len(self._progress) > _MARKS_MOST:
                del self._progress[next(iter(self._progress))]
        run = self.run
        if run is None or self._other(place) or place.seq <= run.after:
            return
        if progress.state in {"paused", "stopped"} and not _began(run):
            return  # of the run that this one goes on with
        if run.state not in _ENDS:
            run.run_id = run.run_id or place.run_id
            run.state, run.error, run.ended_at = progress.state, progress.error, progress.ended_at

    def _forget_questions(self) -> None:
        """Drop the questions of an earlier run, as another one has begun that we did not ask for.

        An answer of our own leaves other questions open, which the server does not always repeat.
        """
        if self.run is None or not self.run.own:
            self._forget()

    def _other(self, place: Place) -> bool:
        return place.run_id is not None and _foreign(self.run, place.run_id)

    # ------------------------------------------------------------------------------ what is kept

    def _keep(self, place: Place, kept: _Kept) -> None:
        """Keep the last events for those who come late."""
        if place.params is not self._filter:
            return
        self._recent.append(kept)
        self._recent_bytes += kept.size
        while len(self._recent) > RECENT_MOST or self._recent_bytes > RECENT_BYTES_MOST:
            dropped = self._recent.popleft()
            self._recent_after = dropped.seq
            self._recent_bytes -= dropped.size

    def _wanted(self) -> list[SubscribeParams]:
        return [each.params for each in self._subscriptions.values()]


def _after(run: Run | None) -> int:
    return BEFORE_FIRST if run is None else run.after


def _since(seq: int) -> int | None:
    """Return the value of `since` with which a connection continues after an event."""
    return None if seq == BEFORE_FIRST else seq


def _ends(event: Mapping[str, Any], run: Run | None) -> bool:
    """Return whether those who follow a run have reached their end with an event."""
    if event.get("method") == "input.requested":
        return True
    params = event["params"]
    if event.get("method") != "lifecycle" or params.get("namespace"):
        return False
    kind = (params.get("data") or {}).get("event")
    return kind in _ENDS or (kind == "interrupted" and (run is None or _began(run)))


def _began(run: Run) -> bool:
    """Return whether an interruption can be this run's, not that of the one it goes on with."""
    return not run.resumes or run.state not in {"starting", "expected"}


def _foreign(run: Run | None, run_id: str) -> bool:
    """Return whether a run that the server names is not the one that is followed."""
    if run is None:
        return False
    if run.run_id is not None:
        return run.run_id != run_id
    return run_id in run.others


def _run_of(event: Mapping[str, Any]) -> str | None:
    """Return the run that a lifecycle event belongs to, where the server tells."""
    params = event["params"]
    data = params.get("data")
    for holder in (params, data if isinstance(data, dict) else {}):
        if isinstance(holder.get("run_id"), str):
            return str(holder["run_id"])
    event_id = event.get("event_id")
    found = _RUN_OF_EVENT.match(event_id) if isinstance(event_id, str) else None
    return found[1] if found else None
