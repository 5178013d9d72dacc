"""The outbox, whose notices are made of encrypted rows: they are decrypted when they are sent."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence

from loomline.server.domain.errors import EncryptionFailed
from loomline.server.domain.json import Encoded, JsonObject, dump, load_object
from loomline.server.domain.run_spec import without_secrets
from loomline.server.domain.webhooks import Delivery
from loomline.server.ports.storage import WebhookStorage
from loomline.server.storage.sealed_fields import open_record
from loomline.server.storage.sealing import Sealer, Seals, is_marked, split_context
from loomline.server.storage.wrapping import Wrapper, passed

logger: logging.Logger = logging.getLogger("loomline.webhooks")


class EncryptedWebhooks(Wrapper[WebhookStorage]):
    """``WebhookStorage`` around another one. URLs stay readable: hosts are told apart."""

    @passed(WebhookStorage.delivered)
    def delivered(self) -> None: ...

    @passed(WebhookStorage.failed)
    def failed(self) -> None: ...

    @passed(WebhookStorage.next_due)
    def next_due(self) -> None: ...

    @passed(WebhookStorage.release)
    def release(self) -> None: ...

    @passed(WebhookStorage.dead)
    def dead(self) -> None: ...

    @passed(WebhookStorage.retry)
    def retry(self) -> None: ...

    @passed(WebhookStorage.expire)
    def expire(self) -> None: ...

    @passed(WebhookStorage.stats)
    def stats(self) -> None: ...

    def __init__(self, inner: WebhookStorage, sealer: Sealer) -> None:
        super().__init__(inner)
        self._sealer = sealer

    async def claim(
        self, limit: int, lease_seconds: float, *, avoid: Sequence[str] = ()
    ) -> Sequence[Delivery]:
        found = await self._inner.claim(limit, lease_seconds, avoid=avoid)

        async def work(seals: Seals) -> Sequence[Delivery]:
            opened = await seals.each(lambda each: _open_if_possible(seals, each), found)
            return [each for each in opened if each is not None]

        return await self._sealer.run(work) if found else found


async def _open_if_possible(seals: Seals, delivery: Delivery) -> Delivery | None:
    """Return a notice decrypted; one for which that fails holds up no other, and is due again."""
    try:
        return await _open(seals, delivery)
    except EncryptionFailed as error:
        extra = {"webhook_id": str(delivery.webhook_id)}
        logger.warning("a webhook waits: %s", error, extra=extra)
        return None


async def _open(seals: Seals, delivery: Delivery) -> Delivery:
    payload = await _open_notice(seals, delivery.payload)
    return dataclasses.replace(await open_record(seals, delivery), payload=payload)


async def _open_notice(seals: Seals, payload: Encoded) -> Encoded:
    if not is_marked(payload):
        return payload
    notice = load_object(payload)
    if isinstance(notice["metadata"], dict):
        notice["metadata"] = await seals.open(notice["metadata"])
    if isinstance(notice["kwargs"], dict):
        notice["kwargs"] = await _open_kwargs(seals, notice["kwargs"])
    if "error" in notice:
        opened = await seals.open_text(dump(notice["error"]))
        notice |= load_object(b'{"error":%b}' % (opened or b"null"))
    return dump(notice)


async def _open_kwargs(seals: Seals, stored: JsonObject) -> JsonObject:
    request, _ = split_context(stored)
    return without_secrets(await seals.open(request))
