"""The outbox of webhooks for every database."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Final, Generic, TypeAlias
from uuid import UUID, uuid4

from loomline.server.domain.errors import WebhookNotFound
from loomline.server.domain.ids import uuid7
from loomline.server.domain.lifecycle import Notice
from loomline.server.domain.webhooks import DeadWebhook, Delivery, OutboxStats, host_of, notice
from loomline.server.ports.clock import Clock
from loomline.server.storage.checkpoints import Access, Connection
from loomline.server.storage.records import (
    CONTENT,
    ID,
    MOMENT,
    NUMBER,
    OPTIONAL_CONTENT,
    OPTIONAL_ENCODED,
    STRING,
    Codec,
    Column,
    Record,
)
from loomline.server.storage.tables import Dialect, Table, Where

TOKEN: Final[Column[str]] = Column(
    lambda codecs: Codec(
        lambda token: codecs.id.write(UUID(token)), lambda stored: str(codecs.id.read(stored))
    )
)

DELIVERY: Final = Record(
    Delivery,
    webhook_id=ID,
    run_id=ID,
    url=STRING,
    payload=CONTENT,
    values=OPTIONAL_CONTENT.named("content"),
    attempt=NUMBER.named("attempts"),
    token=TOKEN,
    user=OPTIONAL_ENCODED.named("caller"),
)

DEAD: Final = Record(
    DeadWebhook,
    webhook_id=ID,
    run_id=ID,
    url=STRING,
    attempts=NUMBER,
    error=STRING,
    created_at=MOMENT,
    dead_at=MOMENT,
)

_IS_DEAD: Final = Where(("dead_at IS NOT NULL",))

Claiming: TypeAlias = Callable[[Callable[[Connection], list[Delivery]]], Awaitable[list[Delivery]]]
"""Executes one statement that changes rows, and returns the rows."""


@dataclass(frozen=True, slots=True)
class Piece:
    """The most that one transaction deletes, where long transactions hold up others.

    ``size`` is the expression of the bytes of a row. A piece has one row at least.
    """

    rows: int
    bytes: int
    size: str


class Outbox(Table[Connection, Delivery]):
    """The table of webhooks, within the caller's transaction."""

    def __init__(self, dialect: Dialect[Connection], piece: Piece | None = None) -> None:
        super().__init__(dialect, "webhooks", DELIVERY)
        name, columns = self.name, ", ".join(self.rows.columns)
        self._note = f"""
            INSERT INTO {name}
                (webhook_id, run_id, url, host, payload, caller, content, created_at, due_at)
            VALUES (?, ?, ?, ?, ?, ?,
                    (SELECT content FROM {dialect.prefix}thread_values WHERE thread_id = ? AND ?),
                    ?, ?)
        """
        to_others = f"NOT {dialect.one_of.format('host')}"
        # Webhooks that another process takes at this moment are passed over.
        self._claim = f"""
            WITH due AS (
                SELECT webhook_id AS due_id FROM {name}
                WHERE dead_at IS NULL AND due_at <= ? AND {to_others}
                ORDER BY due_at LIMIT ?{dialect.skip})
            UPDATE {name} SET attempts = attempts + 1, due_at = ?, token = ?
            FROM due WHERE webhook_id = due_id RETURNING {columns}
        """
        self._fail = f"""
            UPDATE {name} SET due_at = ?, error = ?, dead_at = ?, token = NULL
            WHERE webhook_id = ? AND token = ?
        """
        self._release = f"""
            UPDATE {name} SET due_at = ?, token = NULL
            WHERE dead_at IS NULL AND token IS NOT NULL
        """
        self._retry = f"UPDATE {name} SET dead_at = NULL, attempts = 0, due_at = ?"
        self._next_due = f"""
            SELECT due_at FROM {name} WHERE dead_at IS NULL AND {to_others}
            ORDER BY due_at LIMIT 1
        """
        # Of webhooks that wait and of dead ones: each number is found by an index.
        self._stats = f"""
            SELECT (SELECT count(*) FROM {name} WHERE dead_at IS NULL),
                   (SELECT count(*) FROM {name} WHERE dead_at IS NOT NULL),
                   (SELECT min(created_at) FROM {name} WHERE dead_at IS NULL)
        """
        self._expire = f"""
            WITH expired AS ({_expired(name, dialect.skip, piece)})
            DELETE FROM {name} WHERE webhook_id IN (SELECT webhook_id FROM expired) RETURNING 1
        """

    def note(self, connection: Connection, end: Notice, now: datetime) -> None:
        """Put the end of a run into the outbox, if the run has a webhook."""
        run = end.run
        if run.webhook is None:
            return
        codecs = self.dialect.codecs
        moment = codecs.moment.write(now)
        payload = notice(run, end.status, started_at=end.started_at, ended_at=now, error=end.error)
        values = (
            codecs.id.write(uuid7()),
            codecs.id.write(run.run_id),
            run.webhook,
            host_of(run.webhook),
            codecs.content.write(payload),
            self.rows.value("user", run.user),
            codecs.id.write(run.thread_id),
            end.with_values,
            moment,
            moment,
        )
        self.dialect.execute(connection, self._note, values)

    def claim(
        self,
        connection: Connection,
        *,
        now: datetime,
        lease_until: datetime,
        avoid: Sequence[str],
        limit: int,
    ) -> list[Delivery]:
        codecs = self.dialect.codecs
        values = (
            codecs.moment.write(now),
            self.dialect.many(list(avoid)),
            limit,
            codecs.moment.write(lease_until),
            codecs.id.write(uuid4()),
        )
        rows = self.dialect.execute(connection, self._claim, values).fetchall()
        return [self.rows.record(row) for row in rows]

    def next_due(self, connection: Connection, avoid: Sequence[str]) -> datetime | None:
        codecs = self.dialect.codecs
        row = self.execute(connection, self._next_due, self.dialect.many(list(avoid))).fetchone()
        return None if row is None else codecs.moment.read(*row)

    def fail(
        self,
        connection: Connection,
        delivery: Delivery,
        error: str,
        *,
        retry_at: datetime | None,
        now: datetime,
    ) -> None:
        codecs = self.dialect.codecs
        values = (
            codecs.moment.write(retry_at or now),
            codecs.string.write(error),
            None if retry_at is not None else codecs.moment.write(now),
            codecs.id.write(delivery.webhook_id),
            self.rows.value("token", delivery.token),
        )
        self.dialect.execute(connection, self._fail, values)

    def release(self, connection: Connection, now: datetime) -> None:
        self.execute(connection, self._release, self.dialect.codecs.moment.write(now))

    def retry(self, connection: Connection, webhook_id: UUID | None, now: datetime) -> int:
        where = _IS_DEAD & self.matching(webhook_id=webhook_id)
        statement = f"{self._retry}{where.clause()} RETURNING 1"
        moment = self.dialect.codecs.moment.write(now)
        return len(self.execute(connection, statement, moment, *where.values).fetchall())

    def expire(self, connection: Connection, before: datetime, limit: int) -> int:
        moment = self.dialect.codecs.moment.write(before)
        return len(self.execute(connection, self._expire, moment, limit).fetchall())

    def stats(self, connection: Connection, now: datetime) -> OutboxStats:
        ((pending, dead, oldest),) = self.execute(connection, self._stats).fetchall()
        if oldest is None:
            return OutboxStats(pending, dead)
        age = now - self.dialect.codecs.moment.read(oldest)
        return OutboxStats(pending, dead, age.total_seconds())


class DatabaseWebhooks(Generic[Connection]):
    """``WebhookStorage`` on the server's database."""

    def __init__(
        self,
        access: Access[Connection],
        dialect: Dialect[Connection],
        clock: Clock,
        *,
        claiming: Claiming[Connection] | None = None,
        piece: Piece | None = None,
    ) -> None:
        """Make the storage.

        Args:
            access: Executes works.
            dialect: The SQL of the database.
            clock: Time.
            claiming: Executes one statement that changes rows at the price of a query; None: a
                transaction, which is worth a query whether any webhook is due.
            piece: The most that one transaction deletes; None: any number of rows.
        """
        self._access = access
        self._clock = clock
        self._claiming = claiming
        self._piece = piece
        self._outbox = Outbox(dialect, piece)
        self._dead = Table(dialect, "webhooks", DEAD)

    async def claim(
        self, limit: int, lease_seconds: float, *, avoid: Sequence[str] = ()
    ) -> Sequence[Delivery]:
        now = self._clock.now()
        if self._claiming is None:
            due = await self.next_due(avoid=avoid)
            if due is None or due > now:
                return []
        lease_until = now + timedelta(seconds=lease_seconds)
        work = partial(
            self._outbox.claim, now=now, lease_until=lease_until, avoid=avoid, limit=limit
        )
        return await (self._claiming or self._access.write)(work)

    async def delivered(self, delivery: Delivery) -> None:
        held = self._outbox.equal(webhook_id=delivery.webhook_id, token=delivery.token)
        await self._access.write(lambda c: self._outbox.delete(c, held))

    async def failed(self, delivery: Delivery, error: str, retry_at: datetime | None) -> None:
        now = self._clock.now()
        await self._access.write(
            lambda c: self._outbox.fail(c, delivery, error, retry_at=retry_at, now=now)
        )

    async def next_due(self, *, avoid: Sequence[str] = ()) -> datetime | None:
        return await self._access.point(partial(self._outbox.next_due, avoid=avoid))

    async def release(self) -> None:
        now = self._clock.now()
        await self._access.write(lambda c: self._outbox.release(c, now))

    async def dead(self, limit: int) -> Sequence[DeadWebhook]:
        order = "dead_at DESC, webhook_id DESC"
        return await self._access.ask(lambda c: self._dead.select(c, _IS_DEAD, order, limit))

    async def retry(self, webhook_id: UUID | None) -> int:
        now = self._clock.now()
        count = await self._access.write(lambda c: self._outbox.retry(c, webhook_id, now))
        if webhook_id is not None and count == 0:
            raise WebhookNotFound(webhook_id)
        return count

    async def expire(self, before: datetime, limit: int) -> int:
        deleted = 0
        while deleted < limit:
            rows = (
                limit - deleted if self._piece is None else min(self._piece.rows, limit - deleted)
            )
            found = await self._access.write(
                partial(self._outbox.expire, before=before, limit=rows)
            )
            if not found:
                break
            deleted += found
        return deleted

    async def stats(self) -> OutboxStats:
        now = self._clock.now()
        return await self._access.point(partial(self._outbox.stats, now=now))


def _expired(name: str, skip: str, piece: Piece | None) -> str:
    """Return the query of the first dead webhooks before a moment, up to a number of them."""
    size = "" if piece is None else f", dead_at, {piece.size} AS size"
    found = f"""
        SELECT webhook_id{size} FROM {name} WHERE dead_at IS NOT NULL AND dead_at < ?
        ORDER BY dead_at, webhook_id LIMIT ?{skip}
    """
    if piece is None:
        return found
    return f"""
        SELECT webhook_id FROM (
            SELECT webhook_id, sum(size) OVER (ORDER BY dead_at, webhook_id) - size AS before
            FROM ({found}))
        WHERE before < {piece.bytes}
    """
