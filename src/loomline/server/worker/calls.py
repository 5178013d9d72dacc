"""Calls of graph code for the API: on the runners, like runs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TypeVar

from loomline.server.domain.errors import GraphTooSlow
from loomline.server.ports.sealing import ACTING
from loomline.server.worker.runners import Job, RunnerPool

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class CallOptions:
    """``most`` calls are under way at a time; the others wait for their turn."""

    most: int = 64
    seconds: float = 60.0


class RunnerCalls:
    """``GraphCalls`` on a pool of runners. It belongs to the loop that owns the pool."""

    def __init__(self, pool: RunnerPool, options: CallOptions | None = None) -> None:
        self._pool = pool
        self._options = options or CallOptions()
        self._room = asyncio.Semaphore(self._options.most)

    async def call(self, name: str, work: Callable[[], Awaitable[T]]) -> T:
        timeout = asyncio.timeout(self._options.seconds)
        try:
            async with timeout, self._room:
                return await self._call(name, work)
        except TimeoutError:
            if timeout.expired():
                raise GraphTooSlow(self._options.seconds) from None
            raise

    async def _call(self, name: str, work: Callable[[], Awaitable[T]]) -> T:
        result: Future[T] = Future()
        # Whoever waits may go: from now on that does not cancel what the job still sets.
        result.set_running_or_notify_cancel()

        # Who asks is not told apart by the loops of graphs.
        acting = ACTING.get()

        async def start() -> None:
            ACTING.set(acting)
            if not job.cancelled:
                await _tell(work, result)

        job = Job(name=name, start=start, finishing=result.done)
        self._pool.submit(job)
        try:
            return await asyncio.wrap_future(result)
        except asyncio.CancelledError:
            self._pool.cancel(job)
            raise


async def _tell(work: Callable[[], Awaitable[T]], result: Future[T]) -> None:
    try:
        result.set_result(await work())
    except BaseException as error:  # noqa: BLE001 - a graph may raise anything, even SystemExit
        result.set_exception(_harmless(error))


def _harmless(error: BaseException) -> Exception:
    """Return an error that does not end the loop of whoever waits for it."""
    return error if isinstance(error, Exception) else RuntimeError(type(error).__name__)
