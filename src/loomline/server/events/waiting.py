"""Futures that readers on any event loop leave behind, and how they are woken."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable


def wake(waiting: Iterable[asyncio.Future[None]]) -> None:
    """Resolve futures of any loop, from any thread."""
    for future in waiting:
        try:
            future.get_loop().call_soon_threadsafe(_resolve, future)
        except RuntimeError:  # the reader's loop has been closed, so nobody waits any more
            continue


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
