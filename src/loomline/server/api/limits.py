"""What one caller may take: bytes of a request, requests in a time, streams at once."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import Final, TypeAlias

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from loomline.server.api.errors import Handler, detail, refuse
from loomline.server.api.inside import INSIDE
from loomline.server.api.jsonrules import JSON_RULES, JsonRules

ServeSocket: TypeAlias = Callable[[WebSocket], Awaitable[None]]

RATE: Final = "loomline.rate"
"""The key in the scope of a WebSocket of what counts its commands, where they are counted."""

# What watches a server must be able to look at it, however often.
_WATCHED: Final = frozenset({"/", "/ok", "/info", "/metrics"})

_TRACKED: Final = 50_000
"""Callers whose requests are counted; who has not been seen for longest is forgotten first."""


@dataclass(frozen=True, slots=True)
class Rate:
    """Requests per second on average, and how many may come at once before that counts."""

    per_second: float
    burst: int


class RequestSize:
    """Refuses requests whose headers or body are larger than allowed.

    ``json`` are the rules that readers of a body follow.
    """

    def __init__(
        self, app: ASGIApp, *, header_bytes: int, body_bytes: int, json: JsonRules
    ) -> None:
        self._app = app
        self._header_bytes = header_bytes
        self._body_bytes = body_bytes
        self._added = {JSON_RULES: json}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        if _head_size(scope) > self._header_bytes:
            text = f"The headers are larger than the limit of {self._header_bytes} bytes."
            await refuse(detail(431, text, _CLOSE), scope, receive, send)
        elif scope["type"] == "websocket":
            await self._app({**scope, **self._added}, receive, send)
        elif _declared(scope) > self._body_bytes:
            await detail(413, self._too_large(), _CLOSE)(scope, receive, send)
        else:
            await self._app({**scope, **self._added}, self._counted(receive), send)

    def _counted(self, receive: Receive) -> Receive:
        size = 0

        async def counted() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > self._body_bytes:
                raise HTTPException(413, self._too_large(), _CLOSE)
            return message

        return counted

    def _too_large(self) -> str:
        return f"The request body is larger than the limit of {self._body_bytes} bytes."


# The rest of what was sent is not read.
_CLOSE: Final = {"connection": "close"}


class RateLimit:
    """Answers 429 to who asks more often than allowed, and says when to come back."""

    def __init__(self, app: ASGIApp, *, buckets: TokenBuckets) -> None:
        self._app = app
        self._buckets = buckets

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        counted = scope["type"] in {"http", "websocket"}
        if not counted or INSIDE in scope or _below_root(scope) in _WATCHED:
            await self._app(scope, receive, send)
            return
        wait = self._buckets.take(caller(scope))
        if wait > 0:
            await refuse(too_many(wait), scope, receive, send)
        elif scope["type"] == "websocket":
            await self._app({**scope, RATE: self._buckets.take}, receive, send)
        else:
            await self._app(scope, receive, send)


class AttemptLimit:
    """Counts refused credentials by address.

    Many users may share the address of a proxy: an attempt is examined however many have failed
    before, and only its refusal becomes a 429.
    """

    def __init__(self, buckets: TokenBuckets) -> None:
        self._buckets = buckets

    def __call__(self, scope: Scope) -> Response | None:
        """Count a refusal; return the answer if there are too many."""
        wait = self._buckets.take(address_of(scope))
        return too_many(wait) if wait > 0 else None


class TokenBuckets:
    """Counts by caller. Each has a bucket that fills steadily, and a request takes one token."""

    def __init__(
        self, rate: Rate, clock: Callable[[], float] = time.monotonic, tracked: int = _TRACKED
    ) -> None:
        self._rate = rate
        self._clock = clock
        self._tracked = tracked
        # For each caller: what the bucket held, and when.
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, who: str) -> float:
        """Take a token and return 0, or the seconds until there is one."""
        now = self._clock()
        tokens, since = self._buckets.pop(who, (float(self._rate.burst), now))
        tokens = min(self._rate.burst, tokens + (now - since) * self._rate.per_second)
        allowed = tokens >= 1
        self._buckets[who] = (tokens - 1 if allowed else tokens, now)
        if len(self._buckets) > self._tracked:
            self._buckets.popitem(last=False)
        return 0.0 if allowed else (1 - tokens) / self._rate.per_second

    def __len__(self) -> int:
        return len(self._buckets)


class StreamLimit:
    """Counts the answers that stay open, by caller. It belongs to the event loop of the API."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._open: dict[str, int] = {}

    def limited(self, handler: Handler) -> Handler:
        """Return the handler of a route that answers as long as a run takes."""

        async def endpoint(request: Request) -> ASGIApp:
            if INSIDE in request.scope:
                return await handler(request)
            who = caller(request.scope)
            if self._open.get(who, 0) >= self._most:
                raise HTTPException(
                    429,
                    f"Too many streams: {self._most} may be open at the same time.",
                    {"retry-after": "1"},
                )
            self._enter(who)
            try:
                answer = await handler(request)
            except BaseException:
                self._leave(who)
                raise
            return self._held(answer, who)

        return endpoint

    def limited_socket(self, serve: ServeSocket) -> ServeSocket:
        """Return the handler of a WebSocket, which is refused before it is opened."""

        async def endpoint(websocket: WebSocket) -> None:
            if INSIDE in websocket.scope:
                await serve(websocket)
                return
            who = caller(websocket.scope)
            if self._open.get(who, 0) >= self._most:
                text = f"Too many streams: {self._most} may be open at the same time."
                response = detail(429, text, {"retry-after": "1"})
                await refuse(response, websocket.scope, websocket.receive, websocket.send)
                return
            self._enter(who)
            try:
                await serve(websocket)
            finally:
                self._leave(who)

        return endpoint

    def _held(self, answer: ASGIApp, who: str) -> ASGIApp:
        async def send_answer(scope: Scope, receive: Receive, send: Send) -> None:
            try:
                await answer(scope, receive, send)
            finally:
                self._leave(who)

        send_answer.status_code = getattr(answer, "status_code", 200)  # type: ignore[attr-defined]
        return send_answer

    def _enter(self, who: str) -> None:
        self._open[who] = self._open.get(who, 0) + 1

    def _leave(self, who: str) -> None:
        left = self._open[who] - 1
        if left:
            self._open[who] = left
        else:
            del self._open[who]


def caller(scope: Scope) -> str:
    """Return who asks: the authenticated user, else the address.

    Of IPv6 it is the network: one user has all the addresses of one.
    """
    identity = getattr(scope.get("user"), "identity", None)
    if isinstance(identity, str) and identity:
        return f"user {identity}"
    return address_of(scope)


def address_of(scope: Scope) -> str:
    """Return the address of a client, of IPv6 its network."""
    client = scope.get("client")
    return "address unknown" if client is None else f"address {_network(client[0])}"


def _network(host: str) -> str:
    try:
        address = ip_address(host)
    except ValueError:
        return host
    if not isinstance(address, IPv6Address):
        return host
    mapped = address.ipv4_mapped
    return str(mapped) if mapped is not None else address.packed[:8].hex()


def count_command(scope: Scope) -> None:
    """Count what has come over an open WebSocket like a request.

    Raises:
        TooManyRequests: more has come than is allowed.
    """
    take = scope.get(RATE)
    wait = 0.0 if take is None else take(caller(scope))
    if wait > 0:
        raise TooManyRequests(wait)


class TooManyRequests(Exception):
    """``seconds`` is when to come back."""

    def __init__(self, wait_seconds: float) -> None:
        self.seconds: int = max(1, math.ceil(wait_seconds))
        super().__init__(f"Too many requests. Try again in {self.seconds} s.")


def too_many(wait_seconds: float) -> Response:
    """Return the answer that tells when to come back."""
    error = TooManyRequests(wait_seconds)
    return detail(429, str(error), {"retry-after": str(error.seconds)})


def _below_root(scope: Scope) -> str:
    root, path = scope.get("root_path", ""), str(scope["path"])
    return path.removeprefix(root)


def _head_size(scope: Scope) -> int:
    line = len(scope.get("raw_path") or b"") + len(scope["query_string"])
    return line + sum(len(name) + len(value) + 4 for name, value in scope["headers"])


def _declared(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value) if value.isdigit() else 0
    return 0
