"""What can be set, and how things are named on the server."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from loomline.server.domain.retention import ENDED_SECONDS


@dataclass(frozen=True, slots=True)
class RedisOptions:
    """Bounds and patience of the event log and the signals.

    What the server holds, per stream: ``events`` and ``bytes``; the oldest tenth goes when one is
    passed. A stream that nobody appends to and nobody closes goes after ``idle_seconds``. A closed
    one stays for at least ``least_keep_seconds``, so that readers learn that it is closed.

    What this process holds while the server is away: ``pending_events`` and ``pending_bytes`` per
    stream, ``all_pending_bytes`` and ``pending_streams`` in all.

    What it holds for readers: ``window_events`` and ``window_bytes`` per followed stream.

    ``gather_seconds``: a stream of events is sent at most that often; a first event goes at once.
    ``answer_seconds``: for how long an answer of the server may take.
    ``wait_patience_seconds``: readers of a stream's end are told after that, so that they look
    into the database. ``read_patience_seconds``: readers of events are told after that.
    """

    prefix: str
    events: int = 50_000
    bytes: int = 64 * 1024 * 1024
    idle_seconds: float = 86_400.0
    least_keep_seconds: float = ENDED_SECONDS
    pending_events: int = 10_000
    pending_bytes: int = 8 * 1024 * 1024
    all_pending_bytes: int = 64 * 1024 * 1024
    pending_streams: int = 10_000
    window_events: int = 1024
    window_bytes: int = 256 * 1024
    gather_seconds: float = 0.002
    answer_seconds: float = 1.0
    wait_patience_seconds: float = 0.5
    read_patience_seconds: float = 15.0
    open_seconds: float = 5.0

    @property
    def batch_events(self) -> int:
        """Events of one entry: trimming drops whole entries, a tenth at a time."""
        return max(1, min(512, self.events // 10))

    @property
    def batch_bytes(self) -> int:
        return max(1, min(256 * 1024, self.bytes // 10))


@dataclass(frozen=True, slots=True)
class Keys:
    """The names of a stream's keys. ``clock`` hands out ids to all streams."""

    prefix: str

    @property
    def clock(self) -> str:
        return f"{self.prefix}clock"

    def events(self, stream: str) -> str:
        return f"{self.prefix}events:{stream}"

    def end(self, stream: str) -> str:
        """Return the key of a stream of one entry, which appears when the stream is closed."""
        return f"{self.prefix}end:{stream}"

    def meta(self, stream: str) -> str:
        return f"{self.prefix}meta:{stream}"

    def bell(self, process: str) -> str:
        return f"{self.prefix}bell:{process}"

    def channel(self, topic: str) -> str:
        return f"{self.prefix}signal:{topic}"

    def of(self, stream: str) -> tuple[str, ...]:
        """Return all keys of a stream in the order that the scripts expect."""
        marks = f"{self.prefix}marks:{stream}"
        return self.events(stream), self.meta(stream), marks, self.end(stream), self.clock


def address(url: str) -> str:
    """Return what a URL says about where the server is, without user and password."""
    parts = urlsplit(url)
    place = parts.path if parts.scheme == "unix" else parts.netloc.rpartition("@")[2]
    return place or "localhost"
