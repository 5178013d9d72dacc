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
    AssistantFilter,
    AssistantPatch,
    AssistantQuery,
    AssistantVersion,
)
from loomline.server.domain.filters import Page
from loomline.server.domain.json import JsonObject
from loomline.server.ports.storage import AssistantStorage
from loomline.server.storage.sealing import Sealer, Seals


class EncryptedAssistants:
    """``AssistantStorage`` around another one."""

    def __init__(self, inner: AssistantStorage, sealer: Sealer) -> None:
        self._inner = inner
        self._sealer = sealer

    async def ensure(self, assistants: Sequence[Assistant]) -> None:
        async def seal(seals: Seals) -> Sequence[Assistant]:
            return await seals.each(lambda each: _seal_assistant(seals, each), assistants)

        await self._inner.ensure(await self._sealer.run(seal))

    async def create(
        self, assistant: Assistant, if_exists: OnConflictBehavior, *, access: Condition = EVERYTHING
    ) -> Assistant:
        sealed = await self._sealer.run(lambda seals: _seal_assistant(seals, assistant))
        return await self._opened(await self._inner.create(sealed, if_exists, access=access))

    async def get(self, assistant_id: UUID, *, access: Condition = EVERYTHING) -> Assistant:
        return await self._opened(await self._inner.get(assistant_id, access=access))

    async def search(self, query: AssistantQuery) -> Page[Assistant]:
        page = await self._inner.search(query)

        async def work(seals: Seals) -> Sequence[Assistant]:
            return await seals.each(lambda each: _open_assistant(seals, each), page.rows)

        return dataclasses.replace(page, rows=await self._sealer.run(work))

    async def count(self, where: AssistantFilter) -> int:
        return await self._inner.count(where)

    async def update(
        self, assistant_id: UUID, patch: AssistantPatch, *, access: Condition = EVERYTHING
    ) -> Assistant:
        async def seal(seals: Seals) -> AssistantPatch:
            config, context = patch.config, patch.context
            return dataclasses.replace(
                patch,
                config=None if config is None else await seals.seal_config("assistant", config),
                context=None if context is None else await _seal_context(seals, context),
                metadata=await seals.seal("assistant", "metadata", patch.metadata),
            )

        return await self._opened(
            await self._inner.update(assistant_id, await self._sealer.run(seal), access=access)
        )

    async def delete(
        self,
        assistant_id: UUID,
        *,
        delete_threads: bool,
        access: Condition = EVERYTHING,
        threads_access: Condition = EVERYTHING,
    ) -> tuple[UUID, ...]:
        return await self._inner.delete(
            assistant_id,
            delete_threads=delete_threads,
            access=access,
            threads_access=threads_access,
        )

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
            return await seals.each(lambda each: _open_version(seals, each), found)

        return await self._sealer.run(work)

    async def set_latest(
        self, assistant_id: UUID, version: int, now: datetime, *, access: Condition = EVERYTHING
    ) -> Assistant:
        found = await self._inner.set_latest(assistant_id, version, now, access=access)
        return await self._opened(found)

    async def _opened(self, assistant: Assistant) -> Assistant:
        return await self._sealer.run(lambda seals: _open_assistant(seals, assistant))


async def _seal_context(seals: Seals, context: JsonObject) -> JsonObject:
    return await seals.seal("assistant", "context", context)


async def _seal_assistant(seals: Seals, assistant: Assistant) -> Assistant:
    return dataclasses.replace(
        assistant,
        config=await seals.seal_config("assistant", assistant.config),
        context=await _seal_context(seals, assistant.context),
        metadata=await seals.seal("assistant", "metadata", assistant.metadata),
    )


async def _open_assistant(seals: Seals, assistant: Assistant) -> Assistant:
    return dataclasses.replace(
        assistant,
        config=await seals.open_config(assistant.config),
        context=await seals.open(assistant.context),
        metadata=await seals.open(assistant.metadata),
    )


async def _open_version(seals: Seals, version: AssistantVersion) -> AssistantVersion:
    return dataclasses.replace(
        version,
        config=await seals.open_config(version.config),
        context=await seals.open(version.context),
        metadata=await seals.open(version.metadata),
    )
