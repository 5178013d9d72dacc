"""How requests travel: over which library, and through which proxies."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from typing import Final
from urllib.request import getproxies

import httpx

CONNECT_RETRIES: Final = 2
"""Further attempts to connect: at once, and after half a second."""

LIMITS: Final = httpx.Limits(max_connections=100, max_keepalive_connections=100)


class FastTransport(httpx.AsyncBaseTransport):
    """The fastest transport that is installed, found out at the first request."""

    def __init__(self) -> None:
        self._chosen: httpx.AsyncBaseTransport | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request; return its answer as soon as its head is there."""
        if self._chosen is None:
            self._chosen = _fastest()
        return await self._chosen.handle_async_request(request)

    async def aclose(self) -> None:
        """Close all connections."""
        if self._chosen is not None:
            await self._chosen.aclose()


def async_transport() -> httpx.AsyncBaseTransport:
    """Return a transport that tries again to connect, and keeps its connections."""
    return FastTransport()


def sync_transport() -> httpx.BaseTransport:
    """Return a transport that tries again to connect, and keeps its connections."""
    return httpx.HTTPTransport(retries=CONNECT_RETRIES, limits=LIMITS)


def async_mounts() -> dict[str, httpx.AsyncBaseTransport | None]:
    """Return the transports for the proxies that the environment names."""
    return {
        pattern: None
        if proxy is None
        else httpx.AsyncHTTPTransport(proxy=proxy, retries=CONNECT_RETRIES, limits=LIMITS)
        for pattern, proxy in proxies(getproxies()).items()
    }


def sync_mounts() -> dict[str, httpx.BaseTransport | None]:
    """Return the transports for the proxies that the environment names."""
    return {
        pattern: None
        if proxy is None
        else httpx.HTTPTransport(proxy=proxy, retries=CONNECT_RETRIES, limits=LIMITS)
        for pattern, proxy in proxies(getproxies()).items()
    }


def proxies(environment: Mapping[str, str]) -> dict[str, str | None]:
    """Return a proxy, or none, for each pattern of addresses.

    Args:
        environment: The proxies by scheme, `no` among them, as `urllib` finds them.
    """
    named = {
        scheme: environment[scheme] for scheme in ("http", "https", "all") if scheme in environment
    }
    if not named:
        return {}
    excepted = [host.strip() for host in environment.get("no", "").split(",")]
    if "*" in excepted:
        return {}
    found: dict[str, str | None] = {
        f"{scheme}://": url if "://" in url else f"http://{url}" for scheme, url in named.items()
    }
    return found | {pattern: None for host in excepted if host for pattern in _patterns(host)}


def _patterns(host: str) -> tuple[str, ...]:
    """Return the patterns for a host that no proxy serves, and for those below it."""
    bare = host.removeprefix(".")
    if bare == "localhost" or bare.replace(".", "").isdigit():
        return (f"all://{bare}",)
    if ":" in bare:
        return (f"all://[{bare.strip('[]')}]",)
    return (f"all://{bare}", f"all://*.{bare}")


def _fastest() -> httpx.AsyncBaseTransport:
    if importlib.util.find_spec("aiohttp") is None:
        return httpx.AsyncHTTPTransport(retries=CONNECT_RETRIES, limits=LIMITS)
    from loomline._client.fast import AiohttpTransport  # noqa: PLC0415 - an optional dependency

    return AiohttpTransport(retries=CONNECT_RETRIES, limits=LIMITS)
