"""Crons."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol
from uuid import UUID

from loomline.server.domain.access import EVERYTHING, Condition
from loomline.server.domain.crons import Cron, CronFilter, CronQuery, Firing
from loomline.server.domain.filters import Page
from loomline.server.domain.json import JsonObject


class CronStorage(Protocol):
    async def create(self, cron: Cron, *, access: Condition = EVERYTHING) -> Cron:
        """Store a cron.

        Raises:
            ThreadNotFound: it is for a thread that does not exist.
        """
        ...

    async def get(self, cron_id: UUID, *, access: Condition = EVERYTHING) -> Cron:
        """Return a cron.

        Raises:
            CronNotFound: there is none with this id.
        """
        ...

    async def update(
        self, cron_id: UUID, fields: JsonObject, now: datetime, *, access: Condition = EVERYTHING
    ) -> Cron:
        """Apply ``domain.crons.patched`` to a cron. Of concurrent updates none is lost.

        Raises:
            CronNotFound: there is none with this id.
            InvalidInput: the new schedule never comes true.
        """
        ...

    async def delete(self, cron_id: UUID, *, access: Condition = EVERYTHING) -> None:
        """Remove a cron. Those of a thread or an assistant also go with it.

        Raises:
            CronNotFound: there is none with this id.
        """
        ...

    async def search(self, query: CronQuery) -> Page[Cron]:
        """Return a page of the crons that match, and the true total."""
        ...

    async def count(self, where: CronFilter) -> int:
        """Return how many crons match."""
        ...

    async def due(self, now: datetime, limit: int) -> Sequence[Cron]:
        """Return crons that are due, the longest due first, as they are.

        Due are those that are enabled, with ``next_run_date`` at or before ``now``. They stay so
        until a run is created with their firing, or the firing is passed over.
        """
        ...

    async def pass_over(self, firing: Firing) -> bool:
        """Move a cron's date without a run; return False where somebody else has moved it."""
        ...

    async def next_due(self) -> datetime | None:
        """Return when the next cron is due, which may be in the past; None: there is none."""
        ...
