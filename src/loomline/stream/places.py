"""How far the connections of a thread have come, and which events have been seen. No I/O."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

__all__ = ["BEFORE_FIRST", "SEEN_MOST", "Place", "Seen"]

BEFORE_FIRST: Final = -1
"""The position before all events. Servers may number their first event with 0."""

SEEN_MOST: Final = 10_000


@dataclass(slots=True)
class Seen:
    """The identities of the last events, so that a replay delivers none twice."""

    limit: int = SEEN_MOST
    _known: set[str] = field(default_factory=set)
    _order: deque[str] = field(default_factory=deque)

    def again(self, event_id: object) -> bool:
        """Return whether an event has been seen; remember it."""
        if not isinstance(event_id, str):
            return False
        if event_id in self._known:
            return True
        self._known.add(event_id)
        self._order.append(event_id)
        if len(self._order) > self.limit:
            self._known.discard(self._order.popleft())
        return False


@dataclass(slots=True, eq=False)
class Place:
    """Where in the sequence one connection is."""

    number: int
    params: dict[str, Any]
    since: int | None
    seq: int
    run_id: str | None
    furthest: int = BEFORE_FIRST
    progressed: bool = False
    error: RuntimeError | None = None
    seen: Seen = field(default_factory=Seen)

    def take_unnumbered(self, event: Mapping[str, Any]) -> None:
        """Take an event without a number. Only an event that is not known yet is progress."""
        event_id = event.get("event_id")
        if isinstance(event_id, str) and not self.seen.again(event_id):
            self.progressed = True
