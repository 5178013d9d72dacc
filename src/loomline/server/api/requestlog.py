"""A line in the log for each request, with the headers that the configuration names."""

from __future__ import annotations

import logging
import time

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from loomline.server.domain.secrets import masked
from loomline.server.services.headers import HeaderPicker

logger: logging.Logger = logging.getLogger("loomline.requests")


class RequestLog:
    """Logs requests when they have been answered; values of secret headers are not shown."""

    def __init__(self, app: ASGIApp, *, headers: HeaderPicker) -> None:
        self._app = app
        self._headers = headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status, began = 0, time.perf_counter()

        async def send_on(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, send_on)
        finally:
            picked = self._headers.pick(Headers(scope=scope).items())
            logger.info(
                "request",
                extra={
                    "method": scope["method"],
                    "path": scope["path"],
                    "status": status,
                    "duration_ms": round((time.perf_counter() - began) * 1000, 1),
                    "headers": masked(picked.items()),
                },
            )
