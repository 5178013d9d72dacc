"""The connections of a process: how many there may be, and the count of closed ones."""

from __future__ import annotations

import asyncio
import logging
import sys
from typing import Final, Literal, Protocol, TypeAlias

from loomline.server.domain.measures import (
    CONNECTIONS_EVICTED,
    CONNECTIONS_INVALID,
    CONNECTIONS_REFUSED,
    CONNECTIONS_TIMED_OUT,
    Counter,
)
from loomline.server.ports.measures import NO_MEASURES, Measures

logger: logging.Logger = logging.getLogger("loomline.api")

Reason: TypeAlias = Literal["refused", "evicted", "timed_out", "invalid"]

_SENTENCES: Final[dict[Reason, str]] = {
    "refused": "connections were refused: the limit of open connections is reached"
    " (--max-connections)",
    "evicted": "connections without a request were closed to make room for new ones"
    " (--max-connections)",
    "timed_out": "connections were closed: no complete request arrived in time"
    " (--head-timeout-seconds, --body-timeout-seconds)",
    "invalid": "connections were closed: a request was not valid HTTP/1.1",
}

_COUNTERS: Final[dict[Reason, Counter]] = {
    "refused": CONNECTIONS_REFUSED,
    "evicted": CONNECTIONS_EVICTED,
    "timed_out": CONNECTIONS_TIMED_OUT,
    "invalid": CONNECTIONS_INVALID,
}

_LOG_SECONDS: Final = 10.0

# Where the system has no limit, or a very high one: each connection may hold 100 KB of a head.
_MOST: Final = 20_000

# Descriptors for the database, the files and the outgoing connections of graphs.
_RESERVE_LEAST: Final = 64
_RESERVE_MOST: Final = 4096


class Waiting(Protocol):
    """A connection that has no request in progress."""

    def dismiss(self) -> None:
        """Close the connection in favour of another one."""


class Connections:
    """Bounds the number of connections. It belongs to the event loop of the API.

    At the limit a new connection replaces the one that has waited longest without a complete
    request head: a client that connects and sends nothing cannot keep others out.
    """

    def __init__(
        self, most: int, *, log_seconds: float = _LOG_SECONDS, measures: Measures = NO_MEASURES
    ) -> None:
        self.most: Final = most
        self._measures = measures
        self._log_seconds = log_seconds
        self.open: int = 0
        self.closed: dict[Reason, int] = dict.fromkeys(_SENTENCES, 0)
        self._logged: dict[Reason, int] = dict.fromkeys(_SENTENCES, 0)
        # Of the reasons that have been logged lately.
        self._timers: dict[Reason, asyncio.TimerHandle] = {}
        # In the order in which they began to wait.
        self._waiting: dict[Waiting, None] = {}

    def enter(self, connection: Waiting) -> bool:
        """Count a new connection; return False where it has to be refused."""
        self.open += 1
        if self.open > self.most and not self._make_room():
            self.note("refused")
            return False
        self._waiting[connection] = None
        return True

    def leave(self, connection: Waiting) -> None:
        """Count a connection that was entered as closed."""
        self.open -= 1
        self._waiting.pop(connection, None)

    def wait(self, connection: Waiting) -> None:
        """Note that a connection has no request in progress any more."""
        self._waiting[connection] = None

    def work(self, connection: Waiting) -> None:
        """Note that a connection has sent a complete head."""
        self._waiting.pop(connection, None)

    def opened(self) -> None:
        """Count a connection that is never closed in favour of another one: a WebSocket."""
        self.open += 1

    def ended(self) -> None:
        """Count such a connection as closed."""
        self.open -= 1

    def note(self, reason: Reason) -> None:
        """Count a connection that the server has closed; the log has a line now or soon."""
        self.closed[reason] += 1
        self._measures.count(_COUNTERS[reason])
        if reason not in self._timers:
            self._log(reason)

    def _make_room(self) -> bool:
        oldest = next(iter(self._waiting), None)
        if oldest is None:
            return False
        del self._waiting[oldest]
        oldest.dismiss()
        self.note("evicted")
        return True

    def _log(self, reason: Reason) -> None:
        """Log the count since the last time, if there is any, and again after an interval."""
        self._timers.pop(reason, None)
        count = self.closed[reason] - self._logged[reason]
        if count:
            extra = {"count": count, "open": self.open, "limit": self.most}
            logger.warning(_SENTENCES[reason], extra=extra)
            self._logged[reason] += count
            loop = asyncio.get_running_loop()
            self._timers[reason] = loop.call_later(self._log_seconds, self._log, reason)


def descriptor_limit() -> int | None:
    """Return how many files this process may open, None where there is no limit."""
    if sys.platform == "win32":
        return None
    import resource  # noqa: PLC0415 - Windows does not have it

    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if limit == resource.RLIM_INFINITY else limit


def affordable_connections(limit: int | None) -> int:
    """Return the number of connections that leave a reserve of file descriptors."""
    if limit is None:
        return _MOST
    reserve = min(max(limit // 4, _RESERVE_LEAST), _RESERVE_MOST)
    return max(1, min(limit - reserve, _MOST))
