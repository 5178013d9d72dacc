"""Sending requests to addresses that have been checked, and only there."""

from __future__ import annotations

import asyncio
import base64
import ipaddress
import socket
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeAlias
from urllib.parse import unquote_to_bytes

import httpx

from loomline._client.loopback import ASGIApp, AsgiTransport
from loomline.server.domain.errors import WebhookFailed
from loomline.server.domain.json import Encoded
from loomline.server.domain.webhooks import Target

RESOLVE_SECONDS = 5.0
RESOLVERS = 4
"""Names that are looked up at the same time: a lookup that hangs takes a thread."""

_ADDRESSES_MOST = 64

_ERROR_MOST = 300

_INSIDE = "http://loomline.internal"


Inside: TypeAlias = Callable[[Encoded | None], ASGIApp]
"""Gives the server itself as the user calls it whom an encoded user names."""


class SystemResolver:
    """The system's own way to look up names, on threads of its own."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(RESOLVERS, thread_name_prefix="loomline-resolver")

    async def addresses(self, host: str, port: int) -> Sequence[str]:
        try:
            return [str(ipaddress.ip_address(host))]
        except ValueError:
            pass
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(RESOLVE_SECONDS):
                found = await loop.run_in_executor(self._threads, _look_up, host, port)
        except (OSError, UnicodeError):  # a TimeoutError is an OSError
            return []
        return found[:_ADDRESSES_MOST]

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


def _look_up(host: str, port: int) -> list[str]:
    rows = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(row[4][0]) for row in rows))


class WebhookClient:
    """Sends one request per connection.

    A connection that is kept would be used for another host at the same address, whose certificate
    nobody has looked at.
    """

    def __init__(self, timeout_seconds: float) -> None:
        self._timeout = timeout_seconds
        self._outside: httpx.AsyncClient | None = None
        self._inside: Inside | None = None

    def open(self, inside: Inside) -> None:
        """Begin to send; ``inside`` gives the server itself, as a user calls it."""
        self._outside = self._client(
            httpx.AsyncHTTPTransport(
                verify=httpx.create_ssl_context(),
                trust_env=False,
                limits=httpx.Limits(max_keepalive_connections=0),
            )
        )
        self._inside = inside

    async def aclose(self) -> None:
        if self._outside is not None:
            await self._outside.aclose()

    async def post(
        self, target: Target, address: str, headers: Mapping[str, str], content: bytes
    ) -> int:
        assert self._outside is not None, "open() comes first"
        own = {**_headers(target, headers), "host": target.authority}
        named = {"sni_hostname": target.host}
        return await self._send(self._outside, _url(target, address), own, content, named)

    async def post_inside(
        self, target: Target, user: Encoded | None, headers: Mapping[str, str], content: bytes
    ) -> int:
        assert self._inside is not None, "open() comes first"
        # One client per request: its application acts as one user, and it holds no connection.
        async with self._client(AsgiTransport(app=self._inside(user))) as client:
            url, own = f"{_INSIDE}{target.path}", _headers(target, headers)
            return await self._send(client, url, own, content, {})

    async def _send(
        self,
        client: httpx.AsyncClient,
        url: str,
        headers: Mapping[str, str],
        content: bytes,
        extensions: dict[str, str],
    ) -> int:
        try:
            request = client.build_request(
                "POST", url, headers=headers, content=content, extensions=extensions
            )
            response = await client.send(request, stream=True)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise WebhookFailed(f"{type(error).__name__}: {error}"[:_ERROR_MOST]) from None
        await response.aclose()
        return response.status_code

    def _client(self, transport: httpx.AsyncBaseTransport) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            transport=transport, timeout=self._timeout, follow_redirects=False, trust_env=False
        )


def _url(target: Target, address: str) -> str:
    literal = f"[{address}]" if ":" in address else address
    return f"{target.scheme}://{literal}:{target.port}{target.path}"


def _headers(target: Target, headers: Mapping[str, str]) -> dict[str, str]:
    own = {"content-type": "application/json", "user-agent": "loomline-webhooks", **headers}
    if target.userinfo and "authorization" not in {name.lower() for name in headers}:
        own["authorization"] = f"Basic {_basic(target.userinfo)}"
    return own


def _basic(userinfo: str) -> str:
    name, _, password = userinfo.partition(":")
    pair = unquote_to_bytes(name) + b":" + unquote_to_bytes(password)
    return base64.b64encode(pair).decode()
