"""Sends what is in the outbox of webhooks."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta

from loomline.server.domain.errors import StorageUnavailable, WebhookFailed
from loomline.server.domain.measures import DELIVERED, FAILED_ATTEMPTS, WEBHOOKS_GIVEN_UP
from loomline.server.domain.webhooks import (
    Delivery,
    WebhookBlocked,
    WebhookUnresolved,
    body,
    host_of,
    retry_delay,
    signed_headers,
)
from loomline.server.duties import Duty
from loomline.server.ports.clock import Clock
from loomline.server.ports.measures import NO_MEASURES, Measures
from loomline.server.ports.signals import WEBHOOK, Listener, Signals
from loomline.server.ports.storage import Storage
from loomline.server.ports.webhooks import WebhookTransport
from loomline.server.services.webhooks import WebhookGuard

logger: logging.Logger = logging.getLogger("loomline.webhooks")

_GONE = 410


@dataclass(frozen=True, slots=True)
class SenderOptions:
    """How webhooks are sent.

    ``keys`` sign them. ``poll_seconds`` is how long a lost signal can delay one. ``most`` are sent
    at the same time. To a host that has ``per_host`` under way no further one is begun, so that one
    that hangs does not hold up the others; ``batch`` are taken at once. The lease outlives an
    attempt by ``margin_seconds``. ``headers`` are sent to the domains that the policy lists.
    """

    attempts: int
    timeout_seconds: float
    retry_seconds: float
    headers: Mapping[str, str] = field(default_factory=dict)
    keys: tuple[bytes, ...] = ()
    most: int = 64
    per_host: int = 8
    batch: int = 8
    poll_seconds: float = 2.0
    margin_seconds: float = 20.0
    grace_seconds: float = 2.0


class WebhookSender:
    """Takes webhooks that are due and sends them, until it is stopped.

    Any number of processes may do so. One that dies in the middle has its webhooks sent again by
    others: every webhook arrives at least once, and bears an id by which it can be known again.
    """

    def __init__(
        self,
        *,
        storage: Storage,
        signals: Signals,
        clock: Clock,
        guard: WebhookGuard,
        transport: WebhookTransport,
        options: SenderOptions,
        measures: Measures = NO_MEASURES,
    ) -> None:
        self._storage = storage
        self._signals = signals
        self._clock = clock
        self._guard = guard
        self._transport = transport
        self._options = options
        self._measures = measures
        self._duty = Duty(
            "webhooks", self._look, logger=logger, sleep=clock.sleep, within=self._listening
        )
        self._hints: Listener
        self._sending: dict[asyncio.Task[None], str] = {}

    async def start(self, *, orphaned: bool) -> None:
        """Begin to send.

        Args:
            orphaned: Whether no other sender can be alive, so that what is taken is a leftover.
        """
        if orphaned:
            await self._storage.webhooks.release()
        self._duty.start()

    async def stop(self) -> None:
        """Let what is being sent arrive if it does so soon; the rest is sent after the lease."""
        await self._duty.stop()
        if self._sending:
            await asyncio.wait(self._sending, timeout=self._options.grace_seconds)
        for task in self._sending:
            task.cancel()
        await asyncio.gather(*self._sending, return_exceptions=True)

    @asynccontextmanager
    async def _listening(self) -> AsyncIterator[None]:
        async with self._signals.listen(WEBHOOK) as self._hints:
            yield

    async def _look(self) -> float:
        busy = self._busy_hosts()
        if not await self._begin(busy):
            await self._wait(busy)
        return 0.0

    def _busy_hosts(self) -> list[str]:
        counts = Counter(self._sending.values())
        return [host for host, count in counts.items() if count >= self._options.per_host]

    async def _begin(self, busy: Sequence[str]) -> bool:
        """Begin to send as many as there is room for; return whether there may be more."""
        limit = min(self._options.most - len(self._sending), self._options.batch)
        if limit == 0:
            return False
        lease = self._options.timeout_seconds + self._options.margin_seconds
        taken = await self._storage.webhooks.claim(limit, lease, avoid=busy)
        for delivery in taken:
            task = asyncio.create_task(self._send(delivery), name="webhook")
            self._sending[task] = host_of(delivery.url)
            task.add_done_callback(self._sending.pop)
        return len(taken) == limit

    async def _wait(self, busy: Sequence[str]) -> None:
        """Wait until something is due, or a host that was busy may not be any more."""
        if len(self._sending) >= self._options.most:
            await asyncio.wait(self._sending, return_when=asyncio.FIRST_COMPLETED)
            return
        due = await self._storage.webhooks.next_due(avoid=busy)
        rest = self._options.poll_seconds
        if due is not None:
            rest = min(max((due - self._clock.now()).total_seconds(), 0.0), rest)
        if not busy:
            await self._hints.wait(rest)
            return
        hint = asyncio.create_task(self._hints.wait(rest))
        try:
            await asyncio.wait({hint, *self._sending}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            hint.cancel()
            await asyncio.gather(hint, return_exceptions=True)

    async def _send(self, delivery: Delivery) -> None:
        with self._measures.span("webhook", **_named(delivery)) as span:
            error, last = await self._attempt(delivery)
            span.note(error=error or "")
        with suppress(StorageUnavailable):  # then it is due again when the lease ends
            if error is None:
                self._measures.count(DELIVERED)
                logger.info("webhook delivered", extra=_named(delivery))
                await self._storage.webhooks.delivered(delivery)
            else:
                await self._failed(delivery, error, last=last)

    async def _attempt(self, delivery: Delivery) -> tuple[str | None, bool]:
        """Return what went wrong, None if nothing, and whether trying again is pointless."""
        seconds = self._options.timeout_seconds
        try:
            async with asyncio.timeout(seconds):
                status = await self._post(delivery)
        except TimeoutError:
            return f"no answer within {seconds:g} seconds", False
        except WebhookBlocked as error:
            return str(error), True
        except (WebhookUnresolved, WebhookFailed) as error:
            return str(error), False
        except Exception as error:  # whatever it is, it must not be tried for ever
            logger.exception("sending a webhook failed", extra=_named(delivery))
            return type(error).__name__, False
        return (None if 200 <= status < 300 else f"status {status}"), status == _GONE

    async def _post(self, delivery: Delivery) -> int:
        route = await self._guard.route(delivery.url)
        now = self._clock.now()
        content = body(delivery, now)
        signed = signed_headers(delivery, content, now, self._options.keys)
        headers = {**self._options.headers, **signed} if route.with_headers else signed
        if route.address is None:
            return await self._transport.post_inside(route.target, delivery.user, headers, content)
        return await self._transport.post(route.target, route.address, headers, content)

    async def _failed(self, delivery: Delivery, error: str, *, last: bool) -> None:
        last = last or delivery.attempt >= self._options.attempts
        spread = random.random()  # noqa: S311 - no secret
        delay = retry_delay(delivery.attempt, self._options.retry_seconds, spread)
        retry_at = None if last else self._clock.now() + timedelta(seconds=delay)
        self._measures.count(FAILED_ATTEMPTS)
        self._measures.count(WEBHOOKS_GIVEN_UP, amount=int(last))
        named = {**_named(delivery), "attempt": delivery.attempt, "error": error}
        logger.warning("webhook given up" if last else "webhook failed", extra=named)
        await self._storage.webhooks.failed(delivery, error, retry_at)


def _named(delivery: Delivery) -> dict[str, str]:
    return {"webhook_id": str(delivery.webhook_id), "run_id": str(delivery.run_id)}
