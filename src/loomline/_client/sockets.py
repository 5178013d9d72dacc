"""WebSockets, and ending a read from outside, in both colours.

A stream over a WebSocket needs the extra `loomline[websocket]`, imported when one is opened.
"""

from __future__ import annotations

import importlib.util
import socket
from collections.abc import Mapping
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import httpx

from loomline._client.loopback import LoopbackTransport
from loomline._client.protocol import websocket_headers

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection
    from websockets.sync.client import ClientConnection as SyncClientConnection

PING_SECONDS: Final = 20.0
CLEAN: Final = 1000
GOODBYE: Final = "client close"
_CLOSE_SECONDS: Final = 1.0

MOST_BYTES: Final = 256 * 1024 * 1024
"""Bytes of one event that are accepted."""

_OF_HTTP: Final = frozenset({
    "accept", "accept-encoding", "cache-control", "connection", "content-length", "content-type",
    "host", "sec-websocket-key", "sec-websocket-version", "transfer-encoding", "upgrade",
})  # fmt: skip
_IN_PROCESS: Final = (httpx.ASGITransport, httpx.WSGITransport, httpx.MockTransport)
_OWN: Final[Mapping[str, Any]] = {
    "user_agent_header": None,  # among the headers
    "max_size": MOST_BYTES,
    "close_timeout": _CLOSE_SECONDS,
}
"""Options for the library `websockets`; a function of the caller's has its own."""


@dataclass(frozen=True, slots=True)
class AsyncSocket:
    """An open WebSocket, and the context that it was opened in."""

    socket: ClientConnection
    _context: AsyncExitStack

    async def aclose(self) -> None:
        """Leave the context."""
        await self._context.aclose()


@dataclass(frozen=True, slots=True)
class SyncSocket:
    """An open WebSocket, and the context that it was opened in."""

    socket: SyncClientConnection
    _context: ExitStack

    def close(self) -> None:
        """Leave the context."""
        self._context.close()


async def async_connect(
    url: str, headers: Mapping[str, str], connect: Any = None, **timing: Any
) -> AsyncSocket:
    """Open a WebSocket, with the function that is given or that of the library `websockets`."""
    options = _options(headers, {} if connect is not None else _OWN) | timing
    if connect is None:
        from websockets.asyncio.client import connect  # noqa: PLC0415 - an optional dependency
    async with AsyncExitStack() as entered:
        socket = await entered.enter_async_context(connect(url, **options))
        return AsyncSocket(socket, entered.pop_all())


def sync_connect(
    url: str, headers: Mapping[str, str], connect: Any = None, **timing: Any
) -> SyncSocket:
    """Open a WebSocket, with the function that is given or that of the library `websockets`."""
    options = _options(headers, {} if connect is not None else _OWN) | timing
    if connect is None:
        from websockets.sync.client import connect  # noqa: PLC0415 - an optional dependency
    with ExitStack() as entered:
        socket = entered.enter_context(connect(url, **options))
        return SyncSocket(socket, entered.pop_all())


def check_websockets(client: httpx.AsyncClient | httpx.Client) -> None:
    """Refuse to open a WebSocket where that cannot work.

    Raises:
        RuntimeError: the library is missing, or the client talks to an application in process.
    """
    if importlib.util.find_spec("websockets") is None:
        raise RuntimeError(
            "transport='websocket' needs the package websockets: pip install 'loomline[websocket]'"
        )
    transport = getattr(client, "_transport", None)
    inside = isinstance(transport, LoopbackTransport) and transport.inside
    if inside or isinstance(transport, _IN_PROCESS):
        raise RuntimeError(
            "This client talks to an application in its own process, which has no WebSockets: "
            "use transport='sse', or give the client a url"
        )


def socket_headers(headers: httpx.Headers) -> dict[str, str]:
    """Return those headers of a request that its WebSocket sends as well."""
    return {name: value for name, value in headers.items() if name not in _OF_HTTP}


def async_interrupt(response: httpx.Response) -> None:
    """Do nothing: whoever reads is cancelled instead."""


def sync_interrupt(response: httpx.Response) -> None:
    """Wake the thread that reads an answer: it finds the connection closed.

    Closing the socket would not wake it.
    """
    stream = response.extensions.get("network_stream")
    found = None if stream is None else stream.get_extra_info("socket")
    if found is not None:
        try:
            found.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # it is closed already


def async_interrupt_socket(socket: Any) -> None:
    """Do nothing: whoever reads is cancelled instead."""


def sync_interrupt_socket(socket: Any) -> None:
    """Close a WebSocket, so that the thread that reads it goes on."""
    socket.close(CLEAN, GOODBYE)


def _options(headers: Mapping[str, str], more: Mapping[str, Any]) -> dict[str, Any]:
    return {"additional_headers": websocket_headers(headers), **more}
