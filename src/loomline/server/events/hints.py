"""What a listener of signals has in hand, however the signals reach the process."""

from __future__ import annotations

import asyncio
import threading

PENDING = 10_000
"""Hints a listener holds before it forgets the oldest: they are only hints."""


class HintBox:
    """A ``Listener`` that any thread may offer hints to. It belongs to the loop it was made on."""

    def __init__(self, topics: frozenset[str]) -> None:
        self.topics = topics
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        # A dict keeps the order and drops repetitions: a thousand "work" hints mean one.
        self._hints: dict[tuple[str, str], None] = {}
        self._ready = asyncio.Event()
        self._woken = False

    def offer(self, topic: str, payload: str) -> None:
        with self._lock:
            self._hints[topic, payload] = None
            if len(self._hints) > PENDING:
                del self._hints[next(iter(self._hints))]
            wake, self._woken = not self._woken, True
        if wake:
            self._wake()

    async def wait(self, seconds: float) -> list[tuple[str, str]]:
        # The timer sets the event too: cheaper than a timeout, which cancels the waiting task.
        timer = self._loop.call_later(seconds, self._ready.set)
        try:
            await self._ready.wait()
        finally:
            timer.cancel()
        with self._lock:
            self._ready.clear()
            self._woken = False
            hints, self._hints = list(self._hints), {}
        return hints

    def _wake(self) -> None:
        try:
            self._loop.call_soon_threadsafe(self._ready.set)
        except RuntimeError:  # the listener's loop has been closed; it will not listen again
            return
