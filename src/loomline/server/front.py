"""What stands before the routes: limits, headers for browsers, the user's own application."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any, Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.routing import Mount, Route
from starlette.types import ASGIApp

from loomline._version import __version__
from loomline.server.api.acting import ActingUser
from loomline.server.api.authentication import Authentication, Gate
from loomline.server.api.describing import merged
from loomline.server.api.entries import Resource
from loomline.server.api.errors import http_exception
from loomline.server.api.guard import BrowserGuard, Cors, OriginsCors
from loomline.server.api.hosting import CustomApp, Layer
from loomline.server.api.jsonrules import JsonRules
from loomline.server.api.limits import (
    AttemptLimit,
    Rate,
    RateLimit,
    RequestSize,
    StreamLimit,
    TokenBuckets,
)
from loomline.server.api.openapi import document
from loomline.server.api.pages import NoSniffing
from loomline.server.api.prefix import MountPrefix
from loomline.server.api.requestlog import RequestLog
from loomline.server.api.routes import (
    enabled,
    open_paths,
    path_params,
    starlette_routes,
    starlette_sockets,
    table,
)
from loomline.server.authn.setup import AuthSetUp
from loomline.server.domain.addresses import is_loopback
from loomline.server.graphs.loader import load_attribute
from loomline.server.ports.measures import Measures
from loomline.server.services.headers import HeaderPicker
from loomline.server.settings import JSON_DEPTH_MOST, CorsSettings, Settings, browser_policy

# Clients read their runs' places from the first two.
EXPOSED_HEADERS: Final = (
    "content-location", "location", "x-pagination-total", "x-pagination-next", "retry-after",
    "idempotent-replayed",
)  # fmt: skip

_BURST_SECONDS: Final = 10

Lifespan = Callable[[], AbstractAsyncContextManager[None]]


class Front:
    """Puts a server's routes behind what the settings ask for.

    Args:
        settings: What is asked for.
        auth: What tells who asks and refuses who may not.

    Raises:
        GraphLoadError: the user's application cannot be loaded.
    """

    def __init__(self, settings: Settings, auth: AuthSetUp) -> None:
        self._settings = settings
        self._auth = auth
        self._browsers = browser_policy(settings)
        spec = settings.http.app
        self._custom = None
        if spec is not None:
            self._custom = CustomApp.of(load_attribute(spec), spec.source)

    @property
    def headers(self) -> HeaderPicker:
        """Return what picks the headers that runs may read."""
        rules = self._settings.http.configurable_headers
        return HeaderPicker(rules.includes, rules.excludes)

    def guard(self) -> Middleware:
        """Return the middleware that refuses requests of foreign web pages."""
        page = None if self._custom is None else self._custom.matches
        return Middleware(BrowserGuard, policy=self._browsers, is_page=page)

    def describe(self, resources: Sequence[Resource]) -> bytes:
        """Return the OpenAPI document of the resources and of the user's application."""
        settings, auth = self._settings, self._auth
        limited = settings.requests_per_second or settings.streams_per_user
        ours = document(
            enabled(resources, settings.http.disabled),
            __version__,
            protected=auth.protected,
            errors=(429,) if limited else (),
            extra=auth.openapi,
        )
        return ours if self._custom is None else merged(ours, self._custom.openapi())

    def application(
        self, resources: Sequence[Resource], measures: Measures, lifespan: Lifespan
    ) -> Starlette:
        """Return the application; ``lifespan`` is around that of the user's."""
        most = self._settings.streams_per_user
        streams = StreamLimit(most) if most else None
        served = enabled(resources, self._settings.http.disabled)
        plain = starlette_routes(table(served), measures, streams)
        routes = [*plain, *starlette_sockets(served, streams)]
        gate = self._gate(plain, open_paths(resources))
        outside, limit = self._outer_layers(), self._rate_limit()
        inside = [Middleware(Authentication, gate=gate), *self._inner_layers(limit)]
        handlers = {HTTPException: http_exception}
        if self._custom is None:
            return Starlette(
                routes=routes,
                middleware=[*outside, *inside],
                exception_handlers=handlers,
                lifespan=lambda _: self._lifespan(lifespan),
            )
        http = self._settings.http
        hosted = self._custom.serving(
            Starlette(routes=routes, exception_handlers=handlers),
            authenticate=_all_of(inside),
            order=http.middleware_order,
            everywhere=http.enable_custom_route_auth,
            limit=_all_of(limit),
        )
        return Starlette(
            routes=[Mount("", app=hosted)],
            middleware=outside,
            exception_handlers=handlers,
            lifespan=lambda _: self._lifespan(lifespan),
        )

    @asynccontextmanager
    async def _lifespan(self, ours: Lifespan) -> AsyncIterator[None]:
        async with ours():
            if self._custom is None:
                yield
                return
            async with self._custom.lifespan():
                yield

    def _outer_layers(self) -> list[Middleware]:
        settings = self._settings
        layers = [
            self.guard(),
            self._cors(),
            Middleware(NoSniffing),
            Middleware(
                RequestSize,
                header_bytes=settings.header_limit_bytes,
                body_bytes=settings.body_limit_bytes,
                json=_json_rules(settings),
            ),
        ]
        if settings.http.mount_prefix:
            layers.insert(0, Middleware(MountPrefix, prefix=settings.http.mount_prefix))
        logged = settings.http.logging_headers
        if logged.includes:
            picker = HeaderPicker(logged.includes, logged.excludes)
            layers.insert(0, Middleware(RequestLog, headers=picker))
        return layers

    def _cors(self) -> Middleware:
        cors, origins = self._settings.http.cors, self._browsers.origins
        options = _cors_options(cors)
        if cors.allow_origins is not None:
            named = (*cors.allow_origins, *origins.names)
            return Middleware(Cors, allow_origins=named, **options)
        if self._auth.protected and not origins.configured:
            # Credentials are in headers, which pages of other origins do not have.
            return Middleware(Cors, allow_origins=("*",), **options)
        return Middleware(OriginsCors, origins=origins, **options)

    def _rate_limit(self) -> list[Middleware]:
        buckets = self._buckets()
        return [] if buckets is None else [Middleware(RateLimit, buckets=buckets)]

    def _buckets(self) -> TokenBuckets | None:
        per_second = self._settings.requests_per_second
        if not per_second:
            return None
        burst = self._settings.request_burst or max(1, round(per_second * _BURST_SECONDS))
        return TokenBuckets(Rate(per_second, burst))

    def _inner_layers(self, limit: list[Middleware]) -> list[Middleware]:
        if self._settings.encryption is None:
            return limit
        return [*limit, Middleware(ActingUser)]

    def _gate(self, routes: Sequence[Route], unasked: frozenset[str]) -> Gate:
        settings, auth = self._settings, self._auth
        gate = Gate(
            authenticator=auth.authenticator,
            path_params=partial(path_params, routes),
            body_limit=settings.body_limit_bytes,
            studio=auth.studio and settings.dev and is_loopback(settings.host),
            studio_origins=self._browsers.origins.name,
            open_paths=unasked,
        )
        attempts = self._buckets()
        if attempts is not None:
            gate = replace(gate, attempt=AttemptLimit(attempts))
        if self._custom is None or not settings.http.enable_custom_route_auth:
            return gate
        # A page of theirs is not open because one of ours, which it replaces, would be.
        return replace(gate, closed=self._custom.matches)


def _all_of(layers: Sequence[Middleware]) -> Layer | None:
    if not layers:
        return None

    def around(app: ASGIApp) -> ASGIApp:
        for cls, args, kwargs in reversed(layers):
            app = cls(app, *args, **kwargs)
        return app

    return around


def _json_rules(settings: Settings) -> JsonRules:
    fields = {
        "metadata": settings.metadata_limit_bytes,
        "context": settings.context_limit_bytes,
        "config": settings.config_limit_bytes,
    }
    depth = None if settings.json_depth == JSON_DEPTH_MOST else settings.json_depth
    return JsonRules(settings.json_values, fields, depth)


def _cors_options(settings: CorsSettings) -> dict[str, Any]:
    exposed = settings.expose_headers or EXPOSED_HEADERS
    return {
        "allow_origin_regex": settings.allow_origin_regex,
        "allow_methods": settings.allow_methods,
        "allow_headers": settings.allow_headers,
        "allow_credentials": settings.allow_credentials,
        # Without these two clients do not find the runs they have started.
        "expose_headers": tuple(dict.fromkeys([*exposed, "content-location", "location"])),
        "max_age": settings.max_age_seconds,
    }
