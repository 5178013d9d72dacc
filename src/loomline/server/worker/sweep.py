"""What is done again and again while a server runs: removing what has expired."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from loomline.server.domain.idempotency import KEEP
from loomline.server.duties import Duties, Duty, Pauses
from loomline.server.ports.clock import Clock
from loomline.server.ports.storage import Storage

logger: logging.Logger = logging.getLogger("loomline.worker")

THREAD_BATCH = 50
"""Threads in one transaction: others must not wait for a thousand of them."""

ITEM_BATCH = 500
ITEMS_MOST = 100_000
"""Items that one sweep deletes; what is left is for the next one."""

DEAD_WEBHOOK_DAYS = 30
WEBHOOK_SWEEP_SECONDS = 3600.0
KEY_SWEEP_SECONDS = 600.0

RETRY_SECONDS = 5.0
"""The pause after a failed sweep; it doubles up to the interval of the sweep."""


@dataclass(frozen=True, slots=True)
class Sweep:
    """A duty. ``act`` returns how many things it has removed."""

    name: str
    interval_seconds: float
    act: Callable[[], Awaitable[int]]


class Sweeper:
    """Does its duties, each in its own interval, until it is stopped."""

    def __init__(self, clock: Clock, sweeps: Sequence[Sweep]) -> None:
        self._duties = Duties(_duty(sweep, clock) for sweep in sweeps)

    def start(self) -> None:
        self._duties.start()

    async def stop(self) -> None:
        await self._duties.stop()


def thread_sweep(storage: Storage, clock: Clock, *, interval_seconds: float, limit: int) -> Sweep:
    """Return the duty to do to expired threads what their TTL says, ``limit`` of them a time."""

    async def act() -> int:
        done = 0
        while done < limit:
            size = min(limit - done, THREAD_BATCH)
            found = await storage.threads.expire(clock.now(), size)
            done += len(found.threads)
            if len(found.threads) < size:
                break
        return done

    return Sweep("threads", interval_seconds, act)


def store_sweep(storage: Storage, clock: Clock, *, interval_seconds: float) -> Sweep:
    """Return the duty to delete expired items of the store, a few at a time."""

    async def act() -> int:
        return await _in_batches(lambda: storage.store.expire(clock.now(), ITEM_BATCH))

    return Sweep("store", interval_seconds, act)


def webhook_sweep(storage: Storage, clock: Clock) -> Sweep:
    """Return the duty to forget webhooks that were given up long ago."""

    async def act() -> int:
        before = clock.now() - timedelta(days=DEAD_WEBHOOK_DAYS)
        return await _in_batches(lambda: storage.webhooks.expire(before, ITEM_BATCH))

    return Sweep("webhooks", WEBHOOK_SWEEP_SECONDS, act)


def key_sweep(storage: Storage, clock: Clock) -> Sweep:
    """Return the duty to forget the keys of requests that are too old to be sent again."""

    async def act() -> int:
        before = clock.now() - KEEP
        return await _in_batches(lambda: storage.runs.forget_keys(before, ITEM_BATCH))

    return Sweep("idempotency keys", KEY_SWEEP_SECONDS, act)


async def _in_batches(expire: Callable[[], Awaitable[int]]) -> int:
    done = 0
    while done < ITEMS_MOST:
        found = await expire()
        done += found
        if found < ITEM_BATCH:
            break
    return done


def _duty(sweep: Sweep, clock: Clock) -> Duty:
    async def act() -> float:
        if removed := await sweep.act():
            logger.info("swept", extra={"sweep": sweep.name, "count": removed})
        return sweep.interval_seconds

    interval = sweep.interval_seconds
    return Duty(
        f"sweep of {sweep.name}",
        act,
        logger=logger,
        sleep=clock.sleep,
        after_seconds=interval,
        pauses=Pauses(min(RETRY_SECONDS, interval), interval),
    )
