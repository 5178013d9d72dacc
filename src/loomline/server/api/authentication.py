"""Finding out who asks, before anything else is done."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import orjson
from starlette.authentication import AuthCredentials
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from loomline.server.api.body import decoded
from loomline.server.api.errors import BodyTooLarge, answer, refuse
from loomline.server.api.jsonrules import count_values, rules_of
from loomline.server.authz.errors import Refused
from loomline.server.authz.requests import Authenticator
from loomline.server.authz.users import SERVER, Caller, User
from loomline.server.domain.addresses import is_loopback
from loomline.server.domain.origins import is_local, split_authority

CALLER: Final = "loomline.caller"
"""Where a scope says on whose behalf the request is. Nothing from outside can put it there."""

AGAIN: Final = "loomline.caller.again"
"""Where the scope of a WebSocket says how to find out once more on whose behalf it is."""

STUDIO: Final = "langgraph-studio-user"


@dataclass(frozen=True, slots=True)
class Gate:
    """Who is let in. Without an ``authenticator`` everybody is, as nobody in particular.

    ``path_params`` tells those of the route that a scope leads to. ``studio``: requests of a
    studio of this machine are let in unasked, and those of hosted studios that ``studio_origins``
    names. ``open_paths`` are served without authentication, except those that ``closed`` tells.
    ``attempt`` counts refused credentials, and returns an answer in place of the refusal where
    there are too many.
    """

    authenticator: Authenticator | None = None
    path_params: Callable[[Scope], Mapping[str, Any]] = lambda _: {}
    body_limit: int = 0
    studio: bool = False
    studio_origins: Callable[[str], bool] = lambda _: False
    open_paths: frozenset[str] = frozenset()
    closed: Callable[[Scope], bool] = lambda _: False
    attempt: Callable[[Scope], Response | None] = lambda _: None

    def is_open(self, scope: Scope) -> bool:
        """Return whether everybody may ask for this."""
        return route_path(scope) in self.open_paths and not self.closed(scope)


class Authentication:
    """Middleware that names the caller of each request, or answers it."""

    def __init__(self, app: ASGIApp, gate: Gate) -> None:
        self._app = app
        self._gate = gate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in {"http", "websocket"} or CALLER in scope:
            show_user(scope)
            await self._app(scope, receive, send)
            return
        if self._gate.authenticator is None:
            scope[CALLER] = SERVER
        elif not self._gate.is_open(scope):
            receive = await self._identify(self._gate.authenticator, scope, receive, send)
            if CALLER not in scope:
                return
            show_user(scope)
        await self._app(scope, receive, send)

    async def _identify(
        self, authenticator: Authenticator, scope: Scope, receive: Receive, send: Send
    ) -> Receive:
        """Put the caller into the scope, or answer; return what the body is received with."""
        view = _View(scope, receive, self._gate)
        try:
            if self._gate.studio and _is_studio(view, self._gate.studio_origins):
                scope[CALLER] = _studio()
            else:
                scope[CALLER] = await authenticator.authenticate(view)
                scope[AGAIN] = partial(authenticator.authenticate, view)
        except Exception as error:  # noqa: BLE001 - handlers of users may raise anything
            await refuse(self._refusal(error, scope), scope, receive, send)
        return view.body.again

    def _refusal(self, error: Exception, scope: Scope) -> Response:
        """Return the answer to credentials that are refused."""
        refused = isinstance(error, Refused) and error.status < 500
        instead = self._gate.attempt(scope) if refused else None
        return instead or answer(error)


def caller_of(request: HTTPConnection) -> Caller:
    """Return on whose behalf a request is.

    Raises:
        KeyError: nobody has found out: the route is one of those that are open to everybody.
    """
    caller: Caller = request.scope[CALLER]
    return caller


async def caller_again(connection: HTTPConnection) -> Caller:
    """Return on whose behalf a connection is by now, which has been open for a while.

    Raises:
        Refused: its credentials are not valid any more, or are those of somebody else now.
    """
    before = caller_of(connection)
    again: Callable[[], Awaitable[Caller]] | None = connection.scope.get(AGAIN)
    now = before if again is None else await again()
    if now.identity != before.identity:
        raise Refused(401, "The credentials of this connection are somebody else's now.")
    return now


def show_user(scope: Scope) -> None:
    """Give routes of the user's own application the user under the names that they know."""
    caller: Caller | None = scope.get(CALLER)
    if caller is not None and caller.user is not None:
        scope["user"] = caller.user
        scope["auth"] = AuthCredentials(caller.permissions)


def route_path(scope: Scope) -> str:
    """Return the path as the routes know it, without where the application is mounted."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    return path.removeprefix(root) if f"{path}/".startswith(f"{root}/") else path


class _Body:
    """Keeps what an authenticator reads of a body, for whoever reads it afterwards."""

    def __init__(self, receive: Receive, limit: int) -> None:
        self._receive = receive
        self._limit = limit
        self._size = 0
        self._kept: deque[Message] = deque()

    async def __call__(self) -> Message:
        message = await self._receive()
        self._size += len(message.get("body", b""))
        if self._size > self._limit:
            raise BodyTooLarge(f"The request body is larger than the limit of {self._limit} bytes.")
        self._kept.append(message)
        return message

    async def again(self) -> Message:
        return self._kept.popleft() if self._kept else await self._receive()


class _View:
    """A request, as authenticators may look at it."""

    def __init__(self, scope: Scope, receive: Receive, gate: Gate) -> None:
        self.body = _Body(receive, gate.body_limit)
        self._scope = scope
        self._gate = gate
        self.connection = (
            Request(scope, self.body) if scope["type"] == "http" else HTTPConnection(scope)
        )

    def header(self, name: str) -> str | None:
        return self.connection.headers.get(name)

    async def parameter(self, name: str) -> object:
        if name == "body":
            return await self._json()
        if name == "path_params":
            return dict(self._gate.path_params(self._scope))
        values: Mapping[str, Callable[[], object]] = {
            "request": lambda: self.connection,
            "path": lambda: route_path(self._scope),
            "method": lambda: self._scope.get("method", "GET"),
            "query_params": lambda: self.connection.query_params,
            "headers": lambda: dict(self._scope["headers"]),
            "authorization": lambda: self.header("authorization"),
            "scope": lambda: self._scope,
        }
        return values[name]() if name in values else None

    async def _json(self) -> object:
        if not isinstance(self.connection, Request):
            return None
        raw = await self.connection.body()
        rules = rules_of(self.connection)
        if rules is not None:
            count_values(raw, rules.values)
        try:
            value: object = await decoded(raw, partial(orjson.loads, raw))
        except orjson.JSONDecodeError:
            return None
        return value


def _studio() -> Caller:
    fields = {"identity": STUDIO, "kind": "StudioUser", "permissions": ["authenticated"]}
    return Caller(User(fields), studio=True)


def _is_studio(view: _View, hosted: Callable[[str], bool]) -> bool:
    """Tell whether a studio asks from this machine: by no name but its own, for no other page."""
    if (view.header("x-auth-scheme") or "").lower() != "langsmith":
        return False
    client = view.connection.client
    origin, host = view.header("origin"), split_authority(view.header("host") or "")
    return (
        client is not None
        and is_loopback(client.host)
        and host is not None
        and is_loopback(host[0])
        and (origin is None or hosted(origin) or is_local(origin))
    )
