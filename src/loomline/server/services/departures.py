"""Runs that stop because nobody is left who would read them."""

from __future__ import annotations

import asyncio
import itertools
import logging
from contextlib import suppress
from dataclasses import dataclass
from uuid import UUID

from loomline.server.authz.errors import Refused
from loomline.server.authz.users import Caller
from loomline.server.domain.errors import NothingToCancel, RunNotFound, StorageUnavailable
from loomline.server.duties import Duty, Pauses
from loomline.server.ports.clock import Clock
from loomline.server.services.runs import RunService

logger: logging.Logger = logging.getLogger("loomline.runs")

_RETRY_SECONDS = 1.0

# Clients that leave while the database is away. Of more the first ones are forgotten.
_REMEMBERED = 10_000

# What the end of a process may wait for a database that hangs.
_LAST_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class _Departure:
    caller: Caller
    thread_id: UUID | None
    run_id: UUID
    reason: str


class Departures:
    """Stops the runs of clients that have left, as soon as the database lets it.

    A departure is forgotten once it is recorded, so what is interrupted on the way is tried again.
    """

    def __init__(self, runs: RunService, clock: Clock) -> None:
        self._runs = runs
        self._clock = clock
        self._waiting: dict[int, _Departure] = {}
        self._numbers = itertools.count()
        self._some = asyncio.Event()
        self._duty = Duty(
            "departures", self._retry, logger=logger, sleep=clock.sleep,
            pauses=Pauses(_RETRY_SECONDS, _RETRY_SECONDS),
        )  # fmt: skip

    def start(self) -> None:
        self._duty.start()

    async def stop(self) -> None:
        """Try what is left for a last time."""
        await self._duty.stop()
        with suppress(TimeoutError, StorageUnavailable):
            async with asyncio.timeout(_LAST_SECONDS):
                await self._try_all()
        if self._waiting:
            logger.error(
                "runs go on although their clients have left", extra={"runs": len(self._waiting)}
            )

    async def leave(
        self, caller: Caller, thread_id: UUID | None, run_id: UUID, *, reason: str
    ) -> None:
        """Stop a run whose client has left, now or when the database is back."""
        if len(self._waiting) >= _REMEMBERED:
            oldest = self._waiting.pop(next(iter(self._waiting)))
            logger.error(
                "a run goes on although its client has left", extra={"run_id": str(oldest.run_id)}
            )
        number = next(self._numbers)
        self._waiting[number] = _Departure(caller, thread_id, run_id, reason)
        try:
            await self._try(number)
        except StorageUnavailable:
            pass  # the duty tries again, and logs an outage that lasts
        finally:
            if self._waiting:
                self._some.set()

    async def _retry(self) -> float:
        await self._some.wait()
        await self._clock.sleep(_RETRY_SECONDS)
        await self._try_all()
        if not self._waiting:
            self._some.clear()
        return 0.0

    async def _try_all(self) -> None:
        """Record all departures, up to the first failure: an outage concerns all of them.

        Raises:
            StorageUnavailable: The database could not be reached.
        """
        for number in list(self._waiting):
            await self._try(number)

    async def _try(self, number: int) -> None:
        departure = self._waiting.get(number)
        if departure is None:
            return
        try:
            await self._stop(departure)
        except StorageUnavailable:
            raise
        except (NothingToCancel, RunNotFound, Refused):
            pass  # it ended while the client was leaving, or is not the client's to stop
        except Exception:  # one that cannot be stopped must not keep the others from it
            logger.exception("a run cannot be stopped", extra={"run_id": str(departure.run_id)})
        self._waiting.pop(number, None)

    async def _stop(self, departure: _Departure) -> None:
        caller, run_id = departure.caller, departure.run_id
        place = departure.thread_id or (await self._runs.get(caller, None, run_id)).thread_id
        await self._runs.cancel(caller, place, run_id, "interrupt", reason=departure.reason)
