"""Names that differ by colour. The generator of the sync client exchanges them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeAlias, TypeVar

T = TypeVar("T")

AsyncSleep: TypeAlias = Callable[[float], Awaitable[None]]
SyncSleep: TypeAlias = Callable[[float], None]


async def async_sleep(seconds: float) -> None:
    """Wait without blocking the event loop."""
    await asyncio.sleep(seconds)


def sync_sleep(seconds: float) -> None:
    """Wait."""
    time.sleep(seconds)


async def async_aside(work: Callable[[], T]) -> T:
    """Do something that takes long away from the event loop."""
    return await asyncio.to_thread(work)


def sync_aside(work: Callable[[], T]) -> T:
    """Do something that takes long: without an event loop there is nothing to keep free."""
    return work()
