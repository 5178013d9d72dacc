"""The section ``http``: what is served, to whom, and what stands around it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, cast

from loomline.server.graphs.spec import GraphSpec
from loomline.server.settings.document import Section
from loomline.server.settings.origins import check_host

Group: TypeAlias = Literal[
    "assistants", "threads", "runs", "store", "mcp", "a2a", "meta", "ui", "webhooks"
]
"""What ``http.disable_*`` can switch off."""

GROUPS: Final[tuple[Group, ...]] = (
    "assistants", "threads", "runs", "store", "mcp", "a2a", "meta", "ui", "webhooks",
)  # fmt: skip

MiddlewareOrder: TypeAlias = Literal["middleware_first", "auth_first"]


@dataclass(frozen=True, slots=True)
class HeaderRules:
    """Which headers are meant: names and ``*`` wildcards. Excludes win; no includes: none."""

    includes: tuple[str, ...] = ()
    excludes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CorsSettings:
    """The section ``http.cors``: the rights of pages of other origins.

    ``allow_origins`` is None where neither it nor ``allow_origin_regex`` is given.
    """

    allow_origins: tuple[str, ...] | None = None
    allow_origin_regex: str | None = None
    allow_methods: tuple[str, ...] = ("*",)
    allow_headers: tuple[str, ...] = ("*",)
    allow_credentials: bool = False
    expose_headers: tuple[str, ...] = ()
    max_age_seconds: int = 600


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """The section ``http``. ``disabled`` names groups of routes that are not there."""

    app: GraphSpec | None = None
    disabled: frozenset[Group] = frozenset()
    cors: CorsSettings = CorsSettings()
    configurable_headers: HeaderRules = HeaderRules()
    logging_headers: HeaderRules = HeaderRules()
    mount_prefix: str = ""
    middleware_order: MiddlewareOrder = "middleware_first"
    enable_custom_route_auth: bool = False
    allowed_hosts: tuple[str, ...] = ()


def http_settings(section: Section, environment: Mapping[str, str]) -> HttpSettings:
    """Return what the section says.

    Raises:
        SettingsError: something does not fit.
    """
    order = section.value("middleware_order", "middleware_first")
    if order not in {"middleware_first", "auth_first"}:
        raise section.error("middleware_order", 'must be "middleware_first" or "auth_first"')
    return HttpSettings(
        app=section.spec("app"),
        disabled=frozenset(each for each in GROUPS if section.flag(f"disable_{each}")),
        cors=_cors(section.inner("cors")),
        configurable_headers=_rules(section.inner("configurable_headers")),
        logging_headers=_rules(section.inner("logging_headers")),
        mount_prefix=_prefix(section, environment),
        middleware_order=cast("MiddlewareOrder", order),
        enable_custom_route_auth=section.flag("enable_custom_route_auth"),
        allowed_hosts=_allowed_hosts(section),
    )


def _allowed_hosts(section: Section) -> tuple[str, ...]:
    found = section.texts("allowed_hosts")
    try:
        for each in found:
            check_host(each)
    except ValueError as error:
        raise section.error("allowed_hosts", str(error)) from None
    return found


def _cors(section: Section) -> CorsSettings:
    plain = CorsSettings()
    pattern = section.text("allow_origin_regex")
    if pattern is not None:
        _check_pattern(section, pattern)
    default = pattern is None and section.value("allow_origins") is None
    return CorsSettings(
        allow_origins=None if default else section.texts("allow_origins"),
        allow_origin_regex=pattern,
        allow_methods=section.texts("allow_methods", plain.allow_methods),
        allow_headers=section.texts("allow_headers", plain.allow_headers),
        allow_credentials=section.flag("allow_credentials"),
        expose_headers=section.texts("expose_headers", plain.expose_headers),
        max_age_seconds=section.whole("max_age", plain.max_age_seconds, least=0, most=10**9),
    )


def _check_pattern(section: Section, pattern: str) -> None:
    try:
        re.compile(pattern)
    except re.error as error:
        raise section.error("allow_origin_regex", f"is no regular expression: {error}") from None


def _rules(section: Section) -> HeaderRules:
    return HeaderRules(
        includes=section.texts("includes", section.texts("include")),
        excludes=section.texts("excludes", section.texts("exclude")),
    )


def _prefix(section: Section, environment: Mapping[str, str]) -> str:
    given = section.text("mount_prefix")
    prefix = environment.get("MOUNT_PREFIX", "") if given is None else given
    if prefix in {"", "/"}:
        return ""
    # "/noauth" is the root path of calls from inside.
    if not re.fullmatch(r"(/[A-Za-z0-9._~-]+)+/?", prefix) or prefix.startswith("/noauth"):
        raise section.error("mount_prefix", f'must be a path like "/agents", not "{prefix}"')
    return prefix.rstrip("/")
