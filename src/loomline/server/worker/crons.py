"""Starts the runs of crons that are due."""

from __future__ import annotations

import logging
from datetime import datetime
from typing import cast
from uuid import uuid4

from loomline.server.authz.users import Caller
from loomline.server.domain.crons import Cron, Firing, firing, run_fields
from loomline.server.domain.errors import AlreadyFired, LoomlineError, StorageUnavailable
from loomline.server.domain.json import JsonObject
from loomline.server.duties import Duty
from loomline.server.ports.clock import Clock
from loomline.server.ports.sealing import ACTING, Acting
from loomline.server.ports.storage import Storage
from loomline.server.services.requests import RunCreateRequest
from loomline.server.services.run_request import RunRequest
from loomline.server.services.runs import RunService

logger: logging.Logger = logging.getLogger("loomline.worker")

POLL_SECONDS = 0.5
"""How late a cron may be at most: one that was made meanwhile, elsewhere, is not waited for."""

BATCH = 100

ROUNDS = 100
"""Batches before the clock is looked at again."""


class CronStarter:
    """Looks for due crons and starts their runs until it is stopped.

    Any number of processes may look. The date of a cron moves in the transaction that creates its
    run: whoever comes second finds it moved, and who is killed before has changed nothing.
    """

    def __init__(self, storage: Storage, runs: RunService, clock: Clock) -> None:
        self._storage = storage
        self._runs = runs
        self._clock = clock
        self._duty = Duty("crons", self._start_due, logger=logger, sleep=clock.sleep)

    def start(self) -> None:
        self._duty.start()

    async def stop(self) -> None:
        await self._duty.stop()

    async def _patience(self) -> float:
        due = await self._storage.crons.next_due()
        if due is None:
            return POLL_SECONDS
        return min(max((due - self._clock.now()).total_seconds(), 0.0), POLL_SECONDS)

    async def _start_due(self) -> float:
        """Start the runs of all due crons and return the seconds until the next look."""
        for _ in range(ROUNDS):
            now = self._clock.now()
            crons = await self._storage.crons.due(now, BATCH)
            for cron in crons:
                await self._fire(cron, now)
            if len(crons) < BATCH:
                break
        return await self._patience()

    async def _fire(self, cron: Cron, now: datetime) -> None:
        assert cron.next_run_date is not None, "it would not be due"
        due = firing(cron, cron.next_run_date, now)
        if not due.starts or not await self._start(cron, due):
            await self._storage.crons.pass_over(due)

    async def _start(self, cron: Cron, due: Firing) -> bool:
        """Create the run of a due time; return False where that is not possible."""
        named = {"cron_id": str(cron.cron_id)}
        ACTING.set(Acting(metadata=cron.sealing))
        try:
            request = RunRequest(_body(cron), cron.thread_id, request_id=str(uuid4()), firing=due)
            created = await self._runs.create(Caller.load(cron.user), request)
        except AlreadyFired:
            return True
        except StorageUnavailable:
            raise  # it stays due
        except LoomlineError as error:
            # The graph may be gone, the thread busy: the next time is another.
            logger.warning("a cron could not start a run: %s", error, extra=named)
            return False
        except Exception:  # a handler of users may raise anything; the others' runs must start
            logger.exception("a cron could not start a run", extra=named)
            return False
        run = created.run
        found = {"run_id": str(run.run_id), "thread_id": str(run.thread_id)}
        logger.info("cron started a run", extra={**named, **found})
        return True


def _body(cron: Cron) -> RunCreateRequest:
    """Return the request of a cron's run: its payload, with the cron's metadata."""
    fields: JsonObject = {**run_fields(cron.payload), "metadata": cron.metadata}
    if cron.thread_id is None:
        fields["on_completion"] = cron.on_run_completed or "delete"
    return cast("RunCreateRequest", fields)
