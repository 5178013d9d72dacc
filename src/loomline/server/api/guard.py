"""The first look at a request: a web page may not use a server that was not made for it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Final

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from loomline._client.exchange import IN_PROCESS
from loomline.server.api.authentication import route_path
from loomline.server.api.errors import detail, refuse
from loomline.server.domain.origins import BrowserPolicy, Origins, Visit, refusal

logger: logging.Logger = logging.getLogger("loomline.api")

_READS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_SECURE: Final = frozenset({"https", "wss"})
_PAGES: Final = frozenset({"/", "/docs", "/info", "/ok", "/openapi.json"})
_STUDIO: Final = "/studio"
_PROBES: Final = frozenset({"/ok", "/metrics"})

_ASKS_PRIVATE: Final = "access-control-request-private-network"
_ASKS_PRIVATE_RAW: Final = _ASKS_PRIVATE.encode()
_OK: Final = 200

_LOGGED_MOST: Final = 100
"""Different refusals that are logged: pages choose the values."""


class BrowserGuard:
    """Middleware that refuses requests of foreign pages before their bodies are read.

    Args:
        app: The application behind it.
        policy: What is allowed.
        is_page: Tells whether a path belongs to the user's own application.
    """

    def __init__(
        self, app: ASGIApp, policy: BrowserPolicy, is_page: Callable[[Scope], bool] | None = None
    ) -> None:
        self._app = app
        self._policy = policy
        self._is_page = is_page
        self._logged: set[str] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        reason = None
        if scope["type"] in {"http", "websocket"} and IN_PROCESS not in scope:
            reason = self._judge(scope)
        if reason is None:
            await self._app(scope, receive, send)
        else:
            await refuse(detail(403, reason), scope, receive, send)

    def _judge(self, scope: Scope) -> str | None:
        headers = Headers(scope=scope)
        if any(len(headers.getlist(name)) > 1 for name in ("host", "origin")):
            return "A request must have one Host and at most one Origin header."
        visit = self._visit(scope, headers)
        reason = refusal(visit, self._policy)
        if reason is None:
            return None
        self._log(reason)
        # The answer to a preflight is that of CORS, which tells browsers the same.
        return None if self._is_preflight(scope, headers, visit) else reason

    def _visit(self, scope: Scope, headers: Headers) -> Visit:
        path = route_path(scope)
        page = path in _PAGES or path == _STUDIO or path.startswith(f"{_STUDIO}/")
        return Visit(
            host=headers.get("host"),
            origin=headers.get("origin"),
            site=headers.get("sec-fetch-site"),
            mode=headers.get("sec-fetch-mode"),
            secure=scope.get("scheme") in _SECURE,
            reads=scope.get("method", "GET") in _READS,
            websocket=scope["type"] == "websocket",
            cookie="cookie" in headers,
            page=page or (self._is_page is not None and self._is_page(scope)),
            probe=path in _PROBES,
        )

    def _is_preflight(self, scope: Scope, headers: Headers, visit: Visit) -> bool:
        asks = "access-control-request-method" in headers and visit.origin is not None
        if not asks or scope.get("method") != "OPTIONS":
            return False
        # Under a wrong host nothing is answered: the page would take the server for its own.
        return refusal(Visit(host=visit.host, probe=visit.probe), self._policy) is None

    def _log(self, reason: str) -> None:
        if reason not in self._logged and len(self._logged) < _LOGGED_MOST:
            self._logged.add(reason)
            logger.warning("a request was refused: %s", reason)


class Cors(CORSMiddleware):
    """CORS whose preflights answer for private networks as well.

    A page of a public address may use a server on a private one if the origin of the page may use
    it at all. Starlette has an option for that, but not in every supported version, and without
    the option it refuses such preflights.
    """

    def preflight_response(self, request_headers: Headers) -> Response:
        """Return the answer to a preflight."""
        asked = request_headers.get(_ASKS_PRIVATE) == "true"
        plain = Headers(raw=[each for each in request_headers.raw if each[0] != _ASKS_PRIVATE_RAW])
        response = super().preflight_response(plain)
        if asked and response.status_code == _OK:
            response.headers["access-control-allow-private-network"] = "true"
        return response


class OriginsCors(Cors):
    """CORS for exactly the pages that the guard lets in."""

    def __init__(self, app: ASGIApp, /, *, origins: Origins, **options: Any) -> None:  # noqa: ANN401 - Starlette's own
        super().__init__(app, **options)
        self._origins = origins

    def is_allowed_origin(self, origin: str) -> bool:
        """Return whether a page of an origin may read answers."""
        return self._origins.include(origin)
