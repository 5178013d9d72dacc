"""Crons, with their requests and metadata encrypted."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from loomline.server.domain.access import EVERYTHING, Condition
from loomline.server.domain.crons import Cron, CronQuery, firing
from loomline.server.domain.errors import EncryptionFailed
from loomline.server.domain.filters import Page
from loomline.server.domain.json import JsonObject
from loomline.server.ports.storage import CronStorage
from loomline.server.storage.sealed_fields import open_record, seal_record
from loomline.server.storage.sealing import KEPT, Sealer, Seals, split_context, with_context
from loomline.server.storage.wrapping import Wrapper, passed

logger: logging.Logger = logging.getLogger("loomline.storage")

# What says which runs are due, and when: the database and the schedule need it.
_PLAIN: Final = frozenset({
    "assistant_id", "enabled", "end_time", "on_run_completed", "schedule", "thread_id", "timezone",
})  # fmt: skip


class EncryptedCrons(Wrapper[CronStorage]):
    """``CronStorage`` around another one."""

    @passed(CronStorage.delete)
    def delete(self) -> None: ...

    @passed(CronStorage.count)
    def count(self) -> None: ...

    @passed(CronStorage.pass_over)
    def pass_over(self) -> None: ...

    @passed(CronStorage.next_due)
    def next_due(self) -> None: ...

    def __init__(self, inner: CronStorage, sealer: Sealer) -> None:
        super().__init__(inner)
        self._sealer = sealer

    async def create(self, cron: Cron, *, access: Condition = EVERYTHING) -> Cron:
        async def seal(seals: Seals) -> Cron:
            payload = await _seal_request(seals, cron.payload)
            payload = with_context(payload, await seals.metadata())
            return dataclasses.replace(await seal_record(seals, cron), payload=payload)

        sealed = await self._sealer.run(seal)
        return await self._opened(await self._inner.create(sealed, access=access))

    async def get(self, cron_id: UUID, *, access: Condition = EVERYTHING) -> Cron:
        return await self._opened(await self._inner.get(cron_id, access=access))

    async def update(
        self, cron_id: UUID, fields: JsonObject, now: datetime, *, access: Condition = EVERYTHING
    ) -> Cron:
        sealed = await self._sealer.run(lambda seals: _seal_request(seals, fields))
        return await self._opened(await self._inner.update(cron_id, sealed, now, access=access))

    async def search(self, query: CronQuery) -> Page[Cron]:
        page = await self._inner.search(query)
        return dataclasses.replace(page, rows=await self._all(page.rows))

    async def due(self, now: datetime, limit: int) -> Sequence[Cron]:
        found = await self._inner.due(now, limit)
        try:
            return await self._all(found)
        except EncryptionFailed:
            return await self._openable(found, now)

    async def _openable(self, crons: Sequence[Cron], now: datetime) -> Sequence[Cron]:
        """Return those that can be decrypted. For the others this time passes without a run.

        Raises:
            EncryptionFailed: none can: the keys are away and may come back, so all stay due.
        """
        opened: list[Cron] = []
        failed: list[tuple[Cron, EncryptionFailed]] = []
        for cron in crons:
            try:
                opened.append(await self._opened(cron))
            except EncryptionFailed as error:
                failed.append((cron, error))
        if not opened:
            raise failed[-1][1]
        for cron, reason in failed:
            extra = {"cron_id": str(cron.cron_id)}
            logger.warning("a cron could not start a run: %s", reason, extra=extra)
            assert cron.next_run_date is not None, "it would not be due"
            await self._inner.pass_over(firing(cron, cron.next_run_date, now))
        return opened

    async def _opened(self, cron: Cron) -> Cron:
        return await self._sealer.run(lambda seals: _open(seals, cron))

    async def _all(self, crons: Sequence[Cron]) -> Sequence[Cron]:
        async def work(seals: Seals) -> Sequence[Cron]:
            return await seals.each(lambda cron: _open(seals, cron), crons)

        return await self._sealer.run(work) if crons else crons


async def _seal_request(seals: Seals, payload: JsonObject) -> JsonObject:
    """Encrypt what a cron starts runs with, so that its config can be looked into."""
    payload = {key: each for key, each in payload.items() if key != KEPT}
    apart = {"config", "metadata", *_PLAIN}
    rest = {key: each for key, each in payload.items() if key not in apart}
    sealed = await seals.seal("cron", "payload", rest)
    config, metadata = payload.get("config"), payload.get("metadata")
    if isinstance(config, dict):
        sealed = {**sealed, "config": await seals.seal_config("cron", config)}
    if isinstance(metadata, dict):
        sealed = {**sealed, "metadata": await seals.seal("cron", "metadata", metadata)}
    return {key: sealed.get(key, each) for key, each in payload.items()}


async def _open(seals: Seals, cron: Cron) -> Cron:
    stored, context = split_context(cron.payload)
    apart = {name for name in ("config", "metadata") if isinstance(stored.get(name), dict)}
    payload = await seals.open({key: each for key, each in stored.items() if key not in apart})
    config, metadata = stored.get("config"), stored.get("metadata")
    if isinstance(config, dict):
        payload = {**payload, "config": await seals.open_config(config)}
    if isinstance(metadata, dict):
        payload = {**payload, "metadata": await seals.open(metadata)}
    return dataclasses.replace(
        await open_record(seals, cron),
        payload={key: payload[key] for key in stored},
        sealing=context,
    )
