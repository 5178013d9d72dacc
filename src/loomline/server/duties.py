"""Acts that a process repeats until it stops, through outages and unexpected errors."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import TypeAlias

from loomline.server.domain.errors import StorageUnavailable
from loomline.server.domain.repetitions import Repetitions, origin

Act: TypeAlias = Callable[[], Awaitable[float]]
"""One round of a duty. It returns the seconds until the next round."""

Sleep: TypeAlias = Callable[[float], Awaitable[None]]


class Pauses:
    """The pauses between attempts. They double with each failure, up to a bound.

    A random part spreads the attempts of many processes that wait for the same database.
    """

    def __init__(self, first_seconds: float = 0.5, most_seconds: float = 2.0) -> None:
        self._first = first_seconds
        self._most = most_seconds
        self._next = first_seconds

    def reset(self) -> None:
        """Begin with the first pause again."""
        self._next = self._first

    def after_failure(self) -> float:
        """Return the seconds until the next attempt."""
        pause = min(self._next, self._most)
        self._next = 2 * pause
        return pause * random.uniform(0.5, 1.0)  # noqa: S311 - spreads attempts  # nosec B311


class Failures:
    """Logs failed rounds: an outage as a line, an unexpected error with its traceback.

    Each kind of failure is logged once in five minutes. Unexpected errors are of the same kind if
    the same line has raised the same class.
    """

    def __init__(
        self, name: str, logger: logging.Logger, repetitions: Repetitions | None = None
    ) -> None:
        self._name = name
        self._logger = logger
        self._repetitions = Repetitions() if repetitions is None else repetitions
        self._count = 0
        self._logged = False

    def note(self, error: BaseException) -> None:
        """Count a failed round, and log it unless the log has told of its kind already."""
        self._count += 1
        outage = isinstance(error, StorageUnavailable)
        if self._repetitions.note((type(error), None if outage else origin(error))):
            return
        self._logged = True
        extra = {"duty": self._name, "failures": self._count}
        if outage:
            self._logger.warning("the database is unavailable: %s", error, extra=extra)
        else:
            self._logger.error("a duty failed", extra=extra, exc_info=error)

    def end(self) -> None:
        """Note a round without failure; log it if the log has told of the failures before it."""
        if self._logged:
            extra = {"duty": self._name, "failures": self._count}
            self._logger.info("a duty works again", extra=extra)
        self._count, self._logged = 0, False


class Duty:
    """Repeats an act until it is stopped. A failed round is logged and followed by another one.

    Rounds never overlap, and none begins after ``stop``. It belongs to one event loop.

    Args:
        name: The name of the task, and of the duty in log lines.
        act: One round. It returns the seconds until the next round.
        logger: The logger of failed rounds.
        sleep: The clock's way to wait.
        after_seconds: The time before the first round.
        within: Opens a context for the rounds. A failed round closes it, and the next one opens
            another.
        pauses: The pauses after failed rounds.
    """

    def __init__(
        self,
        name: str,
        act: Act,
        *,
        logger: logging.Logger,
        sleep: Sleep = asyncio.sleep,
        after_seconds: float = 0.0,
        within: Callable[[], AbstractAsyncContextManager[object]] = nullcontext,
        pauses: Pauses | None = None,
    ) -> None:
        self.name: str = name
        self._act = act
        self._sleep = sleep
        self._after_seconds = after_seconds
        self._within = within
        self._pauses = pauses or Pauses()
        self._failures = Failures(name, logger)
        self._stopping = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to repeat the act.

        Raises:
            RuntimeError: The duty has been started before and not been stopped since.
        """
        if self._task is not None:
            raise RuntimeError(f"The duty {self.name!r} has been started already.")
        self._stopping = False
        self._task = asyncio.create_task(self._repeat(), name=self.name)

    async def stop(self) -> None:
        """Cancel the round in progress and wait for its end. Without a start nothing happens."""
        task = self._task
        if task is None:
            return
        # A round that swallows its cancellation is the last one nevertheless.
        self._stopping = True
        task.cancel()
        await asyncio.wait([task])
        if self._task is task:
            self._task = None

    async def _repeat(self) -> None:
        seconds = self._after_seconds
        while not self._stopping:
            await self._rest(seconds)
            try:
                await self._rounds()
            except asyncio.CancelledError as error:
                # An act may await something that was cancelled elsewhere: that is a failure.
                if _cancelled():
                    raise
                seconds = self._failed(error)
            except Exception as error:  # noqa: BLE001 - a defect in one round must not end the duty
                seconds = self._failed(error)

    async def _rounds(self) -> None:
        async with self._within():
            while not self._stopping:
                seconds = await self._act()
                self._failures.end()
                self._pauses.reset()
                await self._rest(seconds)

    async def _rest(self, seconds: float) -> None:
        # An act that never waits must not keep the event loop from everything else.
        await (self._sleep(seconds) if seconds > 0 else asyncio.sleep(0))

    def _failed(self, error: BaseException) -> float:
        self._failures.note(error)
        return self._pauses.after_failure()


class Duties:
    """Duties that start and stop together."""

    def __init__(self, duties: Iterable[Duty]) -> None:
        self._duties = tuple(duties)

    def start(self) -> None:
        """Start each duty."""
        for duty in self._duties:
            duty.start()

    async def stop(self) -> None:
        """Stop all duties at the same time."""
        await asyncio.gather(*(duty.stop() for duty in self._duties))


def _cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
