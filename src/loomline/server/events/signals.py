"""Signals within a single process."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from loomline.server.events.hints import HintBox


class MemorySignals:
    """``Signals`` for one process, usable from all of its threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._listeners: frozenset[HintBox] = frozenset()

    async def publish(self, topic: str, payload: str = "") -> None:
        for listener in self._listeners:
            if topic in listener.topics:
                listener.offer(topic, payload)

    @asynccontextmanager
    async def listen(self, *topics: str) -> AsyncIterator[HintBox]:
        listener = HintBox(frozenset(topics))
        with self._lock:
            self._listeners |= {listener}
        try:
            yield listener
        finally:
            with self._lock:
                self._listeners -= {listener}
