"""Events as entries of a Redis stream, both ways; no I/O."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias, cast

from loomline.server.domain.events import Event, EventId, StoredEvent
from loomline.server.domain.json import Encoded
from loomline.server.events.redis.scripts import CLOSED, GAP

Field: TypeAlias = str | bytes | int | float
Command: TypeAlias = tuple[Field, ...]
Entry: TypeAlias = tuple[bytes, Sequence[bytes]]
"""An entry's id, and its fields and values in turn."""


@dataclass(slots=True)
class Chunk:
    """What a piece of the log says.

    ``events``, up to a mark if there is one; ``end`` is the position after them. A mark is either
    a ``gap`` at which events were lost, or says that the stream is ``closed``. When the log has
    been cut beyond the cursor, the chunk is ``cut`` and holds nothing.
    """

    end: EventId
    events: list[StoredEvent] = field(default_factory=list)
    gap: bool = False
    closed: bool = False
    cut: bool = False


def fields(events: Iterable[Event]) -> list[bytes]:
    """Return the fields and values of an entry that holds these events."""
    found: list[bytes] = []
    for event in events:
        found += (f"{event.mode or ''}\0{event.name}".encode(), event.data)
    return found


def chunk(entries: Iterable[Entry], after: EventId) -> Chunk:
    """Return the events after a cursor, up to the first mark that comes after it."""
    found = Chunk(after)
    for raw_id, content in entries:
        last = event_id(raw_id)
        if last <= after:
            continue
        mark = _is_mark(content)
        if event_id(content[1 if mark else 0]) > found.end:
            return Chunk(after, cut=True)
        if mark:
            found.gap = content[0] == GAP
            found.closed = not found.gap
            return found
        found.events += (stored for stored in _events(last, content) if stored.id > after)
        found.end = last
    return found


def last_event(entries: Iterable[Entry]) -> StoredEvent | None:
    """Return the last event of entries that come newest first."""
    for raw_id, content in entries:
        if not _is_mark(content):
            return _events(event_id(raw_id), content)[-1]
    return None


def event_id(raw: bytes) -> EventId:
    milliseconds, _, number = raw.partition(b"-")
    return EventId(int(milliseconds), int(number))


def optional_id(raw: object) -> EventId | None:
    return event_id(raw) if isinstance(raw, bytes) else None


def entries_of(reply: object) -> Sequence[Entry]:
    """Return a range of a stream as the server sends it."""
    return cast("Sequence[Entry]", reply or ())


def streams_of(reply: object) -> Iterable[tuple[bytes, Sequence[Entry]]]:
    """Return what XREAD found; None is nothing."""
    return cast("Iterable[tuple[bytes, Sequence[Entry]]]", reply or ())


def _is_mark(content: Sequence[bytes]) -> bool:
    return content[0] in {CLOSED, GAP}


def _events(last: EventId, content: Sequence[bytes]) -> list[StoredEvent]:
    milliseconds, number = last
    first = number + 2 - len(content) // 2
    return [
        StoredEvent(EventId(milliseconds, first + place), _event(head, Encoded(data)))
        for place, (head, data) in enumerate(zip(content[2::2], content[3::2], strict=True))
    ]


def _event(head: bytes, data: Encoded) -> Event:
    mode, _, name = head.decode().partition("\0")
    return Event(name, data, mode or None)
