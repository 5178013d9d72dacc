"""Assistants, with their configs, contexts and metadata encrypted."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from loomline.schema import OnConflictBehavior
from loomline.server.domain.access import EVERYTHING, Condition
from loomline.server.domain.assistants import (
    Assistant,
    AssistantPatch,
    AssistantQuery,
    AssistantVersion,
)
from loomline.server.domain.filters import Page
from loomline.server.domain.json import JsonObject
from loomline.server.ports.storage import AssistantStorage
from loomline.server.storage.sealed_fields import open_record, seal_record
from loomline.server.storage.sealing import Sealer, Seals
from loomline.server.storage.wrapping import Wrapper, passed


class EncryptedAssistants(Wrapper[AssistantStorage]):
    """``AssistantStorage`` around another one."""

    @passed(AssistantStorage.count)
    def count(self) -> None: ...

    @passed(AssistantStorage.delete)
    def delete(self) -> None: ...

    def __init__(self, inner: AssistantStorage, sealer: Sealer) -> None:
        super().__init__(inner)
        self._sealer = sealer

    async def ensure(self, assistants: Sequence[Assistant]) -> None:
        async def seal(seals: Seals) -> Sequence[Assistant]:
            return await seals.each(lambda each: seal_record(seals, each), assistants)

        await self._inner.ensure(await self._sealer.run(seal))

    async def create(
        self, assistant: Assistant, if_exists: OnConflictBehavior, *, access: Condition = EVERYTHING
    ) -> Assistant:
        sealed = await self._sealer.run(lambda seals: seal_record(seals, assistant))
        return await self._opened(await self._inner.create(sealed, if_exists, access=access))

    async def get(self, assistant_id: UUID, *, access: Condition = EVERYTHING) -> Assistant:
        return await self._opened(await self._inner.get(assistant_id, access=access))

    async def search(self, query: AssistantQuery) -> Page[Assistant]:
        page = await self._inner.search(query)

        async def work(seals: Seals) -> Sequence[Assistant]:
            return await seals.each(lambda each: open_record(seals, each), page.rows)

        return dataclasses.replace(page, rows=await self._sealer.run(work))

    async def update(
        self, assistant_id: UUID, patch: AssistantPatch, *, access: Condition = EVERYTHING
    ) -> Assistant:
        sealed = await self._sealer.run(lambda seals: seal_record(seals, patch))
        return await self._opened(await self._inner.update(assistant_id, sealed, access=access))

    async def versions(
        self,
        assistant_id: UUID,
        *,
        metadata: JsonObject,
        limit: int,
        offset: int,
        access: Condition = EVERYTHING,
    ) -> Sequence[AssistantVersion]:
        found = await self._inner.versions(
            assistant_id, metadata=metadata, limit=limit, offset=offset, access=access
        )

        async def work(seals: Seals) -> Sequence[AssistantVersion]:
            return await seals.each(lambda each: open_record(seals, each), found)

        return await self._sealer.run(work)

    async def set_latest(
        self, assistant_id: UUID, version: int, now: datetime, *, access: Condition = EVERYTHING
    ) -> Assistant:
        found = await self._inner.set_latest(assistant_id, version, now, access=access)
        return await self._opened(found)

    async def _opened(self, assistant: Assistant) -> Assistant:
        return await self._sealer.run(lambda seals: open_record(seals, assistant))
