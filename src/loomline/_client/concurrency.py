"""Work in the background, waiting and results to come, in both colours.

Imported when a thread is streamed, not before: asyncio takes long to load.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Generator
from typing import Annotated, Any, Final, Generic, Self, TypeAlias, TypeVar

T = TypeVar("T")
R_co = TypeVar("R_co", covariant=True)

ASYNC_GATE_SECONDS: Final[float | None] = None
SYNC_GATE_SECONDS: Final[float | None] = 30.0
"""How long a reader waits for a run to be started. Without an event loop nobody else might."""

_JOIN_SECONDS: Final = 1.0


class AsyncGuard:
    """Keeps state whole while several parts change it; on one event loop nothing is needed."""

    def __enter__(self) -> None:
        """Enter."""

    def __exit__(self, *_: object) -> None:
        """Leave."""


class SyncGuard:
    """Keeps state whole while several threads change it."""

    def __init__(self) -> None:
        self._lock = threading.RLock()

    def __enter__(self) -> None:
        """Wait until nobody else is inside."""
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        """Let others in."""
        self._lock.release()

    def condition(self) -> threading.Condition:
        """Return a condition to wait for with this guard."""
        return threading.Condition(self._lock)


class AsyncSignal:
    """Wakes those who wait for a change of some state."""

    def __init__(self, guard: AsyncGuard) -> None:  # noqa: ARG002 - as for its twin
        self._waiting: deque[asyncio.Future[None]] = deque()

    def notify(self) -> None:
        """Let everybody look again."""
        while self._waiting:
            future = self._waiting.popleft()
            if not future.done():
                future.set_result(None)

    async def until(self, ready: Callable[[], object], timeout: float | None = None) -> bool:
        """Wait until something holds, at most so many seconds; return whether it does."""
        if ready():
            return True
        try:
            async with asyncio.timeout(timeout):
                while not ready():
                    await self._changed()
        except TimeoutError:
            return bool(ready())
        return True

    async def _changed(self) -> None:
        future = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        try:
            await future
        finally:
            if future in self._waiting:
                self._waiting.remove(future)


class SyncSignal:
    """Wakes those who wait for a change of some state."""

    def __init__(self, guard: SyncGuard) -> None:
        self._condition = guard.condition()

    def notify(self) -> None:
        """Let everybody look again."""
        with self._condition:
            self._condition.notify_all()

    def until(self, ready: Callable[[], object], timeout: float | None = None) -> bool:
        """Wait until something holds, at most so many seconds; return whether it does."""
        with self._condition:
            return bool(self._condition.wait_for(ready, timeout))


class AsyncTask:
    """Work in the background."""

    def __init__(self, work: Callable[[], Awaitable[None]], name: str) -> None:
        self._task: asyncio.Future[None] = asyncio.ensure_future(_run(work))
        if isinstance(self._task, asyncio.Task):
            self._task.set_name(name)

    def cancel(self) -> None:
        """Ask it to stop."""
        self._task.cancel()

    async def join(self) -> None:
        """Wait until it has stopped."""
        await asyncio.wait([self._task])


async def _run(work: Callable[[], Awaitable[None]]) -> None:
    await work()


class SyncTask:
    """Work in the background, on a thread of its own."""

    def __init__(self, work: Callable[[], None], name: str) -> None:
        self._thread = threading.Thread(target=work, name=name, daemon=True)
        self._thread.start()

    def cancel(self) -> None:
        """Do nothing: a thread cannot be told; whoever owns it closes what it reads."""

    def join(self) -> None:
        """Wait until it has stopped, but not long."""
        if self._thread is not threading.current_thread():
            self._thread.join(_JOIN_SECONDS)


class AsyncLater(Generic[R_co]):
    """A result to come: await it, as often as needed."""

    def __init__(self, get: Callable[[float | None], Awaitable[R_co]]) -> None:
        self._get = get
        self._seconds: float | None = None

    def __await__(self) -> Generator[Any, None, R_co]:
        """Wait for it."""
        return self._get(self._seconds).__await__()

    def with_timeout(self, timeout: float) -> AsyncLater[R_co]:
        """Return the same, to wait for at most so many seconds.

        Raises:
            TimeoutError: on waiting, when it takes longer.
        """
        limited: AsyncLater[R_co] = AsyncLater(self._get)
        limited._seconds = timeout
        return limited


SyncLater: TypeAlias = Annotated[T, "now"]


def async_later(get: Callable[[float | None], Awaitable[T]]) -> AsyncLater[T]:
    """Return what a function is going to return."""
    return AsyncLater(get)


def sync_later(get: Callable[[float | None], T]) -> T:
    """Return what a function returns."""
    return get(None)


class AsyncResult(Generic[R_co]):
    """Something that can be awaited for the whole of it."""

    async def get(self) -> R_co:
        """Wait for the whole of it."""
        raise NotImplementedError

    def __await__(self) -> Generator[Any, None, R_co]:
        """Wait for the whole of it."""
        return self.get().__await__()


class SyncResult(Generic[R_co]):
    """Something that has a whole."""

    def get(self) -> R_co:
        """Wait for the whole of it."""
        raise NotImplementedError

    def __str__(self) -> str:
        """Wait for the whole of it, as text."""
        return str(self.get())


class AsyncLock:
    """Lets one caller at a time do something that takes long."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()

    async def __aenter__(self) -> Self:
        """Wait until nobody else is inside."""
        await self._lock.acquire()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Let the next one in."""
        self._lock.release()


class SyncLock:
    """Lets one caller at a time do something that takes long."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        """Wait until nobody else is inside."""
        self._lock.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        """Let the next one in."""
        self._lock.release()


def deadline(seconds: float | None) -> float | None:
    """Return the time at which so many seconds have passed."""
    return None if seconds is None else time.monotonic() + seconds


def left(until: float | None) -> float | None:
    """Return the seconds until a time."""
    return None if until is None else max(0.0, until - time.monotonic())


def soonest(first: float | None, second: float) -> float:
    """Return the shorter of two times; None: no limit."""
    return second if first is None else min(first, second)


def async_closed(title: str) -> BaseException:
    """Return what those get who wait for something that was closed."""
    return asyncio.CancelledError(f"{title} closed")


def sync_closed(title: str) -> BaseException:
    """Return what those get who wait for something that was closed."""
    return RuntimeError(f"{title} closed")
