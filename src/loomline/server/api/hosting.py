"""The user's own application around ours: its routes first, then ours, all in its middleware.

Ours becomes the last route of theirs, so whatever they have put around their routes is around ours
as well. Their object is changed only once, whoever serves it how often: what differs between
servers travels in the scope of each request.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, Literal, TypeAlias

from starlette.applications import Starlette
from starlette.datastructures import URL, URLPath
from starlette.middleware import Middleware
from starlette.responses import RedirectResponse
from starlette.routing import BaseRoute, Match, NoMatchFound
from starlette.types import ASGIApp, Receive, Scope, Send

from loomline.server.domain.errors import GraphLoadError

Order: TypeAlias = Literal["middleware_first", "auth_first"]

Layer: TypeAlias = Callable[[ASGIApp], ASGIApp]
"""Puts something around an application."""

_OURS: Final = "loomline.ours"
_INNERMOST: Final = "loomline.innermost"

_FASTAPI: Final = "fastapi.applications"
_MERGED: Final = frozenset({"/docs", "/openapi.json"})


class CustomApp:
    """An application of Starlette or FastAPI that ours is served behind."""

    def __init__(self, app: Starlette) -> None:
        self._app = app
        self._state: Mapping[str, Any] = {}
        self._adopt()

    @classmethod
    def of(cls, found: object, source: str) -> CustomApp:
        """Return the application that a configuration names.

        Raises:
            GraphLoadError: it is none.
        """
        if isinstance(found, Starlette):
            return cls(found)
        raise GraphLoadError(
            "http.app",
            source,
            f"it is of type '{type(found).__name__}'. It must be an application of Starlette or"
            " FastAPI; put others behind a Mount of one.",
            "application",
        )

    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        """Start and stop the application with the server."""
        async with self._app.router.lifespan_context(self._app) as state:
            # Servers put it into each request; ours enters lifespans itself.
            self._state = state or {}
            yield

    def serving(
        self,
        ours: ASGIApp,
        *,
        authenticate: Layer | None = None,
        order: Order = "middleware_first",
        everywhere: bool = False,
        limit: Layer | None = None,
    ) -> ASGIApp:
        """Return the whole: requests that fit none of their routes are for ``ours``.

        Args:
            ours: The application behind theirs.
            authenticate: What is put around ours, and around theirs if ``everywhere``.
            order: Whether their middleware is outside of ``authenticate`` or inside.
            everywhere: Whether their routes need authentication as well.
            limit: What is put around theirs where ``authenticate`` is not.
        """
        theirs = None if limit is None else self._for_theirs(limit)
        if authenticate is None:
            return self._around(ours, theirs)
        if everywhere and order == "auth_first":
            return authenticate(self._around(ours, None))
        if everywhere:
            return self._around(ours, _made_once(authenticate))
        if order == "auth_first":
            open_to_all = self._around(ours, theirs)
            return self._either(open_to_all, authenticate(open_to_all))
        return self._around(authenticate(ours), theirs)

    def matches(self, scope: Scope) -> bool:
        """Return whether a request is for one of their routes."""
        return any(
            route.matches(scope)[0] is Match.FULL
            for route in self._app.routes
            if not isinstance(route, _Ours)
        )

    def openapi(self) -> Mapping[str, Any]:
        """Return what they say about their routes; of Starlette alone there is nothing to say."""
        method = getattr(self._app, "openapi", None)
        return method() if callable(method) else {}

    def _adopt(self) -> None:
        routes = self._app.router.routes
        # One document describes both: theirs is part of ours.
        routes[:] = [route for route in routes if not _is_generated(route)]
        if not any(isinstance(route, _Ours) for route in routes):
            routes.append(_Ours())
            self._app.user_middleware.append(Middleware(_Innermost))

    def _around(self, ours: ASGIApp, innermost: Layer | None) -> ASGIApp:
        async def serve(scope: Scope, receive: Receive, send: Send) -> None:
            state = {**scope.get("state", {}), **self._state}
            extended = {**scope, "state": state, _OURS: ours, _INNERMOST: innermost}
            # A router leaves the one alone that is there; this is about theirs.
            extended.pop("router", None)
            await self._app(extended, receive, send)

        return serve

    def _for_theirs(self, layer: Layer) -> Layer:
        return _made_once(lambda app: self._either(layer(app), app))

    def _either(self, theirs: ASGIApp, others: ASGIApp) -> ASGIApp:
        async def serve(scope: Scope, receive: Receive, send: Send) -> None:
            await (theirs if self.matches(scope) else others)(scope, receive, send)

        return serve


class _Ours(BaseRoute):
    """The last route: it fits everything, and so a wrong method of an earlier one as well."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        return (Match.FULL if _OURS in scope else Match.NONE), {}

    def url_path_for(self, name: str, /, **path_params: object) -> URLPath:
        raise NoMatchFound(name, path_params)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        elsewhere = _with_other_slash(scope)
        if elsewhere is not None:
            await RedirectResponse(elsewhere)(scope, receive, send)
            return
        # Ours has its own way through its routes.
        own = {key: value for key, value in scope.items() if key not in {"router", "route"}}
        await scope[_OURS](own, receive, send)


class _Innermost:
    """Their innermost middleware: whatever a server has to put between it and the routes."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        layer: Layer | None = scope.get(_INNERMOST)
        app = self._app if layer is None else layer(self._app)
        await app(scope, receive, send)


def _made_once(layer: Layer) -> Layer:
    """Return a layer that keeps what it has made: what it counts is not for one request."""
    made: list[ASGIApp] = []

    def around(app: ASGIApp) -> ASGIApp:
        if not made:
            made.append(layer(app))
        return made[0]

    return around


def _with_other_slash(scope: Scope) -> str | None:
    """Return where a route of theirs is that the path misses by a slash at its end."""
    router, path = scope["router"], scope["path"]
    if scope["type"] != "http" or not router.redirect_slashes or path == "/":
        return None
    other = path.rstrip("/") if path.endswith("/") else f"{path}/"
    moved = {**scope, "path": other}
    theirs = (route for route in router.routes if not isinstance(route, _Ours))
    if all(route.matches(moved)[0] is Match.NONE for route in theirs):
        return None
    return str(URL(scope=moved))


def _is_generated(route: BaseRoute) -> bool:
    """Return whether FastAPI has made a route that describes the application."""
    endpoint = getattr(route, "endpoint", None)
    made = getattr(endpoint, "__module__", None) == _FASTAPI
    return made and getattr(route, "path", None) in _MERGED
