"""Everything below a prefix of the path, and what load balancers look at in its place as well."""

from __future__ import annotations

from typing import Final

from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from loomline.server.api.errors import detail
from loomline.server.api.inside import INSIDE

_ALSO_AT_ROOT: Final = frozenset({"/", "/ok", "/metrics"})


class MountPrefix:
    """An application below a prefix like ``/agents``; the rest of the address is empty."""

    def __init__(self, app: ASGIApp, prefix: str) -> None:
        self._app = app
        self._prefix = prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in {"http", "websocket"} or INSIDE in scope:
            await self._app(scope, receive, send)
            return
        root, path = scope.get("root_path", ""), scope["path"]
        inside = path.removeprefix(root)
        if inside.startswith(f"{self._prefix}/"):
            below = {**scope, "root_path": f"{root}{self._prefix}"}
            await self._app(below, receive, send)
        elif inside in _ALSO_AT_ROOT:
            await self._app(scope, receive, send)
        elif inside == self._prefix:
            await RedirectResponse(f"{path}/")(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})
        else:
            await detail(404, "Not Found")(scope, receive, send)
