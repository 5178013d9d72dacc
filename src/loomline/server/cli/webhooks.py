"""``loomline webhooks``: what was given up, and another chance for it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from uuid import UUID

from loomline.server.app import make_storage
from loomline.server.clock import SystemClock
from loomline.server.domain.errors import LoomlineError
from loomline.server.domain.webhooks import DeadWebhook
from loomline.server.ports.storage import Storage
from loomline.server.settings import Settings, SettingsError

MOST = 1000
"""Webhooks that are listed."""


def webhooks(settings: Settings, action: str, webhook_id: str | None, *, every: bool) -> int:
    """List the webhooks that were given up, or have some sent again; return the exit code.

    A server may be running meanwhile: it sends them within seconds.
    """
    try:
        if action == "list":
            asyncio.run(_with(settings, _list))
        else:
            chosen = _chosen(webhook_id, every=every)
            asyncio.run(_with(settings, lambda storage: _retry(storage, chosen)))
    except (SettingsError, LoomlineError) as error:
        print(f"loomline: {error}", file=sys.stderr)
        return 1
    return 0


def _chosen(webhook_id: str | None, *, every: bool) -> UUID | None:
    if (webhook_id is not None) == every:
        raise SettingsError("Name the webhook to retry, or say --all.")
    if webhook_id is None:
        return None
    try:
        return UUID(webhook_id)
    except ValueError:
        raise SettingsError(f"'{webhook_id:.200}' is not the id of a webhook.") from None


async def _with(settings: Settings, act: Callable[[Storage], Awaitable[None]]) -> None:
    storage = make_storage(settings, SystemClock(), serving=False, beside=True)
    await storage.open()
    try:
        await act(storage)
    finally:
        await storage.close()


async def _list(storage: Storage) -> None:
    for webhook in await storage.webhooks.dead(MOST):
        print(_line(webhook))


async def _retry(storage: Storage, webhook_id: UUID | None) -> None:
    count = await storage.webhooks.retry(webhook_id)
    print(f"{count} webhook{'' if count == 1 else 's'} will be sent again.")


def _line(webhook: DeadWebhook) -> str:
    # What clients have sent must not move the cursor.
    shown = "".join(each if each.isprintable() else "?" for each in webhook.url[:200])
    times = f"{webhook.attempts} attempt{'' if webhook.attempts == 1 else 's'}"
    when = webhook.dead_at.isoformat(timespec="seconds")
    return f"{webhook.webhook_id}  {when}  {times}, {webhook.error}  run {webhook.run_id}  {shown}"
