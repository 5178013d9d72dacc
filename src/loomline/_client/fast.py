"""A transport on aiohttp, which takes a fraction of the time of the one of httpx.

It needs the extra `loomline[fast]`. Only this module knows aiohttp, and it is imported at the first
request: aiohttp takes longer to import than all the rest of the client.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Final

import aiohttp
import httpx
from yarl import URL

_OWN_HEADERS: Final = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")
_PIECE: Final = 64 * 1024

# The first that fits counts, so the special ones come before the general ones.
_ERRORS: Final[tuple[tuple[type[Exception], type[httpx.TransportError]], ...]] = (
    (aiohttp.ConnectionTimeoutError, httpx.ConnectTimeout),
    (aiohttp.SocketTimeoutError, httpx.ReadTimeout),
    (aiohttp.ServerTimeoutError, httpx.ReadTimeout),
    (aiohttp.ClientConnectorError, httpx.ConnectError),
    (aiohttp.ServerDisconnectedError, httpx.RemoteProtocolError),
    (aiohttp.ClientPayloadError, httpx.RemoteProtocolError),
    (aiohttp.ClientResponseError, httpx.RemoteProtocolError),
    (aiohttp.InvalidURL, httpx.UnsupportedProtocol),
    (aiohttp.ClientOSError, httpx.ReadError),
    (aiohttp.ClientError, httpx.ReadError),
    (TimeoutError, httpx.PoolTimeout),
    (OSError, httpx.ReadError),
)


class AiohttpTransport(httpx.AsyncBaseTransport):
    """Sends the requests of an `httpx.AsyncClient` through aiohttp.

    Args:
        limits: How many connections may be open, and how many seconds one is kept idle.
        retries: How often to try again to connect.
    """

    def __init__(self, *, limits: httpx.Limits, retries: int) -> None:
        self._limits = limits
        self._retries = retries
        self._session: aiohttp.ClientSession | None = None
        self._tls: ssl.SSLContext | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request; return its answer as soon as its head is there.

        Raises:
            httpx.TransportError: in the class that httpx's own transport would raise.
        """
        body = await request.aread()
        with _translated():
            response = await self._connected(request, body)
        return httpx.Response(
            response.status,
            headers=response.raw_headers,
            stream=_Body(response),
            extensions={
                "http_version": b"HTTP/1.1",
                "reason_phrase": (response.reason or "").encode("latin-1", "replace"),
            },
        )

    async def aclose(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()

    async def _connected(self, request: httpx.Request, body: bytes) -> aiohttp.ClientResponse:
        for attempt in range(self._retries):
            try:
                return await self._send(request, body)
            except aiohttp.ClientConnectorError:
                # Nothing has been sent: whatever the request does, it may be tried again.
                await asyncio.sleep(0.5 * (2**attempt - 1))
        return await self._send(request, body)

    async def _send(self, request: httpx.Request, body: bytes) -> aiohttp.ClientResponse:
        seconds = request.extensions.get("timeout", {})
        return await self._opened().request(
            request.method,
            # Encoded: aiohttp would decode what is encoded on purpose, dots for example.
            URL(str(request.url), encoded=True),
            headers=[(k.decode("latin-1"), v.decode("latin-1")) for k, v in request.headers.raw],
            skip_auto_headers=_OWN_HEADERS,
            data=body or None,
            allow_redirects=False,
            ssl=self._context() if request.url.scheme == "https" else True,
            timeout=aiohttp.ClientTimeout(
                total=None,
                connect=seconds.get("pool"),
                sock_connect=seconds.get("connect"),
                sock_read=seconds.get("read"),
            ),
        )

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(
                limit=self._limits.max_connections or 0,
                keepalive_timeout=self._limits.keepalive_expiry or 5.0,
            )
            self._session = aiohttp.ClientSession(
                connector=connector, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False
            )
        return self._session

    def _context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = httpx.create_ssl_context()
        return self._tls


class _Body(httpx.AsyncByteStream):
    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _translated():
            async for piece in self._response.content.iter_any():
                yield piece

    async def aclose(self) -> None:
        self._response.close() if not self._response.content.at_eof() else self._response.release()


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        for kind, ours in _ERRORS:
            if isinstance(error, kind):
                raise ours(str(error) or type(error).__name__) from error
        raise
