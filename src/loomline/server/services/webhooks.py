"""Where webhooks may go: asked when a run is created, and again when one is sent."""

from __future__ import annotations

from dataclasses import dataclass

from loomline.server.domain.webhooks import (
    Target,
    WebhookPolicy,
    check_addresses,
    gets_headers,
    parse_target,
)
from loomline.server.ports.webhooks import Resolver


@dataclass(frozen=True, slots=True)
class Route:
    """Where a webhook goes and the address that has been checked; None: the server itself.

    ``with_headers``: the configured headers are sent along.
    """

    target: Target
    address: str | None
    with_headers: bool = False


class WebhookGuard:
    def __init__(self, policy: WebhookPolicy, resolver: Resolver, *, enabled: bool = True) -> None:
        self._policy = policy
        self._resolver = resolver
        self.enabled = enabled

    async def route(self, url: str) -> Route:
        """Return how a webhook gets to its URL. Every address of its host is checked.

        Raises:
            WebhookBlocked: the URL is not valid or not allowed.
            WebhookUnresolved: its host has no address.
        """
        target = parse_target(url, self._policy)
        if not target.host:
            return Route(target, None)
        addresses = await self._resolver.addresses(target.host, target.port)
        check_addresses(addresses, self._policy)
        return Route(target, addresses[0], gets_headers(target, self._policy))

    async def check(self, url: str | None) -> None:
        """Make sure that a webhook may be sent to a URL, if there is one.

        Raises:
            WebhookBlocked: the URL is not valid or not allowed.
            WebhookUnresolved: its host has no address.
        """
        if url is not None and self.enabled:
            await self.route(url)
