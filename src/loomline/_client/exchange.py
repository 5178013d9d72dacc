"""One request to an application in this process, and its answer, piece by piece."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any, Final, TypeAlias

import httpx

_Message: TypeAlias = MutableMapping[str, Any]
ASGIApp: TypeAlias = Callable[..., Awaitable[None]]

IN_PROCESS: Final = "loomline.in_process"
"""The key of scopes whose request comes from this process. A request from outside has none."""

_QUEUED: Final = 64
"""Pieces of an answer that may wait for the reader before the server is made to wait."""


async def converse(app: ASGIApp, request: httpx.Request, root_path: str) -> httpx.Response:
    """Send a request to an application; return its answer as soon as its head is there."""
    exchange = _Exchange(await request.aread())
    task = asyncio.create_task(exchange.run(app, _scope(request, root_path)))
    try:
        status, headers = await exchange.head()
    except BaseException:
        task.cancel()
        raise
    return httpx.Response(status, headers=headers, stream=_Body(exchange, task))


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


def _scope(request: httpx.Request, root_path: str) -> _Message:
    path = request.url.path
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": request.url.scheme,
        "path": f"{root_path}{path}",
        "raw_path": request.url.raw_path.partition(b"?")[0],
        "root_path": root_path,
        "query_string": request.url.query,
        "headers": [(name.lower(), value) for name, value in request.headers.raw],
        "server": (request.url.host, request.url.port or 80),
        "client": ("127.0.0.1", 0),
        "extensions": {},
        IN_PROCESS: True,
    }
