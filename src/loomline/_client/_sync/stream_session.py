# Generated from stream_session.py by tools/unasync.py. Do not edit.
"""One thread that is streamed: its runs, its readers, its end."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final, cast

from loomline._client._core.options import TimeoutTypes
from loomline._client._core.requests import path
from loomline._client._sync.http import SyncHttpClient
from loomline._client._sync.stream_hub import EventHub, Inbox
from loomline._client._sync.stream_transports import SyncProtocolSseTransport
from loomline._client.concurrency import (
    SYNC_GATE_SECONDS,
    SyncLock,
    deadline,
    left,
    soonest,
    sync_closed,
)
from loomline.errors import APIError
from loomline.stream.errors import protocol_error
from loomline.stream.places import BEFORE_FIRST
from loomline.stream.thread import Run
from loomline.stream.types import SubscribeParams

_THREAD: Final = "/threads/{thread_id}"
_RUNS_ASKED: Final = 10
_GOING: Final = frozenset({"pending", "running"})

SILENCE_SECONDS: Final = 30.0
"""How long nothing may come before the server is asked whether the run still goes on."""

REPLAY_SECONDS: Final = 5.0
"""How long a reader that comes after a run's end waits for what the server has kept of it."""

_CLOSED: Final = (
    "This {title} is closed: its transport is closed too. Call `client.threads.stream` again."
)
_NOT_ENTERED: Final = "This {title} was not entered. Use `with client.threads.stream(...)`."
_NO_RUN: Final = "There is no output, as no run has been started on this thread. Call `run.start`."

_CUT: Final = (
    "The run was interrupted before it had finished: it was cancelled, or it stops before or "
    "after a node."
)


@dataclass(slots=True)
class Cursor:
    """How far a projection has been read.

    Attributes:
        seq: The number of the last event.
        run: The run that was read last.
        known: The subgraphs of this run that were found, and whether each was found by its start.
    """

    seq: int = BEFORE_FIRST
    run: Run | None = None
    known: dict[str, bool] = field(default_factory=dict)

    def follow(self, run: Run) -> None:
        """Begin to read a run, or go on."""
        if self.run is not run:
            self.run = run
            self.known.clear()


class Session:
    """What is shared by all parts of a thread stream.

    Args:
        http: Sends requests.
        transport: Sends commands, and opens streams.
        thread_id: The thread.
        headers: Headers for the requests that are not the transport's.
        timeout: Seconds for these.
        named: Whether the caller has named the thread, so that it may have a history.
        gate_seconds: How long readers wait for a run to be started.
        queue_size: How many items may wait for a reader before the stream is held up.
        title: What to call it in errors.
    """

    def __init__(
        self,
        http: SyncHttpClient,
        transport: SyncProtocolSseTransport,
        thread_id: str,
        *,
        headers: Mapping[str, str] | None,
        timeout: TimeoutTypes,
        named: bool,
        gate_seconds: float | None,
        queue_size: int,
        title: str,
    ) -> None:
        self.http: SyncHttpClient = http
        self.transport: SyncProtocolSseTransport = transport
        self.headers: dict[str, str] = dict(headers or {})
        self.timeout: TimeoutTypes = timeout
        self.thread_id: str = thread_id
        self.named: bool = named
        self.title: str = title
        self.entered: bool = False
        self.closed: bool = False
        self.hub: EventHub = EventHub(transport, queue_size)
        self._gate_seconds = gate_seconds if gate_seconds is not None else SYNC_GATE_SECONDS
        self._numbers = count(1)
        self._others: set[EventHub] = set()
        self._fetching = SyncLock()
        self._final: tuple[Run, dict[str, Any]] | None = None

    def check(self) -> None:
        """Refuse to work outside the context.

        Raises:
            RuntimeError: it has not been entered, or it has been left.
        """
        if self.closed:
            raise RuntimeError(_CLOSED.format(title=self.title))
        self.check_entered()

    def check_entered(self) -> None:
        """Refuse to work before the context is entered.

        Raises:
            RuntimeError: the context was not entered.
        """
        if not (self.entered or self.closed):
            raise RuntimeError(_NOT_ENTERED.format(title=self.title))

    def command(self, method: str, params: Mapping[str, Any]) -> tuple[dict[str, Any], object]:
        """Send a command; return its result, and the event that it was applied after.

        Raises:
            RuntimeError: the server refused the command.
            APIStatusError: the server refused the request.
            APIConnectionError: the server could not be reached.
        """
        number = next(self._numbers)
        command = {"id": number, "method": method, "params": params}
        answer = self.transport.send_command(command) or {}
        if answer.get("type") == "error":
            raise protocol_error(answer)
        meta, result = answer.get("meta"), answer.get("result")
        applied = meta.get("applied_through_seq") if isinstance(meta, dict) else None
        self.hub.core.observe(applied)
        return (result if isinstance(result, dict) else {}), applied

    def state(self) -> dict[str, Any]:
        """Get the state of the thread.

        Raises:
            APIStatusError: the server refused.
            APIConnectionError: the server could not be reached.
        """
        found = self._get(path(f"{_THREAD}/state", thread_id=self.thread_id))
        return found if isinstance(found, dict) else {}

    def target(self, *, quiet: bool = False) -> Run | None:
        """Return the run to follow, once it is known; None: nothing runs.

        Args:
            quiet: Whether to return None rather than to raise after the context was left.

        Raises:
            RuntimeError: the thread stream is not open, or the run was refused.
            TimeoutError: no run was started in time.
        """
        if quiet and self.closed:
            return None
        self.check()
        core = self.hub.core
        if self.named and (core.run is None or (core.run.over and not core.run.own)):
            found = self._attach()
            if found is None:
                return None
        if not self.hub.changed.until(self._settled, self._gate_seconds):
            raise TimeoutError("No run was started in time: call `run.start` first.")
        if quiet and self.closed:
            return None
        self.check()
        run = core.run
        if run is not None and run.refused and run.error is not None:
            raise run.error
        return run

    def read(
        self,
        params: SubscribeParams,
        decode: Callable[[Mapping[str, Any]], Iterable[Any]],
        cursor: Cursor,
        finish: Callable[[BaseException | None, Run | None], None] | None = None,
        *,
        first: bool = False,
        quiet: bool = False,
    ) -> Generator[Any]:
        """Yield what is made of the events of a run, to its end or its next question.

        Args:
            params: Which events.
            decode: Makes items of them.
            cursor: How far they have been read.
            finish: Is told of the end.
            first: Whether to begin with the state as it is now.
            quiet: Whether to yield nothing rather than to raise after the context was left.

        Raises:
            RuntimeError: the thread stream is not open, or the run was refused.
            TimeoutError: no run was started in time.
            APIError: the stream has failed.
        """
        run = self.target(quiet=quiet)
        if run is None or (run.ended_at is not None and cursor.seq >= run.ended_at and run.over):
            if first:
                yield (self.state()).get("values")
            return
        cursor.follow(run)
        inbox: Inbox[Any] = Inbox(self.hub, decode, finish)
        subscription = self.hub.subscribe(params, inbox, run, cursor.seq)
        try:
            if first:
                yield (self.state()).get("values")
            while self._more(inbox, subscription.run):
                while (item := inbox.pop()) is not None:
                    cursor.seq = max(cursor.seq, item.seq)
                    yield item.value
            cursor.seq = max(cursor.seq, subscription.position)
        finally:
            self.hub.drop(subscription)

    def everything(self, params: SubscribeParams) -> Generator[Any]:
        """Yield all events of the thread, on a stream of their own, without an end.

        Raises:
            RuntimeError: the thread stream is not open, or the run was refused.
            APIError: the stream has failed.
        """
        if self.closed:
            return
        if not self.named:
            self.target()
        hub = EventHub(self.transport, self.hub.queue_size, endless=True)
        self._others.add(hub)
        inbox: Inbox[Any] = Inbox(hub, lambda event: (event,))
        try:
            hub.subscribe(params, inbox, None, BEFORE_FIRST)
            while inbox.more(None):
                while (item := inbox.pop()) is not None:
                    yield item.value
                    if self._is_closed():
                        return
        finally:
            self._others.discard(hub)
            hub.close()

    def output(self, timeout: float | None) -> Any:
        """Wait for the end of the run; return the values that it has left.

        Raises:
            RuntimeError: no run was started, or it failed, or it was cut short, or the context was
                left before its end.
            TimeoutError: it took longer.
        """
        self.check_entered()
        until, core = deadline(timeout), self.hub.core
        if core.run is None or (core.run.over and not core.run.own):
            if not self.named:
                raise RuntimeError(_NO_RUN)
            state = self.state()
            if not (state.get("next") or state.get("tasks")):
                return state.get("values")
            self.check()
            if self._attach() is None and not _asked(state):
                return state.get("values")
        while True:
            if not self._is_over():
                self.check()
            run = self._ended(until)
            if run.error is not None:
                raise run.error
            state = self._last(run)
            if run.state != "stopped":
                return state.get("values")
            if not _asked(state):
                raise RuntimeError(_CUT)
            with self.hub.guard:
                run.state = "paused"

    def close(self) -> None:
        """End everything."""
        if not self.closed:
            self.closed = True
            for hub in (self.hub, *tuple(self._others)):
                hub.close()
            self.transport.close()

    def _get(self, place: str, params: Mapping[str, Any] | None = None) -> Any:
        return self.http.get(place, params=params, headers=self.headers, timeout=self.timeout)

    def _settled(self) -> bool:
        run = self.hub.core.run
        return self.closed or (run is not None and run.state != "starting")

    def _attach(self) -> Run | None:
        """Follow the run that is active; None where there is none."""
        core = self.hub.core
        before = core.run
        try:
            place = path(f"{_THREAD}/runs", thread_id=self.thread_id)
            found = self._get(place, {"limit": _RUNS_ASKED})
        except APIError:
            found = None  # a thread to come, or a server that does not tell: follow what comes
        with self.hub.guard:
            if core.run is not before:
                return core.run  # a run was started in the meantime
            if not isinstance(found, list):
                return core.follow(None)
            active = [run for run in found if run.get("status") in _GOING]
            running = [run for run in active if run["status"] == "running"]
            return core.follow((running or active)[-1].get("run_id")) if active else None

    def _more(self, inbox: Inbox[Any], run: Run | None) -> bool:
        """Wait for what comes next; return whether it is there, not the end."""
        while True:
            late = run is not None and run.over
            found = inbox.more(REPLAY_SECONDS if late else SILENCE_SECONDS)
            if found or inbox.over or late:
                return found
            self._verify()

    def _ended(self, until: float | None) -> Run:
        """Wait for the end of the run that is followed."""
        while True:
            seconds = soonest(left(until), SILENCE_SECONDS)
            if self.hub.changed.until(lambda: self.closed or self._is_over(), seconds):
                break
            if left(until) == 0:
                raise TimeoutError("The run did not end in time.")
            self._verify()
        run = self.hub.core.run
        if run is None or not run.over:
            raise sync_closed(self.title)
        return run

    def _is_closed(self) -> bool:
        return self.closed

    def _is_over(self) -> bool:
        run = self.hub.core.run
        return run is not None and run.over

    def _verify(self) -> None:
        """Ask the server about a run of which nothing has been heard for long."""
        run = self.hub.core.run
        if run is None or run.run_id is None or run.state not in {"expected", "running"}:
            return
        place = path(f"{_THREAD}/runs/{{run_id}}", thread_id=self.thread_id, run_id=run.run_id)
        try:
            found = self._get(place)
        except APIError:
            return
        status = found.get("status") if isinstance(found, dict) else None
        if isinstance(status, str) and status not in _GOING:
            with self.hub.guard:
                self.hub.core.settle(run, status)
            self.hub.notify()

    def _last(self, run: Run) -> dict[str, Any]:
        """Get the state that a run has left, once for all who ask."""
        with self._fetching:
            if self._final is None or self._final[0] is not run:
                self._final = (run, self.state())
            return self._final[1]


def _asked(state: Mapping[str, Any]) -> bool:
    """Return whether a state waits for an answer."""
    tasks = cast("list[Any]", state.get("tasks") or [])
    waiting = any(isinstance(task, dict) and task.get("interrupts") for task in tasks)
    return waiting or bool(state.get("interrupts"))
