"""Threads with event loops of their own, on which graphs run.

User code may block a loop. The loop of the API must never feel that, and neither should new runs:
jobs wait in one queue that responsive runners take from, so a blocked runner takes none.
"""

from __future__ import annotations

import asyncio
import contextvars
import itertools
import logging
import sys
import sysconfig
import threading
import time
import traceback
from collections import deque
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import FrameType

logger: logging.Logger = logging.getLogger("loomline.worker")

LoopFactory = Callable[[], asyncio.AbstractEventLoop]


@dataclass(frozen=True, slots=True)
class RunnerOptions:
    """``least`` runners are kept; up to ``most`` exist while others are blocked.

    A runner that has not answered for ``late_seconds`` gets no new job; one that has not for
    ``blocked_seconds`` is reported with the line it hangs at. ``threads`` execute sync nodes.
    """

    least: int = 2
    most: int = 16
    threads: int = 64
    tick_seconds: float = 0.05
    late_seconds: float = 0.02
    blocked_seconds: float = 0.5
    stop_seconds: float = 2.0


@dataclass(eq=False, slots=True)
class Job:
    """Something to execute on a runner. ``start`` is called on the runner's loop.

    A job that is ``cancelled`` before it has started is started all the same, and has to look: a
    task that is cancelled before its first step would never run a line of its clean-up. Once it is
    ``finishing`` it is left alone.
    """

    name: str
    start: Callable[[], Awaitable[None]]
    finishing: Callable[[], bool]
    queued_at: float = 0.0
    runner: Runner | None = None
    task: asyncio.Task[None] | None = None
    cancelled: bool = False
    started: bool = False

    async def run(self) -> None:
        self.started = True
        await self.start()


class Runner:
    """One thread, one loop, and the jobs on it."""

    def __init__(
        self, name: str, take: Callable[[Runner], Job | None], loop: asyncio.AbstractEventLoop
    ) -> None:
        self.name = name
        self.jobs: set[Job] = set()
        self.asked_at: float | None = None
        self.reported = False
        self._take = take
        self._loop = loop
        self._stopping = self._retiring = False
        self._thread = threading.Thread(target=self._main, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def ask(self, now: float) -> None:
        """Ask the loop to take a job; until it answers the question stands."""
        if self.asked_at is None:
            self.asked_at = now
        self._loop.call_soon_threadsafe(self._answer)

    def unanswered(self, now: float) -> float:
        """Return for how many seconds the oldest question has stood."""
        asked = self.asked_at
        return 0.0 if asked is None else now - asked

    def cancel(self, job: Job) -> None:
        self._loop.call_soon_threadsafe(self._cancel, job)

    def frame(self) -> FrameType | None:
        """Return what the thread executes at this moment."""
        ident = self._thread.ident
        return None if ident is None else sys._current_frames().get(ident)  # noqa: SLF001

    def request_stop(self) -> None:
        self._stopping = True
        self._loop.call_soon_threadsafe(self._loop.stop)

    def retire(self) -> None:
        """Stop when the last job has ended; no further one is taken.

        What the loop takes at this very moment must not be lost, so it decides itself.
        """
        self._loop.call_soon_threadsafe(self._retire)

    def join(self, seconds: float) -> bool:
        """Wait for the thread; return whether it has ended."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _main(self) -> None:
        asyncio.set_event_loop(self._loop)
        while not self._stopping:
            try:
                self._loop.run_forever()
            except (KeyboardInterrupt, SystemExit):
                # A node called sys.exit(): its run fails with that, the loop goes on.
                logger.warning("a node tried to exit the process", extra={"runner": self.name})
        self._loop.run_until_complete(self._clear())
        self._loop.close()

    async def _clear(self) -> None:
        """End what user code has left running on this loop."""
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        await self._loop.shutdown_asyncgens()

    def _answer(self) -> None:
        self.asked_at = None
        job = None if self._retiring else self._take(self)
        if job is None:
            return
        self.jobs.add(job)
        # An empty context: nothing of the thread that asked may leak into user code.
        job.task = self._loop.create_task(job.run(), name=job.name, context=contextvars.Context())
        job.task.add_done_callback(partial(self._ended, job))

    def _ended(self, job: Job, task: asyncio.Task[None]) -> None:
        self.jobs.discard(job)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            logger.error("a job failed", extra={"job": job.name}, exc_info=error)
        self._leave()

    def _retire(self) -> None:
        self._retiring = True
        self._leave()

    def _leave(self) -> None:
        if self._retiring and not self.jobs and not self._stopping:
            self._stopping = True
            self._loop.stop()

    def _cancel(self, job: Job) -> None:
        if job.task is not None and job.started and not job.finishing():
            job.task.cancel()


class _SharedThreads(ThreadPoolExecutor):
    """The threads of all runners. A loop shuts its executor down when it closes; this one stays."""

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Do nothing: one runner's end is not the end of the others."""

    def end(self) -> None:
        super().shutdown(wait=False, cancel_futures=True)


@dataclass(eq=False, slots=True)
class _Queue:
    lock: threading.Lock = field(default_factory=threading.Lock)
    jobs: deque[Job] = field(default_factory=deque)


class RunnerPool:
    """Runners, the queue they share, and the watch over them.

    ``submit``, ``cancel`` and ``watch`` belong to one loop, the one that owns the pool.
    """

    def __init__(self, options: RunnerOptions, loop_factory: LoopFactory) -> None:
        self._options = options
        self._loop_factory = loop_factory
        self._numbers = itertools.count(1)
        self._queue = _Queue()
        self._runners: list[Runner] = []
        self._executor = _SharedThreads(options.threads, thread_name_prefix="loomline-node")
        self._busy = asyncio.Event()

    @property
    def size(self) -> int:
        """How many runners there are."""
        return len(self._runners)

    def start(self) -> None:
        for _ in range(self._options.least):
            self._add()

    def submit(self, job: Job) -> None:
        now = time.monotonic()
        job.queued_at = now
        with self._queue.lock:
            self._queue.jobs.append(job)
        self._choose(now).ask(now)
        self._busy.set()

    def cancel(self, job: Job) -> None:
        """Cancel a job, once: a second cancellation would hit the clean-up after the first."""
        if job.cancelled:
            return
        job.cancelled = True
        if job.runner is not None:
            job.runner.cancel(job)

    async def watch(self) -> None:
        """Look after the runners for ever: hand jobs on, report what blocks."""
        while True:
            await self._busy.wait()
            await asyncio.sleep(self._options.tick_seconds)
            now = time.monotonic()
            self._check(now)
            if not (self._queue.jobs or any(runner.jobs for runner in self._runners)):
                self._busy.clear()

    async def stop(self) -> None:
        """Stop the threads; one that is blocked is left behind, as a daemon."""
        for runner in self._runners:
            runner.request_stop()
        deadline = time.monotonic() + self._options.stop_seconds
        for runner in self._runners:
            seconds = max(0.0, deadline - time.monotonic())
            if not await asyncio.to_thread(runner.join, seconds):
                logger.warning("a runner is blocked and left behind", extra=_where(runner))
        self._executor.end()

    def _add(self) -> Runner:
        loop = self._loop_factory()
        loop.set_default_executor(self._executor)
        runner = Runner(f"loomline-runner-{next(self._numbers)}", self._take, loop)
        runner.start()
        self._runners.append(runner)
        return runner

    def _take(self, runner: Runner) -> Job | None:
        with self._queue.lock:
            if not self._queue.jobs:
                return None
            job = self._queue.jobs.popleft()
            job.runner = runner
            return job

    def _choose(self, now: float) -> Runner:
        """Return the responsive runner with the fewest jobs; start one if there is none."""
        late = self._options.late_seconds
        responsive = [each for each in self._runners if each.unanswered(now) < late]
        if responsive:
            return min(responsive, key=lambda runner: len(runner.jobs))
        if len(self._runners) < self._options.most:
            return self._add()
        return min(self._runners, key=lambda runner: runner.unanswered(now))

    def _check(self, now: float) -> None:
        for runner in self._runners:
            self._report(runner, now)
            if runner.jobs and runner.asked_at is None:
                runner.ask(now)
        with self._queue.lock:
            oldest = self._queue.jobs[0].queued_at if self._queue.jobs else now
            waiting = len(self._queue.jobs)
        if now - oldest >= self._options.late_seconds:
            for _ in range(waiting):
                self._choose(now).ask(now)
        self._shrink()

    def _report(self, runner: Runner, now: float) -> None:
        if runner.unanswered(now) < self._options.blocked_seconds:
            runner.reported = False
        elif not runner.reported:
            runner.reported = True
            logger.warning(
                "a node blocks its event loop: use 'await' or a sync node", extra=_where(runner)
            )

    def _shrink(self) -> None:
        """Let idle runners beyond the least number go."""
        spare = [each for each in self._runners if not each.jobs and each.asked_at is None]
        surplus = len(self._runners) - self._options.least
        for runner in spare[: max(0, surplus)]:
            self._runners.remove(runner)
            runner.retire()


def _where(runner: Runner) -> dict[str, object]:
    """Return the innermost line of user code that a runner is at, and the lines around it."""
    frame = runner.frame()
    if frame is None:
        return {"runner": runner.name}
    stack = traceback.extract_stack(frame)
    user = [line for line in stack if not _library(line.filename)] or stack
    return {
        "runner": runner.name,
        "jobs": ",".join(sorted(job.name for job in list(runner.jobs))),
        "at": f"{user[-1].filename}:{user[-1].lineno} in {user[-1].name}",
        "line": user[-1].line,
    }


def _library(filename: str) -> bool:
    stdlib = sysconfig.get_path("stdlib")
    return "site-packages" in Path(filename).parts or filename.startswith((stdlib, "<"))
