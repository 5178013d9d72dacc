"""What sending webhooks needs of the world."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from loomline.server.domain.json import Encoded
from loomline.server.domain.webhooks import Target


class Resolver(Protocol):
    async def addresses(self, host: str, port: int) -> Sequence[str]:
        """Return the addresses of a host, none where it cannot be resolved in time."""
        ...


class WebhookTransport(Protocol):
    async def post(
        self, target: Target, address: str, headers: Mapping[str, str], content: bytes
    ) -> int:
        """Send a request and return the status of the answer, whose body is not read.

        Redirects are not followed.

        Args:
            target: Where to.
            address: The address to connect to, whatever the name of the host leads to by now.
            headers: Besides those that follow from the target.
            content: The body.

        Raises:
            WebhookFailed: there was no answer.
        """
        ...

    async def post_inside(
        self, target: Target, user: Encoded | None, headers: Mapping[str, str], content: bytes
    ) -> int:
        """Send a request into the server itself and return the status of the answer.

        Args:
            target: The path.
            user: The user that the request acts as, encoded. None: the request is a stranger's,
                and is authenticated like any other.
            headers: Besides those that follow from the target.
            content: The body.

        Raises:
            WebhookFailed: there was no answer.
        """
        ...
