"""Events of a run: bytes with a name, in an order that survives reconnects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from loomline.server.domain.json import EMPTY_OBJECT, Encoded


class EventId(NamedTuple):
    """A position in a log, ``<milliseconds>-<number>`` on the wire; strictly increasing."""

    milliseconds: int
    number: int

    def __str__(self) -> str:
        return f"{self.milliseconds}-{self.number}"

    @classmethod
    def parse(cls, text: str) -> EventId | None:
        """Return the position that a text names, or None when it names none."""
        head, dash, tail = text.partition("-")
        if not dash or not (head + tail).isascii() or not (head.isdigit() and tail.isdigit()):
            return None
        # Longer numbers cannot be ids of ours and would only cost time to convert.
        return cls(int(head), int(tail)) if len(text) <= 40 else None


START = EventId(0, 0)
"""Before every event."""


@dataclass(frozen=True, slots=True)
class Live:
    """A cursor after everything the log holds at the moment of reading."""


Cursor: TypeAlias = EventId | Live


class Event(NamedTuple):
    """What happened, encoded once where it happened.

    ``name`` is the event's name on the wire. ``mode`` is the stream mode it belongs to: readers
    that asked for some modes only get those. Events of no mode are for every reader.
    """

    name: str
    data: Encoded
    mode: str | None = None


class StoredEvent(NamedTuple):
    """An event with its place in the log."""

    id: EventId
    event: Event


LAST_FENCE = 2**31 - 1
"""The fence of what is said about a run that nobody executes any more."""

RESULT = "loomline:result"
"""The name of the event that carries a run's result to those who wait."""

DONE = "loomline:done"
"""The name of the event that ends a run without such a result."""

STATUS = "loomline:status"
"""The name of the event that tells how a run has ended: its status, or ``rollback``."""

CHECKPOINT = "loomline:checkpoint"
"""The name of the event after those of a checkpoint of the root graph. It has the id."""

NUMBERS = "loomline:numbers"
"""The name of the event that tells, with each execution, what number the thread's events are at."""


@dataclass(frozen=True, slots=True)
class Result:
    """The run ended, and its log holds the result."""

    data: Encoded


@dataclass(frozen=True, slots=True)
class Ended:
    """The run ended without a result of its own: its result is the state of its thread."""


@dataclass(frozen=True, slots=True)
class Lost:
    """The log does not tell how the run ended.

    ``away``: the log cannot be reached at the moment, and may hold the end all the same.
    """

    away: bool = False


Ending: TypeAlias = Result | Ended | Lost
"""The end of a run, as its log tells it. An empty result and a lost one are different types."""


def ending(last: StoredEvent | None) -> Ending:
    """Return the end of a run, given the last event of its log; None: the log has no event."""
    if last is None or last.event.name not in {RESULT, DONE}:
        return Lost()
    return Result(last.event.data) if last.event.name == RESULT else Ended()


HIDDEN: frozenset[str] = frozenset({RESULT, DONE, NUMBERS, STATUS, CHECKPOINT})
"""Events that are never streamed. One of them is the last of every run that was executed."""

NEVER_BEGUN: tuple[Event, ...] = (Event(DONE, EMPTY_OBJECT),)
"""The log of a run that ended while it waited. It tells that end apart from a lost one."""
