"""The outbox of webhooks in SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from uuid import UUID, uuid4

from loomline.server.domain.errors import WebhookNotFound
from loomline.server.domain.ids import uuid7
from loomline.server.domain.json import Encoded, dump
from loomline.server.domain.lifecycle import Notice
from loomline.server.domain.webhooks import DeadWebhook, Delivery, OutboxStats, host_of, notice
from loomline.server.ports.clock import Clock
from loomline.server.storage.sqlite.connection import Readers, Writer
from loomline.server.storage.sqlite.pieces import PIECE_BYTES, PIECE_ROWS
from loomline.server.storage.sqlite.rows import micros, moment

_INSERT = """
    INSERT INTO webhooks
        (webhook_id, run_id, url, host, payload, caller, content, created_at, due_at)
    VALUES (?, ?, ?, ?, ?, ?, (SELECT content FROM thread_values WHERE thread_id = ? AND ?), ?, ?)
"""
_CLAIM = """
    UPDATE webhooks SET attempts = attempts + 1, due_at = ?, token = ?
    WHERE webhook_id IN (
        SELECT webhook_id FROM webhooks WHERE dead_at IS NULL AND due_at <= ?
          AND host NOT IN (SELECT value FROM json_each(?))
        ORDER BY due_at LIMIT ?)
    RETURNING webhook_id, run_id, url, payload, content, attempts, caller
"""
_DELIVERED = "DELETE FROM webhooks WHERE webhook_id = ? AND token = ?"
_FAILED = """
    UPDATE webhooks SET due_at = ?, error = ?, dead_at = ?, token = NULL
    WHERE webhook_id = ? AND token = ?
"""
_NEXT_DUE = """
    SELECT due_at FROM webhooks WHERE dead_at IS NULL
      AND host NOT IN (SELECT value FROM json_each(?))
    ORDER BY due_at LIMIT 1
"""
_RELEASE = "UPDATE webhooks SET due_at = ?, token = NULL WHERE dead_at IS NULL AND token NOT NULL"
_DEAD = """
    SELECT webhook_id, run_id, url, attempts, error, created_at, dead_at FROM webhooks
    WHERE dead_at IS NOT NULL ORDER BY dead_at DESC, webhook_id DESC LIMIT ?
"""
_RETRY = """
    UPDATE webhooks SET dead_at = NULL, attempts = 0, due_at = ?
    WHERE dead_at IS NOT NULL AND (? IS NULL OR webhook_id = ?)
"""
# As many as fit into a piece, and one at least: each may hold the values of a thread.
_EXPIRE = f"""
    DELETE FROM webhooks WHERE webhook_id IN (
        SELECT webhook_id FROM (
            SELECT webhook_id, sum(size) OVER (ORDER BY dead_at, webhook_id) - size AS before
            FROM (SELECT webhook_id, dead_at, length(payload) + coalesce(length(content), 0) AS size
                  FROM webhooks WHERE dead_at IS NOT NULL AND dead_at < ?
                  ORDER BY dead_at, webhook_id LIMIT ?))
        WHERE before < {PIECE_BYTES})
"""
_STATS = """
    SELECT (SELECT count(*) FROM webhooks WHERE dead_at IS NULL),
           (SELECT count(*) FROM webhooks WHERE dead_at IS NOT NULL),
           (SELECT min(created_at) FROM webhooks WHERE dead_at IS NULL)
"""


class SqliteWebhooks:
    def __init__(self, writer: Writer, readers: Readers, clock: Clock) -> None:
        self._writer = writer
        self._readers = readers
        self._clock = clock

    async def claim(
        self, limit: int, lease_seconds: float, *, avoid: Sequence[str] = ()
    ) -> Sequence[Delivery]:
        now = micros(self._clock.now())
        due = self._due(avoid)
        # Looking first: it happens every few seconds, and there is hardly ever anything to do.
        if due is None or due > now:
            return []
        token, lease = uuid4().hex, now + int(lease_seconds * 1_000_000)
        row = (lease, token, now, dump(list(avoid)).decode(), limit)

        def work(connection: sqlite3.Connection) -> Sequence[Delivery]:
            rows = connection.execute(_CLAIM, row).fetchall()
            return [_delivery(row, token) for row in rows]

        return await self._writer.write(work)

    async def delivered(self, delivery: Delivery) -> None:
        key = (str(delivery.webhook_id), delivery.token)
        await self._writer.write(lambda c: _done(c.execute(_DELIVERED, key)))

    async def failed(self, delivery: Delivery, error: str, retry_at: datetime | None) -> None:
        now = self._clock.now()
        due, dead = micros(retry_at or now), micros(now) if retry_at is None else None
        row = (due, error, dead, str(delivery.webhook_id), delivery.token)
        await self._writer.write(lambda c: _done(c.execute(_FAILED, row)))

    async def next_due(self, *, avoid: Sequence[str] = ()) -> datetime | None:
        due = self._due(avoid)
        return None if due is None else moment(due)

    async def release(self) -> None:
        now = micros(self._clock.now())
        await self._writer.write(lambda c: _done(c.execute(_RELEASE, (now,))))

    async def dead(self, limit: int) -> Sequence[DeadWebhook]:
        def work(connection: sqlite3.Connection) -> Sequence[DeadWebhook]:
            return [_dead(row) for row in connection.execute(_DEAD, (limit,))]

        return await self._readers.read(work)

    async def retry(self, webhook_id: UUID | None) -> int:
        key = None if webhook_id is None else str(webhook_id)
        row = (micros(self._clock.now()), key, key)
        count = await self._writer.write(lambda c: c.execute(_RETRY, row).rowcount)
        if webhook_id is not None and count == 0:
            raise WebhookNotFound(webhook_id)
        return count

    async def expire(self, before: datetime, limit: int) -> int:
        deleted = 0
        while deleted < limit:
            row = (micros(before), min(PIECE_ROWS, limit - deleted))
            found = await self._writer.write(partial(_expire, row=row))
            if not found:
                break
            deleted += found
        return deleted

    async def stats(self) -> OutboxStats:
        now = micros(self._clock.now())
        pending, dead, oldest = self._readers.point(lambda c: c.execute(_STATS).fetchone())
        age = None if oldest is None else (now - oldest) / 1_000_000
        return OutboxStats(pending, dead, age)

    def _due(self, avoid: Sequence[str]) -> int | None:
        hosts = (dump(list(avoid)).decode(),)
        row = self._readers.point(lambda c: c.execute(_NEXT_DUE, hosts).fetchone())
        found: int | None = None if row is None else row[0]
        return found


def note_end(connection: sqlite3.Connection, end: Notice, now: int) -> None:
    """Put the end of a run into the outbox, if the run has a webhook."""
    run = end.run
    if run.webhook is None:
        return
    payload = notice(
        run, end.status, started_at=end.started_at, ended_at=moment(now), error=end.error
    )
    thread = str(run.thread_id)
    named = (str(uuid7()), str(run.run_id), run.webhook, host_of(run.webhook))
    user = None if run.user is None else run.user.decode()
    connection.execute(_INSERT, (*named, payload, user, thread, end.with_values, now, now))


def _done(_: sqlite3.Cursor) -> None:
    return


def _delivery(
    row: tuple[str, str, str, bytes, bytes | None, int, str | None], token: str
) -> Delivery:
    webhook_id, run_id, url, payload, content, attempts, user = row
    return Delivery(
        webhook_id=UUID(webhook_id),
        run_id=UUID(run_id),
        url=url,
        payload=Encoded(payload),
        values=None if content is None else Encoded(content),
        attempt=attempts,
        token=token,
        user=None if user is None else Encoded(user.encode()),
    )


def _dead(row: tuple[str, str, str, int, str | None, int, int]) -> DeadWebhook:
    webhook_id, run_id, url, attempts, error, created_at, dead_at = row
    return DeadWebhook(
        webhook_id=UUID(webhook_id),
        run_id=UUID(run_id),
        url=url,
        attempts=attempts,
        error=error or "",
        created_at=moment(created_at),
        dead_at=moment(dead_at),
    )


def _expire(connection: sqlite3.Connection, row: tuple[int, int]) -> int:
    return connection.execute(_EXPIRE, row).rowcount
