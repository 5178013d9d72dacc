"""The worker: takes runs from the queue, keeps their leases, and stops them when told."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import UUID

from loomline.server.domain.events import LAST_FENCE
from loomline.server.domain.measures import (
    RUN_WAIT,
    RUNS_CLAIMED,
    RUNS_ENDED,
    RUNS_GIVEN_UP,
    RUNS_REPEATED,
    RUNS_REQUEUED,
)
from loomline.server.domain.retention import Retention
from loomline.server.domain.runs import ATTEMPTS_EXHAUSTED, Claim, Stop
from loomline.server.duties import Duties, Duty, Pauses
from loomline.server.ports.clock import Clock
from loomline.server.ports.events import EventLog
from loomline.server.ports.measures import NO_MEASURES, Measures
from loomline.server.ports.signals import STOP, WEBHOOK, WORK, Listener, Signals
from loomline.server.ports.storage import Storage
from loomline.server.worker.endings import failure_events
from loomline.server.worker.execute import Assignment, Executor, Lost, Release
from loomline.server.worker.residents import Resident
from loomline.server.worker.runners import Job, Runner

logger: logging.Logger = logging.getLogger("loomline.worker")


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """``poll_seconds`` is how long a lost signal can delay a run.

    A ``concurrency`` of 0 is a worker that takes none. ``look_seconds``: how often runs with an
    expired lease are looked for. ``release_seconds``: how long runs may take to stop when they
    are cancelled for the end of the process. A run that blocks is ended ``overdue_seconds`` after
    its timeout, whatever it is doing. ``shared``: other workers may take runs over. Only runs of
    ``graphs`` are taken; None: of any.
    """

    name: str
    concurrency: int
    lease_seconds: float
    max_attempts: int
    grace_seconds: float
    retention: Retention
    poll_seconds: float = 2.0
    claim_batch: int = 32
    look_seconds: float = 1.0
    release_seconds: float = 2.0
    overdue_seconds: float = 2.0
    shared: bool = False
    graphs: frozenset[str] | None = None


class Worker:
    """Executes runs on a runner until it is stopped."""

    def __init__(
        self,
        *,
        storage: Storage,
        events: EventLog,
        signals: Signals,
        clock: Clock,
        executor: Executor,
        runner: Runner,
        options: WorkerOptions,
        residents: Sequence[Resident[Any]] = (),
        measures: Measures = NO_MEASURES,
    ) -> None:
        self._storage = storage
        self._events = events
        self._signals = signals
        self._clock = clock
        self._executor = executor
        self._runner = runner
        self._residents = residents
        self._options = options
        self._active: dict[UUID, tuple[Assignment, Job]] = {}
        self._idle = asyncio.Event()
        self._idle.set()
        self._claiming = asyncio.Lock()
        self._draining_since: float | None = None
        self._looked_at = clock.now()
        self._measures = measures
        self._hints: Listener
        self._duties = Duties(self._make_duties() if options.concurrency else ())

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
        self._runner.start()
        for resident in self._residents:
            await resident.start()
        if self._options.concurrency:
            await self._reclaim(orphaned=orphaned)
            await self._tell_unknown()
        self._duties.start()

    def _make_duties(self) -> Iterable[Duty]:
        options = self._options
        yield self._duty("claims", self._dispatch, 0.0, within=self._listening)
        yield self._duty("leases", self._renew, options.lease_seconds / 3)
        yield self._duty("lost runs", self._look_for_lost, options.look_seconds)
        yield self._duty("overdue runs", self._end_overdue, options.overdue_seconds / 2)
        if options.shared:
            yield self._duty("unheld runs", self._stop_unheld, options.lease_seconds / 12)

    def _duty(
        self,
        name: str,
        act: Callable[[], Awaitable[None]],
        seconds: float,
        within: Callable[[], AbstractAsyncContextManager[object]] = nullcontext,
    ) -> Duty:
        async def round_() -> float:
            await act()
            return seconds

        return Duty(
            name, round_, logger=logger, sleep=self._clock.sleep, after_seconds=seconds,
            within=within, pauses=Pauses(most_seconds=self._options.poll_seconds),
        )  # fmt: skip

    async def _tell_unknown(self) -> None:
        if self._options.graphs is None:
            return
        stats = await self._storage.runs.stats(graphs=self._options.graphs)
        if stats.unknown_graph:
            logger.warning(
                "runs wait for graphs that are not served here", extra={"runs": stats.unknown_graph}
            )

    def drain(self) -> None:
        """Take no more runs. The grace period begins."""
        if self._draining_since is None:
            self._draining_since = _time()
            logger.info("no more runs are taken", extra={"running": len(self._active)})

    async def stop(self) -> None:
        """Let running runs end within the grace period, hand the others over, stop the threads.

        After the grace period, for as long again, runs are handed over before their next step.
        Those that are still in a step then are cancelled, and their step will begin again.
        """
        self.drain()
        await self._settle_claims()
        grace = self._options.grace_seconds
        if not await self._wait_idle(grace - self._drained_for()):
            for assignment, _ in self._active.values():
                assignment.hand_over()
            await self._wait_idle(2 * grace - self._drained_for())
        if self._active:
            self._order(list(self._active), Release())
            await self._wait_idle(self._options.release_seconds)
            await self._give_back()
        await self._duties.stop()
        for resident in reversed(self._residents):
            await resident.stop()
        await self._runner.stop()

    async def _give_back(self) -> None:
        """Put runs back into the queue that a blocked loop has not even begun."""
        waiting = [assignment for assignment, job in self._active.values() if not job.started]
        with suppress(TimeoutError):
            async with asyncio.timeout(self._options.release_seconds):
                for assignment in waiting:
                    await self._executor.give_back(assignment)
                    self._ended(assignment)

    async def _settle_claims(self) -> None:
        # The database may be taking runs for us at this moment. Whoever did not wait for the answer
        # would have runs that nobody executes until their lease has run out.
        with suppress(TimeoutError):
            async with asyncio.timeout(self._options.release_seconds), self._claiming:
                return

    @asynccontextmanager
    async def _listening(self) -> AsyncIterator[None]:
        async with self._signals.listen(WORK, STOP) as self._hints:
            yield

    async def _dispatch(self) -> None:
        # Runs that a blocked loop could not begin are left to other workers.
        await self._runner.responsive.wait()
        more = await self._claim()
        if not more:
            await self._wait()

    async def _wait(self) -> None:
        hinted = await self._hints.wait(await self._patience())
        stops = {payload for topic, payload in hinted if topic == STOP}
        # Without a name it may be any run: hints have been missed.
        if "" in stops or not stops.isdisjoint(map(str, self._active)):
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
        options = self._options
        async with self._claiming:
            self._looked_at = self._clock.now()
            limit = min(options.concurrency - len(self._active), options.claim_batch)
            if limit <= 0 or self._draining:
                return False
            until = _time() + options.lease_seconds
            with self._measures.span("claim") as span:
                claims = await self._storage.runs.claim(
                    options.name, limit, options.lease_seconds, graphs=options.graphs
                )
                span.note(runs=len(claims))
            for claim in claims:
                self._begin(claim, until)
        return len(claims) == limit

    def _begin(self, claim: Claim, until: float) -> None:
        run_id = claim.run.run_id
        self._measures.count(RUNS_CLAIMED)
        self._measures.count(RUNS_REPEATED, amount=int(claim.run.attempt > 1))
        waited = (self._clock.now() - claim.run.created_at).total_seconds()
        self._measures.observe(RUN_WAIT, max(waited, 0.0))
        assignment = Assignment(claim, order=claim.stop, held_until=until)
        if self._options.shared and until <= _time():
            # The answer took longer than the lease: another worker may have begun the run by now.
            assignment.order = assignment.order or Release()
        before = self._active.get(run_id)
        job = Job(
            name=str(run_id),
            start=partial(
                self._execute,
                assignment,
                asyncio.get_running_loop(),
                None if before is None else before[0],
            ),
            finishing=lambda: assignment.finishing,
        )
        # The run may have been lost, unnoticed, and come back to this worker.
        self._order([run_id], Lost())
        self._active[run_id] = (assignment, job)
        self._idle.clear()
        self._runner.submit(job)

    async def _execute(
        self,
        assignment: Assignment,
        home: asyncio.AbstractEventLoop,
        before: Assignment | None,
    ) -> None:
        """Execute a run on the runner's loop, and tell the worker's own loop when it is over.

        Args:
            assignment: The run.
            home: The worker's loop.
            before: An earlier execution of the same run, which must end first.
        """
        try:
            if before is not None:
                await self._outlast(before, assignment)
            await self._executor.execute(assignment)
        finally:
            assignment.over.set()
            full = len(self._active) >= self._options.concurrency
            home.call_soon_threadsafe(self._ended, assignment)
        if full:
            # Only a full worker has left runs in the queue that nobody will signal again.
            await self._signals.publish(WORK)

    async def _outlast(self, before: Assignment, after: Assignment) -> None:
        """Wait for an execution that was told to stop, so that no node runs twice at once.

        A node in a thread cannot be stopped; the wait is as long as at the end of the process.
        """
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._options.release_seconds):
                    await before.over.wait()
        except asyncio.CancelledError:
            if after.order is None:
                raise

    def _ended(self, assignment: Assignment) -> None:
        run_id = assignment.claim.run.run_id
        held = self._active.get(run_id)
        if held is not None and held[0] is assignment:
            del self._active[run_id]
            self._measures.count(RUNS_ENDED, assignment.result)
        if not self._active:
            self._idle.set()

    async def _look_for_lost(self) -> None:
        # No claim may be on its way here: its lease could run out before the worker knows it.
        async with self._claiming:
            if self._late(0.0):
                # After an outage: runs that no other worker has taken over are still held here.
                await self._renew()
            await self._reclaim(orphaned=False)

    async def _end_overdue(self) -> None:
        """End runs that the timeout cannot stop, since they block the loop it would come from."""
        grace, now = self._options.overdue_seconds, time.monotonic()
        late = [each for each, _ in self._active.values() if each.overdue(now, grace)]
        for assignment in late:
            await self._executor.expire(assignment)
            self._ended(assignment)
        if late:
            await self._signals.publish(WORK)

    async def _stop_unheld(self) -> None:
        """Stop runs whose leases could not be renewed, before another worker may begin them."""
        late = self._late(self._options.lease_seconds / 6)
        if late:
            logger.warning(
                "stopping runs: the database is unavailable and their leases are about to expire",
                extra={"runs": len(late)},
            )
            self._order(late, Release())

    def _late(self, margin_seconds: float) -> list[UUID]:
        """Return the runs whose lease has run out, or will within the margin."""
        limit = _time() + margin_seconds
        return [
            run_id
            for run_id, (assignment, _) in self._active.items()
            if assignment.held_until <= limit and assignment.order is None
        ]

    async def _renew(self) -> None:
        if not self._active:
            return
        held = [assignment for assignment, _ in self._active.values()]
        options = self._options
        until = _time() + options.lease_seconds
        renewal = await self._storage.runs.renew(
            options.name, [assignment.claim for assignment in held], options.lease_seconds
        )
        for assignment in held:
            assignment.held_until = until
        for run_id in renewal.lost:
            active = self._active.get(run_id)
            # One that has ended in the meantime has no lease either.
            if active is not None and not active[0].finishing:
                logger.warning("a run was taken over", extra={"run_id": str(run_id)})
        self._order(renewal.lost, Lost())
        for run_id, stop in renewal.stops.items():
            self._order([run_id], stop)

    def _order(self, run_ids: Iterable[UUID], order: Stop | Release | Lost) -> None:
        for run_id in run_ids:
            held = self._active.get(run_id)
            if held is not None and held[0].order is None:
                held[0].order = order
                self._runner.cancel(held[1])

    async def _reclaim(self, *, orphaned: bool) -> None:
        found = await self._storage.runs.reclaim(
            max_attempts=self._options.max_attempts, orphaned=orphaned
        )
        for run_id in found.requeued:
            logger.warning("run continues after its worker was lost", extra={"run_id": str(run_id)})
        for run_id in found.given_up:
            logger.error("run failed too often and is given up", extra={"run_id": str(run_id)})
            await self._events.append(str(run_id), failure_events(ATTEMPTS_EXHAUSTED), LAST_FENCE)
            keep = self._options.retention.longest_seconds
            await self._events.close(str(run_id), keep)
        self._measures.count(RUNS_REQUEUED, amount=len(found.requeued))
        self._measures.count(RUNS_GIVEN_UP, amount=len(found.given_up))
        if found.given_up:
            await self._signals.publish(WEBHOOK)
        if found.requeued:
            await self._signals.publish(WORK)

    @property
    def _draining(self) -> bool:
        return self._draining_since is not None

    def _drained_for(self) -> float:
        since, now = self._draining_since, _time()
        return 0.0 if since is None else now - since

    async def _wait_idle(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(max(seconds, 0.0)):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True


def _time() -> float:
    return asyncio.get_running_loop().time()
