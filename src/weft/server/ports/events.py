"""The event log: any number of readers, replay and live on one path."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from weft.server.domain.events import Cursor, Event, StoredEvent


class EventLog(Protocol):
    """Logs named by stream (a run's id), bounded by count and size.

    Every method may be called from any event loop of the process.
    """

    async def append(self, stream: str, events: Sequence[Event]) -> None:
        """Add events in order. A stream begins with its first event or its first reader."""
        ...

    def read(self, stream: str, after: Cursor) -> AsyncIterator[Sequence[StoredEvent]]:
        """Yield batches of events after a cursor, as they come, until the stream is closed.

        The cursor is fixed when this is called, not at the first iteration.

        Raises:
            EventsLost: the reader fell off the tail of the log.
        """
        ...

    async def close(self, stream: str, keep_seconds: float) -> None:
        """End a stream: readers finish, and the events stay readable for a while."""
        ...

    async def reopen(self, stream: str) -> None:
        """Take a close back, for a run that is executed again."""
        ...

    async def discard(self, stream: str) -> None:
        """End a stream and forget its events."""
        ...
