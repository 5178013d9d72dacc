"""Rules for browsers that use a server: the options, the section ``http``, the bound address."""

from __future__ import annotations

import re
import socket
from collections.abc import Sequence
from typing import Final

from loomline.server.domain.addresses import is_loopback
from loomline.server.domain.origins import BrowserPolicy, Hosts, Origins
from loomline.server.settings.loading import Settings
from loomline.server.settings.origins import EVERY

_ALL_INTERFACES: Final = frozenset({"0.0.0.0", "::", "[::]"})  # noqa: S104 - compared, not bound  # nosec B104


def browser_policy(settings: Settings) -> BrowserPolicy:
    """Return the rules for browsers that use a server of these settings."""
    protected, near = settings.auth is not None, is_loopback(settings.host)
    named = (*settings.allowed_hosts, *settings.http.allowed_hosts)
    checked = not protected or bool(named)
    return BrowserPolicy(
        hosts=_hosts(settings.host, named, near=near) if checked else None,
        origins=_origins(settings),
        known_callers=protected,
        open_probes=not near,
    )


def browser_warnings(settings: Settings) -> tuple[str, ...]:
    """Return sentences about settings that let every web page in."""
    found = []
    policy = browser_policy(settings)
    if settings.auth is None and policy.origins.every:
        found.append(
            'EVERY WEB PAGE MAY USE THIS SERVER: the allowed origins include "*", and no'
            ' authentication is configured. Name the pages in "http.cors.allow_origins" or'
            " --allowed-origins."
        )
    if settings.auth is None and policy.hosts is not None and policy.hosts.every:
        found.append(
            'The allowed hosts include "*", and no authentication is configured, so a web page can'
            " use this server by giving a name of its own this server's address. Name the hosts"
            ' in "http.allowed_hosts" or --allowed-hosts.'
        )
    if settings.studio_origin and not settings.dev:
        found.append(
            "studio_origin is left out: it is for loomline dev. Name pages that may use a server"
            " with --allowed-origins."
        )
    return tuple(found)


def _hosts(bound: str, named: Sequence[str], *, near: bool) -> Hosts:
    names = {name.lower() for name in named}
    if bound not in _ALL_INTERFACES:
        names.add(bound.lower() if ":" not in bound else f"[{bound.lower().strip('[]')}]")
    if not near:
        own = socket.gethostname().lower()
        names |= {own, own.partition(".")[0]} - {""}
    return Hosts(frozenset(names), addresses=not near, every=EVERY in names)


def _origins(settings: Settings) -> Origins:
    cors = settings.http.cors
    studios = settings.studio_origin if settings.dev else ()
    names = {*(cors.allow_origins or ()), *settings.allowed_origins, *studios}
    pattern = cors.allow_origin_regex
    return Origins(
        names=frozenset(names - {EVERY}),
        pattern=None if pattern is None else re.compile(pattern),
        every=EVERY in names,
    )
