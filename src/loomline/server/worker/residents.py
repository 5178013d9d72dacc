"""Objects of the user that are open on the loop of the graphs as long as the process works."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager
from typing import Generic, TypeVar

from loomline.server.domain.errors import CheckpointerLoadError
from loomline.server.worker.runners import Runner

logger: logging.Logger = logging.getLogger("loomline.worker")

OPEN_SECONDS = 60.0
CLOSE_SECONDS = 10.0

T = TypeVar("T")


class Resident(Generic[T]):
    """A context manager that is entered and left on the runner's loop, in one task.

    One task does both, because context managers with task groups or timeouts require it.

    Args:
        name: The name of the object in messages.
        runner: The runner.
        make: Returns the context manager; called on the runner's loop.
    """

    def __init__(
        self, name: str, runner: Runner, make: Callable[[], AbstractAsyncContextManager[T]]
    ) -> None:
        self._name = name
        self._runner = runner
        self._make = make
        self._leave: Callable[[], object] | None = None
        self._task: Future[None] | None = None
        self._value: Future[T] = Future()

    @property
    def value(self) -> T:
        """Return the object; it is there from ``start`` on."""
        return self._value.result(timeout=0)

    async def start(self) -> None:
        """Enter the context manager. The runner must have been started.

        Raises:
            CheckpointerLoadError: The context manager was not entered in time.
            Exception: The error of the context manager.
        """
        self._task = self._runner.begin(self._live())
        try:
            async with asyncio.timeout(OPEN_SECONDS):
                await asyncio.shield(asyncio.wrap_future(self._value))
        except TimeoutError:
            self._task.cancel()
            raise CheckpointerLoadError(
                self._name, f"it did not open within {OPEN_SECONDS:g} seconds"
            ) from None

    async def stop(self) -> None:
        """Leave the context manager, and give up after ``CLOSE_SECONDS``."""
        if self._task is None or self._leave is None:
            return
        self._leave()
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await asyncio.wrap_future(self._task)
        except TimeoutError:
            logger.warning("closing takes too long and is given up", extra={"what": self._name})
        except Exception:  # the process ends all the same
            logger.warning("closing failed", extra={"what": self._name}, exc_info=True)

    async def _live(self) -> None:
        over = asyncio.Event()
        loop = asyncio.get_running_loop()
        try:
            async with self._make() as value:
                self._leave = lambda: loop.call_soon_threadsafe(over.set)
                self._value.set_result(value)
                await over.wait()
        except BaseException as error:
            if self._value.done():
                raise
            self._value.set_exception(error)
