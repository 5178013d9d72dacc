"""The event log: any number of readers, replay and live on one path."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, Self

from loomline.server.domain.events import Cursor, Event, StoredEvent


class EventReader(Protocol):
    """Batches of events, as they come, until the stream is closed. Belongs to one task."""

    def __aiter__(self) -> Self: ...

    async def __anext__(self) -> Sequence[StoredEvent]:
        """Return the next events.

        Raises:
            EventsLost: the reader fell off the tail of the log, or the log has lost events.
            EventsUnavailable: the log cannot be reached, and that for longer than a short break.
        """
        ...

    async def last(self) -> StoredEvent | None:
        """Return the last event once the stream is closed, and finish; None: there is none.

        Whoever only wants the end is not woken for anything else.

        Raises:
            EventsLost: the log cannot tell the end any more; the database can.
            EventsUnavailable: the same, because the log cannot be reached. Sooner than for
                readers of events: a look into the database replaces the waiting.
        """
        ...

    def drain(self) -> None:
        """Wait for nothing more: end after what the log holds now."""
        ...

    async def aclose(self) -> None: ...


class EventLog(Protocol):
    """Logs named by stream (a run's id), bounded by count and size.

    Every method may be called from any event loop of the process.
    """

    async def append(self, stream: str, events: Sequence[Event], fence: int = 0) -> None:
        """Add events in order. A stream begins with its first event or its first reader.

        Never fails: a log that is away for long loses events, and tells the readers so. What is
        appended here precedes what is closed, flushed or read here later; a reader in another
        process may see it a moment later.

        Args:
            stream: Which stream.
            events: What has happened.
            fence: Once a stream has events of a greater number, those of lower ones are dropped:
                they come from a worker that does not know yet that it has lost the run.
        """
        ...

    async def flush(self, stream: str) -> bool:
        """Return once what was appended here can be read everywhere, after some time anyhow.

        Whatever makes others stop reading, such as a final status, comes after this. False: it
        cannot be read everywhere yet, and maybe never.
        """
        ...

    def read(self, stream: str, after: Cursor) -> EventReader:
        """Return a reader of the events after a cursor, which is fixed at this moment."""
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
