"""When and how a broken stream goes on."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from loomline._client._core.options import TimeoutTypes
from loomline.schema import StreamPart

ATTEMPTS: Final = 5
"""Reconnects in a row that deliver nothing before it is given up."""

# A server ends the stream of a run with this event. It is not for callers.
_END: Final = "end"
_LAST: Final = frozenset({_END, "error"})

_LONGEST_SECONDS: Final = 5.0
_JITTER: Final = 0.25
_RUN_STREAM: Final = re.compile(r"(?P<run>.*/threads/[^/]+/runs/[^/]+)/stream/?")

_OF_BODY: Final = frozenset({"content-length", "content-type"})


def delay(attempt: int) -> float:
    """Return the seconds to wait before a reconnect, counted from 0."""
    seconds: float = min(_LONGEST_SECONDS, 2.0**attempt)
    return seconds * (1 + random.uniform(0, _JITTER))  # noqa: S311 - no secret  # nosec B311


def retryable(status: int) -> bool:
    """Return whether the same request may work later."""
    return status == 429 or status >= 500


@dataclass(slots=True)
class StreamState:
    """What is known of a stream over all of its connections."""

    location: str | None = None
    cursor: str | None = None
    attempts: int = 0
    finished: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)
    timeout: TimeoutTypes = None

    def delivered(self, parts: Iterable[StreamPart]) -> Iterator[StreamPart]:
        """Yield the events that are for callers, and note how far the stream has come."""
        for part in parts:
            self.attempts = 0
            self.cursor = part.id
            self.finished = self.finished or part.event in _LAST
            if part.event != _END:
                yield part

    def may_reconnect(self) -> bool:
        """Return whether there is a place to go on at, and patience left."""
        return self.location is not None and self.attempts < ATTEMPTS

    def next_delay(self) -> float:
        """Count an attempt; return the seconds to wait before it."""
        self.attempts += 1
        return delay(self.attempts - 1)

    def reconnect_headers(self) -> dict[str, str]:
        """Return the headers of the request that goes on."""
        kept = {k: v for k, v in self.headers.items() if k.lower() not in _OF_BODY}
        if not self.cursor:
            return kept
        kept = {k: v for k, v in kept.items() if k.lower() != "last-event-id"}
        return {**kept, "Last-Event-ID": self.cursor}

    def run_path(self) -> str | None:
        """Return where the run of this stream can be looked up."""
        place = (self.location or "").partition("?")[0]
        match = _RUN_STREAM.fullmatch(place)
        return match["run"] if match is not None else None
