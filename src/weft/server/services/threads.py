"""Threads."""

from __future__ import annotations

from uuid import UUID

from weft.server.domain.ids import uuid7
from weft.server.domain.threads import NewThread, Thread
from weft.server.ports.clock import Clock
from weft.server.ports.events import EventLog
from weft.server.ports.signals import STOP, Signals
from weft.server.ports.storage import Storage
from weft.server.services.requests import ThreadCreateRequest
from weft.server.services.run_request import parse_uuid


class ThreadService:
    def __init__(self, storage: Storage, events: EventLog, signals: Signals, clock: Clock) -> None:
        self._storage = storage
        self._events = events
        self._signals = signals
        self._clock = clock

    async def create(self, body: ThreadCreateRequest) -> Thread:
        given = body.get("thread_id")
        new = NewThread(
            thread_id=uuid7() if given is None else parse_uuid(given, "thread"),
            metadata=body.get("metadata", {}),
            if_exists=body.get("if_exists", "raise"),
            now=self._clock.now(),
        )
        return await self._storage.threads.create(new)

    async def get(self, thread_id: UUID) -> Thread:
        return await self._storage.threads.get(thread_id)

    async def delete(self, thread_id: UUID) -> None:
        """Remove a thread and everything on it; its active runs are stopped."""
        for run_id in await self._storage.threads.delete(thread_id):
            await self._events.close(str(run_id), keep_seconds=0.0)
            await self._signals.publish(STOP, str(run_id))
