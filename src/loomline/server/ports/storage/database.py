"""The database as a whole."""

from __future__ import annotations

from typing import Protocol
from uuid import UUID

from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple

from loomline.cache import Backend
from loomline.server.domain.runs import Claim
from loomline.server.ports.storage.assistants import AssistantStorage
from loomline.server.ports.storage.crons import CronStorage
from loomline.server.ports.storage.edits import StateEdit
from loomline.server.ports.storage.runs import RunStorage
from loomline.server.ports.storage.threads import ThreadStorage
from loomline.server.ports.storage.webhooks import WebhookStorage
from loomline.server.ports.store import Store


class Storage(Protocol):
    """The whole database."""

    @property
    def assistants(self) -> AssistantStorage: ...

    @property
    def threads(self) -> ThreadStorage: ...

    @property
    def runs(self) -> RunStorage: ...

    @property
    def crons(self) -> CronStorage: ...

    @property
    def webhooks(self) -> WebhookStorage: ...

    @property
    def store(self) -> Store:
        """Return the store, whose options were given when the storage was made."""
        ...

    @property
    def cache(self) -> Backend:
        """Return what hosted code caches in, shared by all servers on this database."""
        ...

    def checkpointer(self) -> BaseCheckpointSaver[str]:
        """Return a saver for reading and for writes that are not part of a run.

        It may be used on the event loop of the graphs only.
        """
        ...

    async def newest_checkpoint(self, thread_id: UUID) -> CheckpointTuple | None:
        """Return the newest checkpoint of a thread; on any event loop."""
        ...

    def edit(self, thread_id: UUID) -> StateEdit:
        """Return a change of a thread's state, to be prepared by whoever has the graph."""
        ...

    def run_checkpointer(self, claim: Claim, *, wait: bool) -> BaseCheckpointSaver[str]:
        """Return a saver that writes only while the claim is valid.

        With ``wait`` a write is on disk when it returns. Otherwise it may be acknowledged before:
        the writes are in order with ``finish`` of the same claim, which fails when one of them
        failed.
        """
        ...

    async def flush(self, claim: Claim) -> None:
        """Return once every write made through ``run_checkpointer(claim)`` is on disk.

        Raises:
            LeaseLost: one of them was refused, the claim being no longer valid.
        """
        ...

    async def open(self) -> None:
        """Connect and bring the schema up to date."""
        ...

    async def close(self) -> None: ...

    async def ping(self) -> None: ...
