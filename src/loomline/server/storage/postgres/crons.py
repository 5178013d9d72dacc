"""Crons in PostgreSQL."""

from __future__ import annotations

from typing import Final

from loomline.server.domain.crons import Firing
from loomline.server.storage.crons import CronTable
from loomline.server.storage.postgres.connection import Connection
from loomline.server.storage.postgres.dialect import DIALECT

_CRONS: Final = CronTable(DIALECT)


def move_date(connection: Connection, firing: Firing) -> bool:
    """End a due time; return False where it is over already."""
    return _CRONS.move_date(connection, firing)
