"""Where code of the user's graphs is called from the API."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

T = TypeVar("T")


class GraphCalls(Protocol):
    """Keeps the API's event loop away from code that may block it."""

    async def call(self, name: str, work: Callable[[], Awaitable[T]]) -> T:
        """Return what ``work`` returns, or raise what it raises.

        It is called on another event loop. Cancelling the caller cancels it.

        Raises:
            GraphTooSlow: The work has not ended in time.
            GraphsBlocked: The work has not ended in time, because other code blocks its loop.
        """
        ...
