"""What went wrong, for users: sentences without addresses, passwords or the driver's words."""

from __future__ import annotations

import logging
from typing import Final

import psycopg
from psycopg import errors
from psycopg.conninfo import conninfo_to_dict

from loomline.server.domain.errors import StorageUnavailable
from loomline.server.storage.pool import UNAVAILABLE

logger: logging.Logger = logging.getLogger("loomline.storage")

_REASONS: Final = (
    (errors.DiskFull, "its disk is full"),
    (errors.TooManyConnections, "it has too many connections"),
    (errors.ReadOnlySqlTransaction, "it can only be read"),
    ((errors.LockNotAvailable, errors.QueryCanceled), "it is too busy"),
    (psycopg.OperationalError, "it does not answer"),
    (psycopg.InterfaceError, "it does not answer"),
)

_REFUSED = "password|authentication|role|pg_hba|no encryption|SSL"


def unavailable(error: psycopg.Error) -> StorageUnavailable:
    """Return the error for users; what the driver said goes to the log."""
    logger.error("database error: %s", str(error).strip())
    for kinds, reason in _REASONS:
        if isinstance(error, kinds):
            return StorageUnavailable(UNAVAILABLE.format(reason=reason))
    return StorageUnavailable(UNAVAILABLE.format(reason="it refused a statement"))


def not_a_url() -> StorageUnavailable:
    return StorageUnavailable(
        "The address of the database (--database-url) cannot be read. It looks like"
        " postgresql://user:password@host:5432/name."
    )


def not_opened(url: str, error: psycopg.Error) -> StorageUnavailable:
    """Return why a server cannot start, for the one who starts it."""
    text = str(error)
    place = _place(url)
    logger.debug("database error: %s", text.strip())
    if isinstance(error, errors.InsufficientPrivilege):
        return StorageUnavailable(
            f"The user of --database-url may not make tables in the database at {place}. Grant it"
            " CREATE on the schema, or run 'loomline migrate' as a user who may."
        )
    if any(word in text for word in _REFUSED.split("|")):
        return StorageUnavailable(
            f"The database server at {place} does not let this user in. Check the user and the"
            " password of --database-url."
        )
    if "does not exist" in text:
        return StorageUnavailable(
            f"The database server at {place} does not have this database. Create it, or change"
            " --database-url."
        )
    return StorageUnavailable(
        f"The database server at {place} cannot be reached. Check that it runs, and --database-url."
    )


def _place(url: str) -> str:
    given = conninfo_to_dict(url)
    host = given.get("host") or given.get("hostaddr") or "localhost"
    return f"'{host}'" if str(host).startswith("/") else f"'{host}:{given.get('port') or 5432}'"
