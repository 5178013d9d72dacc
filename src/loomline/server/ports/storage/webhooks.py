"""The outbox of webhooks."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol
from uuid import UUID

from loomline.server.domain.webhooks import DeadWebhook, Delivery, OutboxStats


class WebhookStorage(Protocol):
    """The outbox. Its rows are written by whatever ends a run, in the same transaction."""

    async def claim(
        self, limit: int, lease_seconds: float, *, avoid: Sequence[str] = ()
    ) -> Sequence[Delivery]:
        """Take webhooks that are due, the longest due first; nobody else gets them meanwhile.

        Those that go to hosts in ``avoid`` stay where they are.

        What is not reported within the lease is due again: its sender has died.
        """
        ...

    async def delivered(self, delivery: Delivery) -> None:
        """Remove a webhook that has arrived. Nothing happens when its lease had run out."""
        ...

    async def failed(self, delivery: Delivery, error: str, retry_at: datetime | None) -> None:
        """Note a failed attempt; without ``retry_at`` it was the last one.

        Nothing happens when the lease had run out.
        """
        ...

    async def next_due(self, *, avoid: Sequence[str] = ()) -> datetime | None:
        """Return when the next webhook is due, which may be in the past; None: there is none.

        Those that go to hosts in ``avoid`` do not count.
        """
        ...

    async def release(self) -> None:
        """Make all webhooks that are taken due: whoever took them is known to be dead."""
        ...

    async def dead(self, limit: int) -> Sequence[DeadWebhook]:
        """Return webhooks that were given up, the latest first."""
        ...

    async def retry(self, webhook_id: UUID | None) -> int:
        """Make a webhook that was given up, or (None) all of them, due again from the beginning.

        Raises:
            WebhookNotFound: there is no such one.
        """
        ...

    async def expire(self, before: datetime, limit: int) -> int:
        """Remove webhooks that were given up before a moment; return how many."""
        ...

    async def stats(self) -> OutboxStats:
        """Return how the outbox stands at this moment."""
        ...
