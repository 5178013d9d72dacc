"""The one place where what went wrong becomes a status and a body."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from loomline.server.api.wire import json_response
from loomline.server.authz.errors import BrokenAuth, Refused
from loomline.server.domain.errors import (
    CheckpointIncomplete,
    Conflict,
    ContradictoryInput,
    GraphsBlocked,
    GraphTooSlow,
    InvalidInput,
    LoomlineError,
    NotFound,
    SaverLacks,
    StateRefused,
    StorageUnavailable,
    TooDeep,
    TooManyRuns,
    UnusableInput,
)

logger: logging.Logger = logging.getLogger("loomline.api")

Handler = Callable[[Request], Awaitable[ASGIApp]]


class BodyTooLarge(LoomlineError):
    """A request body beyond the limit."""


_STATUS: Mapping[type[LoomlineError], int] = {
    InvalidInput: 422,
    UnusableInput: 400,
    ContradictoryInput: 400,
    TooDeep: 400,
    StateRefused: 400,
    NotFound: 404,
    Conflict: 409,
    StorageUnavailable: 503,
    GraphTooSlow: 503,
    GraphsBlocked: 503,
    BodyTooLarge: 413,
    BrokenAuth: 500,
    CheckpointIncomplete: 500,
    SaverLacks: 501,
    TooManyRuns: 429,
}

_INTERNAL = "Internal Server Error"

_POLICY_VIOLATION: Final = 1008


def detail(status: int, text: str, headers: Mapping[str, str] | None = None) -> Response:
    return json_response({"detail": text}, status=status, headers=headers)


def status_of(error: Exception) -> int | None:
    """Return the status that an error is answered with; None: it is none that is expected."""
    if isinstance(error, Refused):
        return error.status
    return next((_STATUS[kind] for kind in type(error).__mro__ if kind in _STATUS), None)


def answer(error: Exception) -> Response:
    """Return the answer for an error; what is not for clients is only logged."""
    if isinstance(error, HTTPException):
        return detail(error.status_code, error.detail, error.headers)
    if isinstance(error, BrokenAuth):
        logger.error("%s", error)
    status = status_of(error)
    if status is not None:
        return detail(status, str(error), _headers(error))
    logger.error("request failed", exc_info=error)
    return detail(500, _INTERNAL)


async def refuse(response: Response, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer instead of a route. A WebSocket is not opened: its client gets the same answer."""
    told = "websocket.http.response" in scope.get("extensions", {})
    if scope["type"] == "http" or told:
        await response(scope, receive, send)
    else:
        await send({"type": "websocket.close", "code": _POLICY_VIOLATION})


def _headers(error: Exception) -> Mapping[str, str]:
    if isinstance(error, Refused):
        return error.headers
    if isinstance(error, TooManyRuns):
        return {"retry-after": str(error.retry_after_seconds)}
    return {}


def guarded(handler: Handler) -> Handler:
    """Return the handler with every error turned into an answer."""

    async def endpoint(request: Request) -> ASGIApp:
        try:
            return await handler(request)
        except ClientDisconnect:
            return Response(status_code=499)  # nobody reads it
        except Exception as error:  # noqa: BLE001 - the boundary: nothing may pass it unanswered
            return answer(error)

    return endpoint


async def http_exception(_: Request, error: Exception) -> Response:
    """Answer what the router itself raises: unknown paths and methods."""
    return answer(error)
