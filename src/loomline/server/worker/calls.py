"""Calls of graph code for the API: on the runner, like runs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TypeVar

from loomline.server.domain.errors import GraphsBlocked, GraphTooSlow
from loomline.server.ports.sealing import ACTING
from loomline.server.worker.runners import Job, Runner

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class CallOptions:
    """``most`` calls are under way at a time; the others wait for their turn."""

    most: int = 64
    seconds: float = 60.0


class RunnerCalls:
    """``GraphCalls`` on a runner. It belongs to the loop that owns the runner."""

    def __init__(self, runner: Runner, options: CallOptions | None = None) -> None:
        self._runner = runner
        self._options = options or CallOptions()
        self._room = asyncio.Semaphore(self._options.most)

    async def call(self, name: str, work: Callable[[], Awaitable[T]]) -> T:
        timeout = asyncio.timeout(self._options.seconds)
        try:
            async with timeout, self._room:
                return await self._call(name, work)
        except TimeoutError:
            if not timeout.expired():
                raise
            slow = GraphTooSlow if self._runner.responsive.is_set() else GraphsBlocked
            raise slow(self._options.seconds) from None

    async def _call(self, name: str, work: Callable[[], Awaitable[T]]) -> T:
        result: Future[T] = Future()
        # The caller may go: from now on that does not cancel the result that the job still sets.
        result.set_running_or_notify_cancel()

        # The runner's loop does not know who is acting.
        acting = ACTING.get()

        async def start() -> None:
            ACTING.set(acting)
            if not job.cancelled:
                await _tell(work, result)

        job = Job(name=name, start=start, finishing=result.done)
        self._runner.submit(job)
        try:
            return await asyncio.wrap_future(result)
        except asyncio.CancelledError:
            self._runner.cancel(job)
            raise


class LoopCalls:
    """``GraphCalls`` for callers on the runner's loop too: there the work is executed in place."""

    def __init__(self, runner: Runner, calls: RunnerCalls) -> None:
        self._runner = runner
        self._calls = calls

    async def call(self, name: str, work: Callable[[], Awaitable[T]]) -> T:
        if self._runner.is_here():
            return await work()
        return await self._calls.call(name, work)


async def _tell(work: Callable[[], Awaitable[T]], result: Future[T]) -> None:
    try:
        result.set_result(await work())
    except BaseException as error:  # noqa: BLE001 - a graph may raise anything, even SystemExit
        result.set_exception(_harmless(error))


def _harmless(error: BaseException) -> Exception:
    """Return an error that does not end the loop of the caller."""
    return error if isinstance(error, Exception) else RuntimeError(type(error).__name__)
