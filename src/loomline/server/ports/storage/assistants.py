"""Assistants and their versions."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol
from uuid import UUID

from loomline.schema import OnConflictBehavior
from loomline.server.domain.access import EVERYTHING, Condition
from loomline.server.domain.assistants import (
    Assistant,
    AssistantFilter,
    AssistantPatch,
    AssistantQuery,
    AssistantVersion,
)
from loomline.server.domain.filters import Page
from loomline.server.domain.json import JsonObject


class AssistantStorage(Protocol):
    async def ensure(self, assistants: Sequence[Assistant]) -> None:
        """Store those that do not exist yet, with their version; leave the others alone."""
        ...

    async def create(
        self, assistant: Assistant, if_exists: OnConflictBehavior, *, access: Condition = EVERYTHING
    ) -> Assistant:
        """Store an assistant and its version, or return the stored one where ``if_exists`` says so.

        Raises:
            AssistantExists: the id is taken.
        """
        ...

    async def get(self, assistant_id: UUID, *, access: Condition = EVERYTHING) -> Assistant:
        """Return an assistant.

        Raises:
            AssistantNotFound: there is none with this id.
        """
        ...

    async def search(self, query: AssistantQuery) -> Page[Assistant]:
        """Return a page of the assistants that match, and the true total."""
        ...

    async def count(self, where: AssistantFilter) -> int:
        """Return how many assistants match."""
        ...

    async def update(
        self, assistant_id: UUID, patch: AssistantPatch, *, access: Condition = EVERYTHING
    ) -> Assistant:
        """Apply ``domain.assistants.patched`` and store the result as a version.

        Its number is one more than the highest that the assistant has had, in use or not. Of
        concurrent updates none is lost.

        Raises:
            AssistantNotFound: there is none with this id.
            ContradictoryInput: both config.configurable and context are given.
        """
        ...

    async def delete(
        self,
        assistant_id: UUID,
        *,
        delete_threads: bool,
        access: Condition = EVERYTHING,
        threads_access: Condition = EVERYTHING,
    ) -> tuple[UUID, ...]:
        """Remove an assistant with its versions and crons; return the runs that were active.

        Threads and runs stay, unless ``delete_threads``: then the threads whose metadata names
        the assistant go with everything on them, and the runs returned are theirs.

        Raises:
            AssistantNotFound: there is none with this id.
        """
        ...

    async def versions(
        self,
        assistant_id: UUID,
        *,
        metadata: JsonObject,
        limit: int,
        offset: int,
        access: Condition = EVERYTHING,
    ) -> Sequence[AssistantVersion]:
        """Return the versions whose metadata contains a pattern, newest first.

        Raises:
            AssistantNotFound: there is no such assistant.
        """
        ...

    async def set_latest(
        self, assistant_id: UUID, version: int, now: datetime, *, access: Condition = EVERYTHING
    ) -> Assistant:
        """Make an assistant again what it was in a version, number included.

        Raises:
            AssistantNotFound: there is none with this id.
            AssistantVersionNotFound: it has no such version.
        """
        ...
