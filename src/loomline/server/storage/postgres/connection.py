"""Connections to PostgreSQL."""

from __future__ import annotations

import select
from collections.abc import Callable
from typing import Any, ClassVar, TypeAlias, TypeVar

import psycopg
from psycopg import errors
from psycopg.abc import Buffer
from psycopg.adapt import Loader
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import Format, TransactionStatus
from psycopg.rows import TupleRow

from loomline.server.ports.measures import NO_MEASURES, Measures
from loomline.server.storage.pool import FenceLost, PooledDatabase, itself
from loomline.server.storage.postgres.failures import not_a_url, unavailable

__all__ = ["Connection", "Cursor", "Database", "Work", "connect", "itself", "parameters", "usable"]

T = TypeVar("T")
Connection: TypeAlias = psycopg.Connection[TupleRow]
Cursor: TypeAlias = psycopg.Cursor[TupleRow]
Work: TypeAlias = Callable[[Connection], T]

# Of two transactions that get into each other's way one is told to come again.
_AGAIN = (errors.DeadlockDetected, errors.SerializationFailure, errors.UniqueViolation)

_DEFAULTS = {
    "application_name": "loomline",
    "connect_timeout": "5",
    # A server that has vanished without a word is noticed within half a minute.
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "25000",
}

# A process that freezes in the middle of a transaction must not hold its locks for ever.
_SESSION = """
    SELECT set_config('TimeZone', 'UTC', false),
           set_config('lock_timeout', '10s', false),
           set_config('statement_timeout', '60s', false),
           set_config('idle_in_transaction_session_timeout', '60s', false)
"""

BEGIN_READING = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"


_FENCE = "LL001"


class _RawJson(Loader):
    """JSON as it comes: most of it goes out again without being looked at."""

    def load(self, data: Buffer) -> bytes:
        return bytes(data)


class _RawBinaryJsonb(_RawJson):
    format = Format.BINARY

    def load(self, data: Buffer) -> bytes:
        return bytes(data)[1:]  # the first byte is the version of the format


class _RawBinaryJson(_RawJson):
    format = Format.BINARY


def parameters(url: str) -> dict[str, Any]:
    """Return what to connect with.

    Raises:
        StorageUnavailable: the address cannot be read.
    """
    try:
        return _DEFAULTS | conninfo_to_dict(url)
    except psycopg.Error:
        # The driver's text may quote the address, and with it the password.
        raise not_a_url() from None


def connect(given: dict[str, Any]) -> Connection:
    """Return a connection in autocommit mode."""
    connection = psycopg.connect(**given, autocommit=True, prepare_threshold=2)
    for name, loader in (
        ("json", _RawJson),
        ("jsonb", _RawJson),
        ("json", _RawBinaryJson),
        ("jsonb", _RawBinaryJsonb),
    ):
        connection.adapters.register_loader(name, loader)
    connection.execute(_SESSION)
    return connection


class Database(PooledDatabase[Connection]):
    """Threads with a connection to PostgreSQL each."""

    reading = BEGIN_READING
    again: ClassVar[tuple[type[Exception], ...]] = _AGAIN
    error: ClassVar[type[Exception]] = psycopg.Error

    def __init__(
        self, given: dict[str, Any], connections: int, measures: Measures = NO_MEASURES
    ) -> None:
        super().__init__(connections, measures)
        self._given = given

    def connect(self) -> Connection:
        return connect(self._given)

    def usable(self, connection: Connection) -> bool:
        return usable(connection)

    def tidied(self, connection: Connection) -> bool:
        try:
            if connection.info.transaction_status != TransactionStatus.IDLE:
                connection.rollback()
        except psycopg.Error:
            return False
        return not connection.closed

    def failed(self, error: Exception) -> Exception:
        assert isinstance(error, psycopg.Error)
        return FenceLost() if error.sqlstate == _FENCE else unavailable(error)

    def transaction(self, connection: Connection, work: Work[T], begin: str) -> T:
        with connection.pipeline():
            connection.execute(begin)
            result = work(connection)
            connection.execute("COMMIT")
        return result


def usable(connection: Connection) -> bool:
    """Return whether a connection that was idle is still good.

    What has come meanwhile is hardly anything else than its end. Looking costs next to nothing, so
    that a restart of the database is not noticed by failing.
    """
    if connection.closed:
        return False
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    if not poll.poll(0):
        return True
    try:
        connection.execute("SELECT 1")
    except psycopg.Error:
        return False
    return True
