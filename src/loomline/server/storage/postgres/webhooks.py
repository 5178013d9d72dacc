"""The outbox of webhooks in PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, TypeAlias
from uuid import UUID

from loomline.server.domain.errors import WebhookNotFound
from loomline.server.domain.ids import uuid7
from loomline.server.domain.json import Encoded
from loomline.server.domain.lifecycle import Notice
from loomline.server.domain.webhooks import DeadWebhook, Delivery, OutboxStats, host_of, notice
from loomline.server.ports.clock import Clock
from loomline.server.storage.postgres.connection import Connection, Cursor, Database
from loomline.server.storage.postgres.rows import encoded, plain

_INSERT = """
    INSERT INTO loomline_webhooks
        (webhook_id, run_id, url, host, payload, caller, content, created_at, due_at)
    VALUES (%(id)s, %(run)s, %(url)s, %(host)s, %(payload)s, %(caller)s,
            (SELECT content FROM loomline_thread_values
             WHERE thread_id = %(thread)s AND %(values)s),
            %(now)s, %(now)s)
"""
# What another process is about to take is passed over.
_CLAIM = """
    WITH due AS (
        SELECT webhook_id AS due_id FROM loomline_webhooks
        WHERE dead_at IS NULL AND due_at <= %(now)s
          AND host <> ALL(%(avoid)s)
        ORDER BY due_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED)
    UPDATE loomline_webhooks
    SET attempts = attempts + 1, due_at = %(lease)s, token = gen_random_uuid()
    FROM due WHERE webhook_id = due_id
    RETURNING webhook_id, run_id, url, payload, content, attempts, token, caller
"""
_DELIVERED = "DELETE FROM loomline_webhooks WHERE webhook_id = %s AND token = %s"
_FAILED = """
    UPDATE loomline_webhooks SET due_at = %s, error = %s, dead_at = %s, token = NULL
    WHERE webhook_id = %s AND token = %s
"""
_NEXT_DUE = """
    SELECT due_at FROM loomline_webhooks WHERE dead_at IS NULL AND host <> ALL(%s)
    ORDER BY due_at LIMIT 1
"""
_RELEASE = """
    UPDATE loomline_webhooks SET due_at = %s, token = NULL
    WHERE dead_at IS NULL AND token IS NOT NULL
"""
_DEAD = """
    SELECT webhook_id, run_id, url, attempts, error, created_at, dead_at FROM loomline_webhooks
    WHERE dead_at IS NOT NULL ORDER BY dead_at DESC, webhook_id DESC LIMIT %s
"""
_RETRY = """
    UPDATE loomline_webhooks SET dead_at = NULL, attempts = 0, due_at = %s
    WHERE dead_at IS NOT NULL AND (%s::uuid IS NULL OR webhook_id = %s)
"""
_EXPIRE = """
    DELETE FROM loomline_webhooks WHERE webhook_id = ANY(ARRAY(
        SELECT webhook_id FROM loomline_webhooks WHERE dead_at IS NOT NULL AND dead_at < %s
        ORDER BY dead_at LIMIT %s FOR UPDATE SKIP LOCKED))
"""
_STATS = """
    SELECT count(*) FILTER (WHERE dead_at IS NULL), count(*) FILTER (WHERE dead_at IS NOT NULL),
           min(created_at) FILTER (WHERE dead_at IS NULL)
    FROM loomline_webhooks
"""

_Row: TypeAlias = tuple[Any, ...]


class PostgresWebhooks:
    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def claim(
        self, limit: int, lease_seconds: float, *, avoid: Sequence[str] = ()
    ) -> Sequence[Delivery]:
        now = self._clock.now()
        lease = now + timedelta(seconds=lease_seconds)
        values = {"now": now, "lease": lease, "limit": limit, "avoid": list(avoid)}
        return await self._database.send(
            lambda c: c.execute(_CLAIM, values), lambda rows: [_delivery(row) for row in rows]
        )

    async def delivered(self, delivery: Delivery) -> None:
        key = (delivery.webhook_id, delivery.token)
        await self._database.send(lambda c: c.execute(_DELIVERED, key), _done)

    async def failed(self, delivery: Delivery, error: str, retry_at: datetime | None) -> None:
        now = self._clock.now()
        dead = now if retry_at is None else None
        row = (retry_at or now, plain(error), dead, delivery.webhook_id, delivery.token)
        await self._database.send(lambda c: c.execute(_FAILED, row), _done)

    async def next_due(self, *, avoid: Sequence[str] = ()) -> datetime | None:
        hosts = (list(avoid),)
        row = await self._database.ask(lambda c: c.execute(_NEXT_DUE, hosts).fetchone())
        return None if row is None else row[0]

    async def release(self) -> None:
        now = self._clock.now()
        await self._database.send(lambda c: c.execute(_RELEASE, (now,)), _done)

    async def dead(self, limit: int) -> Sequence[DeadWebhook]:
        return await self._database.ask(
            lambda c: [_dead(row) for row in c.execute(_DEAD, (limit,))]
        )

    async def retry(self, webhook_id: UUID | None) -> int:
        row = (self._clock.now(), webhook_id, webhook_id)
        count = await self._database.send(lambda c: c.execute(_RETRY, row), _rowcount)
        if webhook_id is not None and count == 0:
            raise WebhookNotFound(webhook_id)
        return count

    async def expire(self, before: datetime, limit: int) -> int:
        return await self._database.send(lambda c: c.execute(_EXPIRE, (before, limit)), _rowcount)

    async def stats(self) -> OutboxStats:
        row = await self._database.ask(lambda c: c.execute(_STATS).fetchone())
        assert row is not None
        pending, dead, oldest = row
        age = None if oldest is None else (self._clock.now() - oldest).total_seconds()
        return OutboxStats(pending, dead, age)


def note_end(connection: Connection, end: Notice, now: datetime) -> None:
    """Put the end of a run into the outbox, if the run has a webhook."""
    run = end.run
    if run.webhook is None:
        return
    payload = notice(run, end.status, started_at=end.started_at, ended_at=now, error=end.error)
    values = {
        "id": uuid7(),
        "run": run.run_id,
        "url": run.webhook,
        "host": host_of(run.webhook),
        "payload": payload.decode(),
        "caller": None if run.user is None else run.user.decode(),
        "thread": run.thread_id,
        "values": end.with_values,
        "now": now,
    }
    connection.execute(_INSERT, values)


def _done(_: Cursor) -> None:
    return


def _rowcount(cursor: Cursor) -> int:
    return cursor.rowcount


def _delivery(row: _Row) -> Delivery:
    return Delivery(
        webhook_id=row[0],
        run_id=row[1],
        url=row[2],
        payload=Encoded(row[3]),
        values=encoded(row[4]),
        attempt=row[5],
        token=str(row[6]),
        user=encoded(row[7]),
    )


def _dead(row: _Row) -> DeadWebhook:
    return DeadWebhook(
        webhook_id=row[0],
        run_id=row[1],
        url=row[2],
        attempts=row[3],
        error=row[4] or "",
        created_at=row[5],
        dead_at=row[6],
    )
