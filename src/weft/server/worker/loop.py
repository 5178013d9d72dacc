"""The worker: takes runs from the queue, keeps their leases, and stops them when told."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from functools import partial
from uuid import UUID

from weft.server.domain.errors import StorageUnavailable
from weft.server.domain.runs import Claim, Stop
from weft.server.ports.clock import Clock
from weft.server.ports.events import EventLog
from weft.server.ports.signals import STOP, WORK, Listener, Signals
from weft.server.ports.storage import Storage
from weft.server.worker.execute import Assignment, Executor, Lost, Release
from weft.server.worker.runners import Job, RunnerPool

logger: logging.Logger = logging.getLogger("weft.worker")


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """``poll_seconds`` is how long a lost signal can delay a run."""

    name: str
    concurrency: int
    lease_seconds: float
    max_attempts: int
    poll_seconds: float = 2.0
    grace_seconds: float = 10.0
    claim_batch: int = 32


class Worker:
    """Executes runs on a pool of runners until it is stopped."""

    def __init__(
        self,
        *,
        storage: Storage,
        events: EventLog,
        signals: Signals,
        clock: Clock,
        executor: Executor,
        pool: RunnerPool,
        options: WorkerOptions,
    ) -> None:
        self._storage = storage
        self._events = events
        self._signals = signals
        self._clock = clock
        self._executor = executor
        self._pool = pool
        self._options = options
        self._active: dict[UUID, tuple[Assignment, Job]] = {}
        self._idle = asyncio.Event()
        self._idle.set()
        self._draining = False
        self._looked_at = clock.now()
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def active(self) -> int:
        """How many runs this worker has at the moment."""
        return len(self._active)

    @property
    def concurrency(self) -> int:
        """How many runs this worker can have."""
        return self._options.concurrency

    async def start(self, *, orphaned: bool) -> None:
        """Begin to work.

        Args:
            orphaned: Whether no other worker can be alive, so that every running run is a leftover.
        """
        await self._reclaim(orphaned=orphaned)
        self._pool.start()
        for duty in (self._dispatch, self._keep_leases, self._pool.watch):
            self._tasks.append(asyncio.create_task(self._persist(duty), name=duty.__name__))

    async def stop(self) -> None:
        """Let running runs end within the grace period, hand the others back, stop the threads."""
        self._draining = True
        if not await self._wait_idle(self._options.grace_seconds):
            self._order(list(self._active), Release())
            await self._wait_idle(self._options.grace_seconds)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._pool.stop()

    async def _persist(self, duty: Callable[[], Awaitable[None]]) -> None:
        """Do a duty for ever, again after the database was away."""
        while True:
            try:
                await duty()
            except StorageUnavailable as error:
                logger.warning("the database is away: %s", error)
            except Exception:  # a bug in one round must not end the worker
                logger.exception("a duty of the worker failed")
            await self._clock.sleep(self._options.poll_seconds)

    async def _dispatch(self) -> None:
        async with self._signals.listen(WORK, STOP) as hints:
            while True:
                more = await self._claim()
                if not more:
                    await self._wait(hints)

    async def _wait(self, hints: Listener) -> None:
        topics = {topic for topic, _ in await hints.wait(await self._patience())}
        if STOP in topics:
            await self._renew()

    async def _patience(self) -> float:
        # From the last look on: what has become due since then has not been taken by it.
        after = self._looked_at
        due = None if self._draining else await self._storage.runs.next_due(after)
        if due is None:
            return self._options.poll_seconds
        seconds = (due - self._clock.now()).total_seconds()
        return min(max(seconds, 0.0), self._options.poll_seconds)

    async def _claim(self) -> bool:
        """Take as many runs as there is room for; return whether there may be more."""
        self._looked_at = self._clock.now()
        room = self._options.concurrency - len(self._active)
        if room <= 0 or self._draining:
            return False
        limit = min(room, self._options.claim_batch)
        options = self._options
        claims = await self._storage.runs.claim(options.name, limit, options.lease_seconds)
        for claim in claims:
            self._begin(claim)
        return len(claims) == limit

    def _begin(self, claim: Claim) -> None:
        assignment = Assignment(claim, order=claim.stop)
        job = Job(
            name=str(claim.run.run_id),
            start=partial(self._execute, assignment, asyncio.get_running_loop()),
            finishing=lambda: assignment.finishing,
        )
        self._active[claim.run.run_id] = (assignment, job)
        self._idle.clear()
        self._pool.submit(job)

    async def _execute(self, assignment: Assignment, home: asyncio.AbstractEventLoop) -> None:
        """Run on the runner's loop, and tell the worker's own loop when it is over."""
        try:
            await self._executor.execute(assignment)
        finally:
            full = len(self._active) >= self._options.concurrency
            home.call_soon_threadsafe(self._ended, assignment)
        if full:
            # Only a full worker has left runs in the queue that nobody will signal again.
            await self._signals.publish(WORK)

    def _ended(self, assignment: Assignment) -> None:
        run_id = assignment.claim.run.run_id
        held = self._active.get(run_id)
        if held is not None and held[0] is assignment:
            del self._active[run_id]
        if not self._active:
            self._idle.set()

    async def _keep_leases(self) -> None:
        while True:
            await self._clock.sleep(self._options.lease_seconds / 3)
            await self._renew()
            await self._reclaim(orphaned=False)

    async def _renew(self) -> None:
        if not self._active:
            return
        claims = [assignment.claim for assignment, _ in self._active.values()]
        options = self._options
        renewal = await self._storage.runs.renew(options.name, claims, options.lease_seconds)
        self._order(renewal.lost, Lost())
        for run_id, stop in renewal.stops.items():
            self._order([run_id], stop)

    def _order(self, run_ids: Iterable[UUID], order: Stop | Release | Lost) -> None:
        for run_id in run_ids:
            held = self._active.get(run_id)
            if held is not None and held[0].order is None:
                held[0].order = order
                self._pool.cancel(held[1])

    async def _reclaim(self, *, orphaned: bool) -> None:
        found = await self._storage.runs.reclaim(
            max_attempts=self._options.max_attempts, orphaned=orphaned
        )
        for run_id in found.requeued:
            logger.warning("run continues after its worker was lost", extra={"run_id": str(run_id)})
        for run_id in found.given_up:
            logger.error("run failed too often and is given up", extra={"run_id": str(run_id)})
            await self._events.close(str(run_id), self._options.lease_seconds)
        if found.requeued:
            await self._signals.publish(WORK)

    async def _wait_idle(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True
