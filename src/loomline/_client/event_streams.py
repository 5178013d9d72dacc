"""A stream of events behind a handle, in both colours.

The async form reads in the background into a bounded queue. The sync form has neither a queue nor a
thread: its iterator reads the connection itself.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator, Iterator
from typing import Any, Final, Protocol, TypeAlias

from loomline._client.concurrency import AsyncGuard, AsyncSignal
from loomline._client.protocol import EventStreamHandle, SyncEventStreamHandle
from loomline.stream.types import Event

ASYNC_TYPED: Final = False
SYNC_TYPED: Final = True
"""Whether a handle's stream must have the content type of an event stream."""

_END: Final = object()

Note: TypeAlias = Callable[[RuntimeError], None]
"""Takes the error for a frame that is not a JSON object, and raises it to end the stream."""


class AsyncLink(Protocol):
    """An open connection that brings events."""

    async def begin(self) -> None:
        """Ask for the events, where opening the connection has not."""
        ...

    def batches(self) -> AsyncGenerator[tuple[list[Any], int]]:
        """Yield the events as they come, several at once, and how many bytes they were."""
        ...

    def frames(self, note: Note) -> AsyncGenerator[Any]:
        """Yield every value that the server sends, one at a time."""
        ...

    async def close(self) -> None:
        """End it."""
        ...

    def interrupt(self) -> None:
        """Wake the reader."""
        ...


class SyncLink(Protocol):
    """An open connection that brings events."""

    def begin(self) -> None:
        """Ask for the events, where opening the connection has not."""
        ...

    def batches(self) -> Generator[tuple[list[Any], int]]:
        """Yield the events as they come, several at once, and how many bytes they were."""
        ...

    def frames(self, note: Note) -> Generator[Any]:
        """Yield every value that the server sends, one at a time."""
        ...

    def close(self) -> None:
        """End it."""
        ...

    def interrupt(self) -> None:
        """Wake the reader."""
        ...


class AsyncEventStream:
    """Reads a connection in the background, for the reader of a handle.

    Args:
        siblings: The open streams of the transport. The stream adds and removes itself.
        reach: Opens the connection.
        limit: How many events may wait for the reader before the connection is not read on.
        gentle: Whether `close` of the handle counts as a clean end.

    Raises:
        RuntimeError: no event loop runs.
    """

    def __init__(
        self,
        siblings: set[AsyncEventStream],
        reach: Callable[[], Awaitable[AsyncLink]],
        limit: int,
        *,
        gentle: bool,
    ) -> None:
        loop = asyncio.get_running_loop()
        self.handle: EventStreamHandle = EventStreamHandle(
            events=self._read(),
            ready=loop.create_future(),
            done=loop.create_future(),
            close=self._close,
        )
        self._siblings = siblings
        self._reach = reach
        self._limit = limit
        self._gentle = gentle
        self._items: deque[Event] = deque()
        self._over = False
        guard = AsyncGuard()
        self._news, self._room = AsyncSignal(guard), AsyncSignal(guard)
        siblings.add(self)
        self._task = loop.create_task(self._pump(), name="loomline-event-stream")
        # A callback also runs for a task that is cancelled before its first step.
        self._task.add_done_callback(self._finish)

    async def stop(self) -> None:
        """End the stream. The events that wait are still delivered."""
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _close(self) -> None:
        if self._gentle and not self._task.done():
            self._settle(None)
        self._items.clear()
        self._over = True
        self._news.notify()
        await self.stop()

    async def _pump(self) -> None:
        link = await self._reach()
        try:
            await link.begin()
            if not self.handle.ready.done():
                self.handle.ready.set_result(None)
            async for item in link.frames(self._settle):
                if isinstance(item, dict):
                    await self._put(item)
        finally:
            await link.close()

    async def _put(self, item: Any) -> None:
        await self._room.until(lambda: self._limit <= 0 or len(self._items) < self._limit)
        self._items.append(item)
        self._news.notify()

    async def _read(self) -> AsyncIterator[Event]:
        while True:
            await self._news.until(lambda: self._items or self._over)
            if not self._items:
                return
            item = self._items.popleft()
            self._room.notify()
            yield item

    def _finish(self, task: asyncio.Task[None]) -> None:
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        self._refuse(error)
        self._settle(error)
        self._over = True
        self._news.notify()
        self._siblings.discard(self)

    def _refuse(self, error: BaseException | None) -> None:
        """Fail `ready`, if the stream has ended before it got ready."""
        ready = self.handle.ready
        if ready.done():
            return
        if error is None or isinstance(error, asyncio.CancelledError):
            ready.cancel()
        else:
            ready.set_exception(error)
            ready.exception()  # taken, so that nothing is logged if no caller waits for it

    def _settle(self, error: BaseException | None) -> None:
        """Give `done` its result; the first one stays."""
        if not self.handle.done.done():
            self.handle.done.set_result(error)


class SyncEventStream:
    """Reads a connection for the reader of a handle.

    Args:
        siblings: The open streams of the transport. The stream adds and removes itself.
        reach: Opens the connection.
        limit: Is not used, as no event waits.
        gentle: Is not used, as `close` of the handle is always a clean end.
    """

    def __init__(
        self,
        siblings: set[SyncEventStream],
        reach: Callable[[], SyncLink],
        limit: int,  # noqa: ARG002 - as for its twin
        *,
        gentle: bool,  # noqa: ARG002 - as for its twin
    ) -> None:
        self._siblings = siblings
        self._link = reach()
        self._closed = False
        self._reading = False
        self._error: BaseException | None = None
        self.handle: SyncEventStreamHandle = SyncEventStreamHandle(
            events=self._read(), error=lambda: self._error, close=self.stop
        )
        siblings.add(self)

    def stop(self) -> None:
        """End the stream. A thread that reads it is woken, and ends without an error."""
        if self._closed:
            return
        self._closed = True
        self._siblings.discard(self)
        self._link.interrupt()
        if not self._reading:  # else the reader closes it
            self._link.close()

    def _read(self) -> Generator[Event]:
        try:
            yield from self._items()
        except Exception as error:
            if not self._closed:
                self._error = error
                raise
        finally:
            self._siblings.discard(self)
            self._link.close()

    def _items(self) -> Iterator[Event]:
        frames = self._frames()
        # `stop` sets `_closed` and then looks at `_reading`, here it is the other way round: so one
        # of the two always sees the other, and closes the connection.
        while True:
            self._reading = True
            item = _END if self._is_closed() else next(frames, _END)
            self._reading = False
            if item is _END or self._is_closed():
                return
            if isinstance(item, dict):
                yield item  # type: ignore[misc]

    def _frames(self) -> Iterator[Any]:
        self._link.begin()
        yield from self._link.frames(_raise_cause)

    def _is_closed(self) -> bool:
        return self._closed


def _raise_cause(error: RuntimeError) -> None:
    """Raise the error of the decoder, if the frame was not JSON; other frames are skipped."""
    if error.__cause__ is not None:
        raise error.__cause__
