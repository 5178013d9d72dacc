"""The thread with the event loop of all graphs of a process.

Locks, clients and connection pools of a graph module belong to the event loop that first uses them,
so all code of the graphs runs on one loop. It is not the API's loop: a node that blocks delays
other runs, but no request.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import sys
import sysconfig
import threading
import time
import traceback
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from loomline.server.duties import Duty

logger: logging.Logger = logging.getLogger("loomline.worker")

LoopFactory = Callable[[], asyncio.AbstractEventLoop]
T = TypeVar("T")

_OWN: Final = str(Path(__file__).parents[2])

_UNCLEAR: Final = 10
"""How many times longer a loop is late before a line outside of the user's code is reported."""


@dataclass(frozen=True, slots=True)
class RunnerOptions:
    """Options of the runner.

    ``threads`` execute sync nodes. A loop that has not answered for ``blocked_seconds`` is reported
    with the line of user code that blocks it.
    """

    threads: int = 64
    tick_seconds: float = 0.05
    blocked_seconds: float = 0.5
    stop_seconds: float = 2.0


@dataclass(eq=False, slots=True)
class Job:
    """Work for the runner. ``start`` is called on the runner's loop.

    A job that is ``cancelled`` before it has started is started nevertheless, and has to look at
    this field: a task that is cancelled before its first step would never execute its clean-up. A
    job that is ``finishing`` is not cancelled any more.
    """

    name: str
    start: Callable[[], Awaitable[None]]
    finishing: Callable[[], bool]
    task: asyncio.Task[None] | None = None
    cancelled: bool = False
    started: bool = False

    async def run(self) -> None:
        self.started = True
        await self.start()


class Runner:
    """One thread with one event loop, and the jobs on it.

    ``start``, ``submit``, ``cancel`` and ``stop`` belong to the loop that owns the runner.
    ``responsive`` is set unless the runner's loop is blocked.
    """

    def __init__(self, options: RunnerOptions, loop_factory: LoopFactory) -> None:
        self.responsive: asyncio.Event = asyncio.Event()
        self.responsive.set()
        self._options = options
        self._loop_factory = loop_factory
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._main, name="loomline-runner", daemon=True)
        self._executor = ThreadPoolExecutor(options.threads, thread_name_prefix="loomline-node")
        self._jobs: set[Job] = set()
        self._busy = asyncio.Event()
        self._asked_at: float | None = None
        self._reported = self._stopping = False
        self._watch = Duty("runner watch", self._look, logger=logger)

    def start(self) -> None:
        self._loop = self._loop_factory()
        self._loop.set_default_executor(self._executor)
        self._thread.start()
        self._watch.start()

    def submit(self, job: Job) -> None:
        self._jobs.add(job)
        self._soon(self._begin, job)
        self._busy.set()

    def cancel(self, job: Job) -> None:
        """Cancel a job, once: a second cancellation would interrupt its clean-up."""
        if job.cancelled:
            return
        job.cancelled = True
        with suppress(RuntimeError):  # the loop is closed, and the job with it
            self._soon(self._cancel, job)

    def wait_for(self, work: Coroutine[Any, Any, T]) -> T:
        """Execute a coroutine on the runner's loop and wait for it on any other thread.

        Raises:
            RuntimeError: The calling thread is the runner's own, which cannot wait for itself.
        """
        if threading.current_thread() is self._thread or self._loop is None:
            work.close()
            raise RuntimeError(
                "A sync method of the store was called in an async node, where the async function"
                " of 'store.index.embed' cannot be waited for. Use the async method with 'await',"
                " or a sync node."
            )
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def begin(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Start a coroutine on the runner's loop that the watch does not wait for."""
        assert self._loop is not None, "the runner has not been started"
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def is_here(self) -> bool:
        """Return whether the caller is on the runner's loop."""
        return threading.current_thread() is self._thread

    async def _look(self) -> float:
        """Report a blocked loop, and the line that blocks it."""
        await self._busy.wait()
        await asyncio.sleep(self._options.tick_seconds)
        self._check(time.monotonic())
        return 0.0

    def blocked_for(self) -> float:
        """Return for how many seconds the loop has not answered."""
        asked = self._asked_at
        return 0.0 if asked is None else time.monotonic() - asked

    async def stop(self) -> None:
        """Stop the thread; a blocked thread is left behind, as a daemon."""
        await self._watch.stop()
        if self._loop is not None:
            self._stopping = True
            self._soon(self._loop.stop)
            await asyncio.to_thread(self._thread.join, self._options.stop_seconds)
            if self._thread.is_alive():
                logger.warning("a node blocks and is left behind", extra=self._where()[1])
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _soon(self, act: Callable[..., object], *given: object) -> None:
        assert self._loop is not None, "the runner has not been started"
        self._loop.call_soon_threadsafe(act, *given)

    def _main(self) -> None:
        loop = self._loop
        assert loop is not None
        asyncio.set_event_loop(loop)
        while not self._stopping:
            try:
                loop.run_forever()
            except (KeyboardInterrupt, SystemExit):
                # A node called sys.exit(): its run fails with that, the loop goes on.
                logger.warning("a node tried to exit the process")
        loop.run_until_complete(_clear())
        loop.close()

    def _begin(self, job: Job) -> None:
        assert self._loop is not None
        # An empty context: nothing of the caller's context may leak into user code.
        job.task = self._loop.create_task(job.run(), name=job.name, context=contextvars.Context())
        job.task.add_done_callback(partial(self._ended, job))

    def _ended(self, job: Job, task: asyncio.Task[None]) -> None:
        self._jobs.discard(job)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            logger.error("a job failed", extra={"job": job.name}, exc_info=error)

    def _cancel(self, job: Job) -> None:
        if job.task is not None and job.started and not job.finishing():
            job.task.cancel()

    def _answer(self) -> None:
        self._asked_at = None

    def _check(self, now: float) -> None:
        if self._asked_at is not None:
            self._report(now - self._asked_at)
            return
        self.responsive.set()
        self._reported = False
        if self._jobs:
            self._asked_at = now
            self._soon(self._answer)
        else:
            self._busy.clear()

    def _report(self, late_seconds: float) -> None:
        limit = self._options.blocked_seconds
        if late_seconds < limit:
            return
        self.responsive.clear()
        if self._reported:
            return
        users, where = self._where()
        # A busy machine delays the thread as well; a line of user code tells a blocking node apart.
        if users or late_seconds >= _UNCLEAR * limit:
            self._reported = True
            logger.warning("a node blocks its event loop: use 'await' or a sync node", extra=where)

    def _where(self) -> tuple[bool, dict[str, object]]:
        """Return the line that the thread is at, and whether it is one of the user's code."""
        frame = sys._current_frames().get(self._thread.ident or 0)  # noqa: SLF001
        stack = traceback.extract_stack(frame) if frame is not None else []
        user = [line for line in stack if not _library(line.filename)]
        where: dict[str, object] = {"jobs": len(self._jobs)}
        for line in (user or stack)[-1:]:
            where |= {"at": f"{line.filename}:{line.lineno} in {line.name}", "line": line.line}
        return bool(user), where


async def _clear() -> None:
    """End the tasks and generators that user code has left on this loop."""
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
    await asyncio.get_running_loop().shutdown_asyncgens()


def _library(filename: str) -> bool:
    foreign = (sysconfig.get_path("stdlib"), _OWN, "<")
    return "site-packages" in Path(filename).parts or filename.startswith(foreign)
