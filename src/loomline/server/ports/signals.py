"""Hints between processes. Lossy by contract: the database decides, a poll finds the rest."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Protocol


class Listener(Protocol):
    async def wait(self, seconds: float) -> list[tuple[str, str]]:
        """Return what has come as ``(topic, payload)``; an empty list after that many seconds.

        Where hints may have been missed, each topic comes once without a payload: look yourself.
        """
        ...


class Signals(Protocol):
    async def publish(self, topic: str, payload: str = "") -> None:
        """Give a hint to all listeners of all processes. It may be lost; this never fails."""
        ...

    def listen(self, *topics: str) -> AbstractAsyncContextManager[Listener]: ...


WORK = "work"
"""A run can be claimed. No payload."""

THREAD = "thread"
"""A run of a thread is being executed. Payload: the thread's id."""

STATE = "state"
"""A thread's state has been changed by a client. Payload: the thread's id."""

STOP = "stop"
"""A running run has been marked to stop. Payload: the run's id."""

WEBHOOK = "webhook"
"""A webhook can be sent. No payload."""
