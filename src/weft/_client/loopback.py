"""Talking to a server in the same process.

A client made without an address inside a graph reaches the server it runs in. ``httpx``'s own ASGI
transport collects a whole answer before it hands it on, which would hold back every stream.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import httpx

ROOT_PATH: Final = "/noauth"
"""The root path by which the server knows requests from inside."""

_Message: TypeAlias = MutableMapping[str, Any]
ASGIApp: TypeAlias = Callable[..., Awaitable[None]]

_QUEUED: Final = 64
"""Pieces of an answer that may wait for the reader before the server is made to wait."""


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

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request; return its answer as soon as its head is there."""
        app = self._server.app
        if app is None:
            return await self._beyond().handle_async_request(request)
        exchange = _Exchange(await request.aread())
        task = asyncio.create_task(exchange.run(app, _scope(request)))
        try:
            status, headers = await exchange.head()
        except BaseException:
            task.cancel()
            raise
        return httpx.Response(status, headers=headers, stream=_Body(exchange, task))

    async def aclose(self) -> None:
        """Close the fallback, if it was used."""
        if self._fallback is not None:
            await self._fallback.aclose()

    def _beyond(self) -> httpx.AsyncBaseTransport:
        if self._fallback is None:
            self._fallback = self._make_fallback()
        return self._fallback


class _Exchange:
    """One request and its answer, between the application's task and the reader."""

    def __init__(self, body: bytes) -> None:
        self._body: bytes | None = body
        self._left = asyncio.Event()
        self._messages: asyncio.Queue[_Message | None] = asyncio.Queue(_QUEUED)
        self._error: BaseException | None = None

    async def run(self, app: ASGIApp, scope: _Message) -> None:
        try:
            await app(scope, self._receive, self._messages.put)
        except Exception as error:  # noqa: BLE001 - raised again on the reader's side
            self._error = error
        await self._messages.put(None)

    async def head(self) -> tuple[int, list[tuple[bytes, bytes]]]:
        message = await self._messages.get()
        if message is None:
            raise self._error or httpx.RemoteProtocolError("The application gave no answer")
        return message["status"], list(message["headers"])

    async def pieces(self) -> AsyncIterator[bytes]:
        while (message := await self._messages.get()) is not None:
            if message.get("body"):
                yield message["body"]
            if not message.get("more_body", False):
                return
        if self._error is not None:
            raise httpx.ReadError(f"The application failed: {self._error}") from self._error

    def leave(self) -> None:
        self._left.set()

    async def _receive(self) -> _Message:
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        await self._left.wait()
        return {"type": "http.disconnect"}


class _Body(httpx.AsyncByteStream):
    def __init__(self, exchange: _Exchange, task: asyncio.Task[None]) -> None:
        self._exchange = exchange
        self._task = task

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in self._exchange.pieces():
            yield piece

    async def aclose(self) -> None:
        self._exchange.leave()
        if not self._task.done():
            # The application may still want to send: give it somebody who listens.
            drain = asyncio.create_task(_drain(self._exchange))
            await asyncio.wait({self._task}, timeout=5)
            drain.cancel()
            self._task.cancel()


async def _drain(exchange: _Exchange) -> None:
    async for _ in exchange.pieces():
        continue


def _scope(request: httpx.Request) -> _Message:
    path = request.url.path
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": request.url.scheme,
        "path": f"{ROOT_PATH}{path}",
        "raw_path": request.url.raw_path.partition(b"?")[0],
        "root_path": ROOT_PATH,
        "query_string": request.url.query,
        "headers": [(name.lower(), value) for name, value in request.headers.raw],
        "server": (request.url.host, request.url.port or 80),
        "client": ("127.0.0.1", 0),
        "extensions": {},
    }
