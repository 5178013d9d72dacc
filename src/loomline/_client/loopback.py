"""Talking to a server in the same process.

A client made without an address inside a graph reaches the server it runs in. ``httpx``'s own ASGI
transport collects a whole answer before it hands it on, which would hold back every stream.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

import httpx

ROOT_PATH: Final = "/noauth"
"""The root path by which the server knows requests from inside."""

ASGIApp: TypeAlias = Callable[..., Awaitable[None]]


@dataclass(slots=True)
class Server:
    """The server of this process, once it has said so."""

    app: ASGIApp | None = None


class LoopbackTransport(httpx.AsyncBaseTransport):
    """Sends requests to the server of this process, and hands on answers piece by piece.

    Which server is decided at each request, so a client may be made before there is one.

    Args:
        server: The server of this process.
        fallback: Makes the transport to use while there is none.
    """

    def __init__(self, server: Server, fallback: Callable[[], httpx.AsyncBaseTransport]) -> None:
        self._server = server
        self._make_fallback = fallback
        self._fallback: httpx.AsyncBaseTransport | None = None

    @property
    def inside(self) -> bool:
        """Whether requests go to the server of this process now."""
        return self._server.app is not None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request; return its answer as soon as its head is there."""
        app = self._server.app
        if app is None:
            return await self._beyond().handle_async_request(request)
        return await _exchange(app, request, ROOT_PATH)

    async def aclose(self) -> None:
        """Close the fallback, if it was used."""
        if self._fallback is not None:
            await self._fallback.aclose()

    def _beyond(self) -> httpx.AsyncBaseTransport:
        if self._fallback is None:
            self._fallback = self._make_fallback()
        return self._fallback


class AsgiTransport(httpx.ASGITransport):
    """Sends requests to an application, and hands on answers piece by piece.

    Takes the arguments of `httpx.ASGITransport`, which collects whole answers instead.
    """

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request; return its answer as soon as its head is there."""
        return await _exchange(self.app, request, self.root_path)


async def _exchange(app: ASGIApp, request: httpx.Request, root_path: str) -> httpx.Response:
    # Not at the top: most clients never talk to their own process, and asyncio takes long to load.
    from loomline._client.exchange import converse  # noqa: PLC0415

    return await converse(app, request, root_path)
