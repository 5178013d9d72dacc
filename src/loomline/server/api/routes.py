"""The route table: the router serves it, and the OpenAPI document describes it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from starlette.requests import Request
from starlette.routing import Match, Route, WebSocketRoute
from starlette.types import ASGIApp, Scope

from loomline.server.api.entries import Entry, Resource
from loomline.server.api.errors import Handler, guarded
from loomline.server.api.limits import StreamLimit
from loomline.server.api.metrics import measured
from loomline.server.api.schemas import STREAM
from loomline.server.ports.measures import Measures


def table(resources: Sequence[Resource]) -> list[Entry]:
    """Return the routes of all resources, in their order."""
    return [entry for resource in resources for entry in resource.table()]


def enabled(resources: Sequence[Resource], disabled: Collection[str]) -> list[Resource]:
    """Return the resources that are left when groups of routes are switched off."""
    return [resource for resource in resources if resource.group not in disabled]


def open_paths(resources: Sequence[Resource]) -> frozenset[str]:
    """Return the paths that are served without authentication."""
    return frozenset(entry.path for entry in table([each for each in resources if each.open]))


def starlette_routes(
    entries: Sequence[Entry], measures: Measures, streams: StreamLimit | None = None
) -> list[Route]:
    """Return one route per path for the router, which lists the methods of a path in its errors.

    ``streams`` counts the answers that stay open.
    """
    places: dict[str, dict[str, Handler]] = {}
    for entry in entries:
        handler = entry.handler
        if streams is not None and _stays_open(entry):
            handler = streams.limited(handler)
        handler = measured(guarded(handler), entry.method, entry.path, measures)
        places.setdefault(entry.path, {})[entry.method] = handler
    return [
        Route(path, _by_method(handlers), methods=list(handlers))
        for path, handlers in places.items()
    ]


def starlette_sockets(
    resources: Sequence[Resource], streams: StreamLimit | None = None
) -> list[WebSocketRoute]:
    """Return the routes of WebSockets, which ``streams`` counts."""
    limited = (lambda serve: serve) if streams is None else streams.limited_socket
    return [
        WebSocketRoute(socket.path, limited(socket.serve))
        for resource in resources
        for socket in resource.sockets()
    ]


def path_params(routes: Sequence[Route], scope: Scope) -> Mapping[str, Any]:
    """Return the parameters in a path, for a route of any method; empty where no route fits."""
    for route in routes:
        match, found = route.matches(scope)
        if match is not Match.NONE:
            params: Mapping[str, Any] = found["path_params"]
            return params
    return {}


def _stays_open(entry: Entry) -> bool:
    return entry.answer is STREAM or entry.path.endswith(("/wait", "/join"))


def _by_method(handlers: Mapping[str, Handler]) -> Handler:
    async def endpoint(request: Request) -> ASGIApp:
        return await handlers["GET" if request.method == "HEAD" else request.method](request)

    return endpoint
