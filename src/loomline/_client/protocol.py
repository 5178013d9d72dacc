"""The parts of the thread protocol's transports that do no I/O, for both colours."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

import httpx

from loomline.stream.types import Event

if TYPE_CHECKING:
    import asyncio

__all__ = [
    "AsyncProtocolTransport",
    "EventStreamHandle",
    "SyncEventStreamHandle",
    "SyncProtocolTransport",
    "build_event_stream_body",
    "build_websocket_url",
    "websocket_headers",
]

_OPTIONAL: Final = ("namespaces", "depth")


@dataclass
class EventStreamHandle:
    """One filtered stream of events of a thread.

    Attributes:
        events: The events, for one reader. The iteration ends without an error.
        ready: Is done when the server has accepted the stream, or fails with the reason.
        done: Is done when the stream has ended. Its result is the error that ended it, or None.
        close: Ends the stream.
    """

    events: AsyncIterator[Event]
    ready: asyncio.Future[None]
    done: asyncio.Future[BaseException | None]
    close: Callable[[], Awaitable[None]]


@dataclass
class SyncEventStreamHandle:
    """One filtered stream of events of a thread.

    Attributes:
        events: The events, for one reader. The iteration raises the error that ends the stream.
        error: Returns that error, or None.
        close: Ends the stream.
    """

    events: Iterator[Event]
    error: Callable[[], BaseException | None]
    close: Callable[[], None]


class AsyncProtocolTransport(Protocol):
    """Sends the commands of one thread, and opens streams of its events.

    Attributes:
        thread_id: The thread.
    """

    thread_id: str

    async def send_command(self, command: dict[str, Any]) -> dict[str, Any] | None:
        """Send a command; return the server's answer, None where the server gives no answer."""
        ...

    def open_event_stream(self, params: dict[str, Any]) -> EventStreamHandle:
        """Open a stream of the events that a filter takes."""
        ...

    async def close(self) -> None:
        """End all streams, and refuse further calls."""
        ...


class SyncProtocolTransport(Protocol):
    """Sends the commands of one thread, and opens streams of its events.

    Attributes:
        thread_id: The thread.
    """

    thread_id: str

    def send_command(self, command: dict[str, Any]) -> dict[str, Any] | None:
        """Send a command; return the server's answer, None where the server gives no answer."""
        ...

    def open_event_stream(self, params: dict[str, Any]) -> SyncEventStreamHandle:
        """Open a stream of the events that a filter takes."""
        ...

    def close(self) -> None:
        """End all streams, and refuse further calls."""
        ...


def build_event_stream_body(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the body of a request for events.

    Args:
        params: `channels`; optional `namespaces`, `depth`, and `since` if it is an integer.

    Raises:
        KeyError: `params` has no `channels`.
    """
    body: dict[str, Any] = {"channels": params["channels"]}
    body.update({name: params[name] for name in _OPTIONAL if params.get(name) is not None})
    if isinstance(params.get("since"), int):
        body["since"] = params["since"]
    return body


def build_websocket_url(base_url: httpx.URL, path: str) -> str:
    """Return the address of a WebSocket below the address of a server.

    Args:
        base_url: The server's address. `https` becomes `wss`, and its query is dropped.
        path: The path below that address, percent-encoded.
    """
    scheme = "wss" if base_url.scheme == "https" else "ws"
    base = base_url.raw_path.partition(b"?")[0].removesuffix(b"/")
    raw_path = base + f"/{path.removeprefix('/')}".encode()
    return str(base_url.copy_with(scheme=scheme, raw_path=raw_path))


def websocket_headers(headers: Mapping[str, str] | None) -> list[tuple[str, str]]:
    """Return headers in the form that the library `websockets` takes."""
    return list((headers or {}).items())
