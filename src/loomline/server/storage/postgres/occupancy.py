"""How a process uses a database: alone, or with others that hear of each other."""

from __future__ import annotations

import logging
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import psycopg

from loomline.server.domain.errors import StorageUnavailable
from loomline.server.storage.postgres.connection import Connection, connect, usable

logger: logging.Logger = logging.getLogger("loomline.storage")

# Any number that nobody else in the database uses for its locks; the other half names the schema.
_LOCK = 0x77656675

_TAKE = {
    True: "SELECT pg_try_advisory_lock_shared(%s, hashtext(current_schema()))",
    False: "SELECT pg_try_advisory_lock(%s, hashtext(current_schema()))",
}

# The lock goes with the connection. That of a machine that has vanished shall go soon.
_VANISHED = """
    SELECT set_config('tcp_keepalives_idle', '10', false),
           set_config('tcp_keepalives_interval', '5', false),
           set_config('tcp_keepalives_count', '3', false),
           set_config('application_name', 'loomline-occupancy', false)
"""

_LOOK_SECONDS = 2.0

_TRY_SECONDS = 0.1

_TAKEN = {
    True: (
        "Another server uses this database, and has no Redis (--redis-url). Give all servers of a"
        " database the same --redis-url, or stop the other one."
    ),
    False: (
        "Another server uses this database already. Several servers and workers can share one if"
        " all of them have the same --redis-url. Otherwise stop the other one first."
    ),
}


@dataclass(frozen=True, slots=True)
class Use:
    """``shared``: with others that do the same. Otherwise alone.

    For ``patience_seconds`` a server that is just going is waited for.
    """

    shared: bool
    patience_seconds: float = 5.0


class Occupancy:
    """A lock in the database: of one process that is alone, or of any number that are not.

    It is bound to a connection. When that is lost the lock is taken again; should somebody else
    have got it meanwhile, that is logged as an error until it is over.
    """

    def __init__(self, given: dict[str, Any], use: Use) -> None:
        self._given = given
        self._shared = use.shared
        self._patience_seconds = use.patience_seconds
        self._connection: Connection | None = None
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="loomline-occupancy", daemon=True)

    def take(self) -> None:
        """Take the lock, waiting for a while for one who is just going.

        Raises:
            StorageUnavailable: somebody else has it.
            psycopg.Error: the database cannot be used.
        """
        deadline = time.monotonic() + self._patience_seconds
        try:
            while not self._try():
                if time.monotonic() >= deadline:
                    raise StorageUnavailable(_TAKEN[self._shared])
                time.sleep(_TRY_SECONDS)
        except BaseException:
            self._leave()
            raise
        self._thread.start()

    def close(self) -> None:
        self._end.set()
        self._thread.join()
        self._leave()

    def _keep(self) -> None:
        told = False
        while not self._end.wait(_LOOK_SECONDS):
            if self._connection is not None and usable(self._connection):
                continue
            held = self._try_again()
            if held is False and not told:
                logger.error(_TAKEN[self._shared])
            told = held is False

    def _try_again(self) -> bool | None:
        """Return whether the lock is held; None: the database is away."""
        self._leave()
        try:
            if self._try():
                return True
        except psycopg.Error:
            self._leave()
            return None
        self._leave()
        return False

    def _try(self) -> bool:
        if self._connection is None:
            self._connection = connect(self._given)
            self._connection.execute(_VANISHED)
        row = self._connection.execute(_TAKE[self._shared], (_LOCK,)).fetchone()
        return row is not None and bool(row[0])

    def _leave(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            # The server may see the end of the connection after the next process asks for the lock.
            with suppress(psycopg.Error):
                connection.execute("SELECT pg_advisory_unlock_all()")
            connection.close()
