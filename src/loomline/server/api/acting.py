"""Tells those who encrypt on whose behalf a request stores something."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from loomline.server.api.inside import INSIDE
from loomline.server.ports.sealing import ACTING, Acting


class ActingUser:
    """Stands inside of authentication. Calls from inside the server act for whoever makes them."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in {"http", "websocket"} or INSIDE in scope:
            await self._app(scope, receive, send)
            return
        token = ACTING.set(Acting(scope.get("user")))
        try:
            await self._app(scope, receive, send)
        finally:
            ACTING.reset(token)
