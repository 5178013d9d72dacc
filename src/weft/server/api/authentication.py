"""Finding out who asks, before anything else is done."""

from __future__ import annotations

from typing import Final

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from weft.server.authz.users import SERVER, Caller

CALLER: Final = "weft.caller"
"""Where a scope says on whose behalf the request is. Nothing from outside can put it there."""


class Authentication:
    """Middleware that names the caller of each request."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope.setdefault(CALLER, SERVER)
        await self._app(scope, receive, send)


def caller_of(request: Request) -> Caller:
    """Return on whose behalf a request is.

    Raises:
        KeyError: nobody has found out: the route is one of those that are open to everybody.
    """
    caller: Caller = request.scope[CALLER]
    return caller
