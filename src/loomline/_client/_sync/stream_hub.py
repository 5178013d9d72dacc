# Generated from stream_hub.py by tools/unasync.py. Do not edit.
"""The event stream of a thread that all its readers share."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Generic, NamedTuple, TypeVar

from loomline._client._core.backoff import ATTEMPTS, backoff
from loomline._client._sync.stream_transports import SyncProtocolSseTransport
from loomline._client.concurrency import SyncGuard, SyncLock, SyncSignal, SyncTask
from loomline._client.event_streams import SyncLink
from loomline.errors import NotFoundError
from loomline.stream.errors import is_non_retryable_stream_error
from loomline.stream.places import Place
from loomline.stream.thread import Run, Subscription, ThreadCore
from loomline.stream.types import SubscribeParams

T = TypeVar("T")

_logger = logging.getLogger("loomline.client")

_STALLED_SECONDS: Final = 1.0
"""How long a reader that takes nothing holds up the stream; it might wait for another reader."""

_GOING: Final = frozenset({"starting", "expected", "running"})
_BUGS: Final = (RuntimeError, TypeError, AttributeError)
"""Errors that would come again: a refused subscription, nonsense from the server."""


class Item(NamedTuple):
    """What a reader gets, and the number of the event that it is from."""

    value: Any
    seq: int


class Inbox(Generic[T]):
    """What waits for one reader.

    Args:
        hub: The stream that fills it.
        decode: Makes items of an event.
        finish: Is told how it ended.
    """

    def __init__(
        self,
        hub: EventHub,
        decode: Callable[[Mapping[str, Any]], Iterable[T]],
        finish: Callable[[BaseException | None, Run | None], None] | None = None,
    ) -> None:
        self.over: bool = False
        self.error: BaseException | None = None
        self.limit: int = hub.queue_size
        self._hub = hub
        self._decode = decode
        self._finish = finish
        self._items: deque[Item] = deque()
        self._signal = SyncSignal(hub.guard)

    def feed(self, event: Mapping[str, Any]) -> None:
        """Take an event."""
        before = len(self._items)
        seq = event.get("seq")
        for made in self._decode(event):
            self._items.append(Item(made, seq if isinstance(seq, int) else 0))
        if len(self._items) > before:
            self._signal.notify()

    def end(self, error: BaseException | None, run: Run | None) -> None:
        """Take notice that nothing more comes."""
        if not self.over:
            self.over, self.error = True, error
            if self._finish is not None:
                self._finish(error, run)
            self._signal.notify()

    def more(self, timeout: float | None) -> bool:
        """Wait for something, at most so many seconds; return whether it is there.

        Raises:
            Exception: the stream has failed.
        """
        if not self._items:
            self._signal.until(lambda: self._items or self.over, timeout)
        if not self._items and self.error is not None:
            raise self.error
        return bool(self._items)

    def pop(self) -> Item | None:
        """Return what comes next, if it is there."""
        if not self._items:
            return None
        item = self._items.popleft()
        if len(self._items) == self.limit // 2:
            self._hub.room.notify()
        return item

    def waiting(self) -> int:
        """Return how many items wait."""
        return len(self._items)

    def full(self) -> bool:
        """Return whether more waits than should."""
        return len(self._items) > self.limit and not self.over

    def stretch(self) -> None:
        """Let more wait, as the reader does not read."""
        self.limit = 2 * len(self._items)
        _logger.warning(
            "A reader of a thread is %d events behind; they are kept in memory", len(self._items)
        )


class EventHub:
    """Keeps the event stream of a thread open, and its state up to date.

    Args:
        transport: Opens connections.
        queue_size: How many items may wait for a reader before the stream is held up.
        endless: Whether it follows all runs, without an end.
    """

    def __init__(
        self, transport: SyncProtocolSseTransport, queue_size: int, *, endless: bool = False
    ) -> None:
        self.endless: bool = endless
        self.guard: SyncGuard = SyncGuard()
        self.changed: SyncSignal = SyncSignal(self.guard)
        self.room: SyncSignal = SyncSignal(self.guard)
        self.core: ThreadCore = ThreadCore()
        self.transport: SyncProtocolSseTransport = transport
        self.queue_size: int = queue_size
        self.closed: bool = False
        self._inboxes: dict[int, Inbox[Any]] = {}
        self._reader: Reader | None = None
        self._retired: list[Reader] = []
        self._switching = SyncLock()

    def subscribe(
        self, params: SubscribeParams, inbox: Inbox[Any], run: Run | None, position: int
    ) -> Subscription:
        """Deliver events of a run to an inbox, from a position on.

        Raises:
            APIStatusError: the server refused the stream.
            APIConnectionError: the server could not be reached.
        """
        with self.guard:
            subscription = self.core.subscribe(params, inbox, run, position, endless=self.endless)
            self._inboxes[subscription.number] = inbox
        try:
            self._cover(subscription)
        except BaseException:
            self.drop(subscription)
            raise
        return subscription

    def drop(self, subscription: Subscription) -> None:
        """Deliver nothing more."""
        with self.guard:
            self.core.unsubscribe(subscription)
            inbox = self._inboxes.pop(subscription.number, None)
            if inbox is not None:
                inbox.end(None, None)
            self.room.notify()

    def watch(self) -> None:
        """Have a stream open, without waiting for it."""
        with self._switching:
            if self._reader is None or self._reader.over:
                with self.guard:
                    self._start(self.core.begin_place())

    def close(self) -> None:
        """Close the stream, and end everybody."""
        with self.guard:
            if self.closed:
                return
            self.closed = True
            self.core.end_all(None)
            for inbox in self._inboxes.values():
                inbox.end(None, None)
            readers = [*self._retired, *([self._reader] if self._reader else [])]
        for reader in readers:
            reader.stop()
        self.notify()
        for reader in readers:
            reader.join()

    def notify(self) -> None:
        """Let everybody who waits for the state look again."""
        with self.guard:
            self.changed.notify()
            self.room.notify()

    def _cover(self, subscription: Subscription) -> None:
        """See to it that the stream brings what a subscription wants."""
        with self._switching:
            if subscription.ended or self.closed:
                return
            with self.guard:
                before = self._reader if self._reader and not self._reader.over else None
                place = self.core.plan(before.place if before else None, subscription)
                if place is None:
                    return
                reader = self._start(place)
            try:
                self.changed.until(lambda: reader.opened or reader.over or self.closed)
            except BaseException:
                self._retire(reader, before)
                raise
            if not reader.opened and reader.error is not None:
                self._retire(reader, before)
                raise reader.error
            if before is not None:
                self._retire(before, reader)

    def _start(self, place: Place) -> Reader:
        self._reader = Reader(self, place)
        self._reader.start()
        return self._reader

    def _retire(self, old: Reader, new: Reader | None) -> None:
        """Go on with another connection than this one."""
        with self.guard:
            self._reader = new
            if new is not None:
                self.core.keep(new.place)
            self._retired = [each for each in self._retired if not each.over]
            self._retired.append(old)
        old.stop()

    def serves(self, reader: Reader) -> bool:
        """Return whether a reader's end is the end of the stream."""
        return reader is self._reader

    def needed(self) -> bool:
        """Return whether somebody waits for events."""
        run = self.core.run
        return bool(self._inboxes) or (run is not None and run.state in _GOING)

    def lost(self, reader: Reader, error: BaseException | None) -> None:
        """Take notice that the stream could not be kept open."""
        with self.guard:
            if not self.serves(reader) or self.closed:
                return
            if self.needed() and error is not None:
                _logger.warning("The event stream of a thread was lost: %s", type(error).__name__)
            run = self.core.run
            if run is not None and run.state in {"expected", "running"}:
                run.state, run.error = "failed", error
            self.core.end_all(error)

    def make_room(self) -> None:
        """Wait for readers that are far behind, unless they do not read at all."""
        for inbox in tuple(self._inboxes.values()):
            while inbox.full() and not self.closed:
                waiting = inbox.waiting()
                if (
                    not self.room.until(
                        lambda box=inbox: not box.full() or self.closed,  # type: ignore[misc]
                        _STALLED_SECONDS,
                    )
                    and inbox.waiting() >= waiting
                ):
                    inbox.stretch()


class Reader:
    """Reads one connection, and opens it again when it breaks."""

    def __init__(self, hub: EventHub, place: Place) -> None:
        self.place: Place = place
        self.opened: bool = False
        self.over: bool = False
        self.error: BaseException | None = None
        self._hub = hub
        self._link: SyncLink | None = None
        self._stopped = False
        self._task: SyncTask | None = None
        self._had_run = False

    def start(self) -> None:
        """Begin to read in the background."""
        self._task = SyncTask(self._read, "loomline-thread-stream")

    def stop(self) -> None:
        """Ask it to stop."""
        self._stopped = True
        self._hub.notify()
        if self._link is not None:
            self._link.interrupt()
        if self._task is not None:
            self._task.cancel()

    def join(self) -> None:
        """Wait until it has stopped."""
        if self._task is not None:
            self._task.join()

    def _read(self) -> None:
        attempts = 0
        try:
            while not self._stopped:
                error = self._follow()
                attempts = 1 if self.place.progressed else attempts + 1
                if self._is_stopped() or not self._may_go_on(error, attempts):
                    return
                with self._hub.guard:
                    self._hub.core.again(self.place)
                self._hub.changed.until(self._is_stopped, backoff(attempts - 1))
        finally:
            self.over = True
            self._hub.notify()

    def _may_go_on(self, error: BaseException | None, attempts: int) -> bool:
        """Return whether to connect again; take note where not."""
        if error is None and not self._hub.needed():
            return False
        failure = (
            self.place.error
            or error
            or RuntimeError("The lifecycle stream ended before terminal event of the run.")
        )
        final = is_non_retryable_stream_error(error) or isinstance(error, _BUGS)
        if attempts <= ATTEMPTS and (not final or self._too_early(error)):
            return True
        quiet = self._hub.endless and error is None and self.place.error is None
        self.error = None if quiet else failure
        self._hub.lost(self, self.error)
        return False

    def _too_early(self, error: BaseException | None) -> bool:
        """Return whether a thread was not found because its first run had not begun yet."""
        run = self._hub.core.run
        begun = run is not None and run.own
        return isinstance(error, NotFoundError) and begun and not self._had_run

    def _follow(self) -> BaseException | None:
        """Read one connection to its end; return why it ended, None if cleanly."""
        run = self._hub.core.run
        self._had_run = run is not None and run.state != "starting"
        self.place.error = None
        try:
            link = self._link = self._hub.transport.open(self._params())
        except Exception as error:  # noqa: BLE001 - judged by the caller
            return error
        try:
            if self._is_stopped():
                return None
            self._note_opened()
            for events, size in link.batches():
                if self._is_stopped():
                    return None
                with self._hub.guard:
                    self._hub.core.feed(self.place, events, size)
                    self._hub.changed.notify()
                self._hub.make_room()
        except Exception as error:  # noqa: BLE001 - judged by the caller
            return error
        finally:
            link.close()
        return None

    def _is_stopped(self) -> bool:
        return self._stopped

    def _note_opened(self) -> None:
        with self._hub.guard:
            self.opened = True
            self._hub.changed.notify()

    def _params(self) -> dict[str, Any]:
        since = self.place.since
        return self.place.params if since is None else {**self.place.params, "since": since}
