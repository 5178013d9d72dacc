"""Which host names belong to a server, and which web pages may use it.

A browser sends requests to every address that a page names, this machine's own included, so the
address that a request comes from says nothing about its author. The headers ``Host``, ``Origin``
and ``Sec-Fetch-*`` do: a page cannot set them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from loomline.server.domain.addresses import is_loopback, parse_address

_AUTHORITY: Final = re.compile(r"(\[[0-9A-Fa-f:.%]+\]|[^\s:/?#@\\\[\]]+)(?::([0-9]{1,5}))?")
_PORTS: Final = {"http": 80, "https": 443}
_SHOWN: Final = 200


@dataclass(frozen=True, slots=True)
class Visit:
    """The parts of a request that tell which page, if any, has caused it.

    Attributes:
        host: The header ``Host``; None: there is none, which no browser does.
        origin: The header ``Origin``.
        site: The header ``Sec-Fetch-Site``.
        mode: The header ``Sec-Fetch-Mode``.
        secure: Whether the request came over TLS.
        reads: Whether the method is GET, HEAD or OPTIONS.
        websocket: Whether a WebSocket is to be opened.
        cookie: Whether cookies were sent.
        page: Whether the path is a page that a link may lead to.
        probe: Whether the path is a health check.
    """

    host: str | None
    origin: str | None = None
    site: str | None = None
    mode: str | None = None
    secure: bool = False
    reads: bool = True
    websocket: bool = False
    cookie: bool = False
    page: bool = False
    probe: bool = False


@dataclass(frozen=True, slots=True)
class Hosts:
    """Names of a server besides those of the loopback interface.

    Attributes:
        names: Host names and addresses, in lower case; ``*.example.com`` is every name below it.
        addresses: Whether every IP address counts. Another party cannot make an address lead
            here, as it can with a name of its own (DNS rebinding).
        every: Whether every name counts.
    """

    names: frozenset[str] = frozenset()
    addresses: bool = False
    every: bool = False

    def include(self, host: str) -> bool:
        """Return whether a host is one of these."""
        if self.every or is_loopback(host) or host in self.names:
            return True
        if parse_address(host) is not None:
            return self.addresses
        return any(f"*{host[at:]}" in self.names for at, each in enumerate(host) if each == ".")


@dataclass(frozen=True, slots=True)
class Origins:
    """Pages that may use a server, besides its own and those of the loopback interface.

    Attributes:
        names: Origins, like ``https://chat.example.com``.
        pattern: A pattern that an origin may match as a whole.
        every: Whether all pages may.
    """

    names: frozenset[str] = frozenset()
    pattern: re.Pattern[str] | None = None
    every: bool = False

    @property
    def configured(self) -> bool:
        """Whether any origin was named."""
        return bool(self.names or self.pattern or self.every)

    def name(self, origin: str) -> bool:
        """Return whether an origin is named, other than by ``*``."""
        return origin in self.names or bool(self.pattern and self.pattern.fullmatch(origin))

    def include(self, origin: str) -> bool:
        """Return whether a page of an origin may use the server."""
        return self.every or self.name(origin) or is_local(origin)


@dataclass(frozen=True, slots=True)
class BrowserPolicy:
    """The rules for browsers that use a server.

    Attributes:
        hosts: The names of the server; None: any.
        origins: The pages that may use it.
        known_callers: Whether every caller has to prove its identity. The credentials are then in
            headers that foreign pages cannot send; cookies and WebSockets are the exceptions.
        open_probes: Whether health checks are answered under any name.
    """

    hosts: Hosts | None = field(default_factory=Hosts)
    origins: Origins = field(default_factory=Origins)
    known_callers: bool = False
    open_probes: bool = False


def refusal(visit: Visit, policy: BrowserPolicy) -> str | None:
    """Return the sentence with which a request is refused; None: it may pass."""
    host = None if visit.host is None else split_authority(visit.host)
    if visit.host is not None and (reason := _wrong_host(visit, host, policy)):
        return reason
    if policy.known_callers and not _needs_origin(visit, policy):
        return None
    if visit.origin is not None:
        return None if _may_use(visit, visit.origin, host, policy) else _foreign(visit.origin)
    if visit.site == "cross-site" and not _follows_link(visit) and not policy.origins.every:
        return (
            "A page of another site has caused this request, and its browser does not say which"
            " page. Send the request with an Origin header, from a page that --allowed-origins"
            " names."
        )
    return None


def split_authority(text: str) -> tuple[str, int | None] | None:
    """Return the host, in lower case, and the port of ``host:port``; None: it is malformed."""
    found = _AUTHORITY.fullmatch(text)
    if found is None:
        return None
    host = found[1].lower().removesuffix(".")
    return host, None if found[2] is None else int(found[2])


def parse_origin(text: str) -> tuple[str, str, int] | None:
    """Return scheme, host and port of the origin of a web page; None: it is not of that form."""
    scheme, divider, rest = text.partition("://")
    authority = split_authority(rest)
    if not divider or scheme not in _PORTS or authority is None:
        return None
    host, port = authority
    return scheme, host, _PORTS[scheme] if port is None else port


def plain_origin(text: str) -> str:
    """Return an origin the way browsers write it.

    Raises:
        ValueError: the string is not an origin.
    """
    try:
        parts = urlsplit(text.strip())
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if not parts.scheme or not parts.hostname or parts.path.strip("/") or parts.query:
        raise ValueError("must be origins like https://chat.example.com, without a path")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    usual = port is None or port == _PORTS.get(parts.scheme)
    return f"{parts.scheme}://{host}" if usual else f"{parts.scheme}://{host}:{port}"


def is_local(origin: str) -> bool:
    """Return whether an origin is a page that this machine serves for itself."""
    found = parse_origin(origin)
    return found is not None and is_loopback(found[1])


def _wrong_host(
    visit: Visit, host: tuple[str, int | None] | None, policy: BrowserPolicy
) -> str | None:
    if policy.hosts is None or (visit.probe and policy.open_probes):
        return None
    if host is not None and policy.hosts.include(host[0]):
        return None
    return (
        f"The host '{_shown(visit.host or '')}' is not a name of this server. If it should be, add"
        ' it with --allowed-hosts or to "http.allowed_hosts" in langgraph.json.'
    )


def _needs_origin(visit: Visit, policy: BrowserPolicy) -> bool:
    """Return whether a page could use credentials that are not its own."""
    if visit.site in {"same-origin", "none"}:  # also where a proxy has replaced the host
        return False
    by_cookie = visit.cookie and (visit.websocket or not visit.reads)
    return by_cookie or (visit.websocket and policy.origins.configured)


def _may_use(
    visit: Visit, origin: str, host: tuple[str, int | None] | None, policy: BrowserPolicy
) -> bool:
    origins = policy.origins
    if origins.every or origins.name(origin) or _is_same(visit, origin, host):
        return True
    # Where callers are known, a page of this machine is foreign to a server elsewhere.
    near = not policy.known_callers or (host is not None and is_loopback(host[0]))
    return near and is_local(origin)


def _is_same(visit: Visit, origin: str, host: tuple[str, int | None] | None) -> bool:
    """Return whether a page comes from this server itself."""
    found = parse_origin(origin)
    if found is None or host is None:
        return False
    scheme, name, port = found
    if visit.secure and scheme != "https":
        return False
    # A proxy in front may do TLS, so the scheme of the origin decides the default port.
    return name == host[0] and port == (_PORTS[scheme] if host[1] is None else host[1])


def _follows_link(visit: Visit) -> bool:
    """Return whether a browser follows a link to a page. Such a request changes nothing."""
    return visit.page and visit.reads and not visit.websocket and visit.mode == "navigate"


def _foreign(origin: str) -> str:
    if origin == "null":
        return (
            "A page without an origin of its own (Origin: null), like a file or a sandboxed frame,"
            " may not use this server. Open the page over HTTP from localhost, or from an origin"
            " that --allowed-origins names."
        )
    return (
        f"A page of '{_shown(origin)}' may not use this server. If it should, name this origin with"
        ' --allowed-origins or in "http.cors.allow_origins" in langgraph.json.'
    )


def _shown(text: str) -> str:
    return "".join(each if each.isprintable() else "?" for each in text[:_SHOWN])
