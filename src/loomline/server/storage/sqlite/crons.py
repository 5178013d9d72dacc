"""Crons in SQLite."""

from __future__ import annotations

import sqlite3
from typing import Final

from loomline.server.domain.crons import Firing
from loomline.server.storage.crons import CronTable
from loomline.server.storage.sqlite.dialect import DIALECT

_CRONS: Final = CronTable(DIALECT)


def move_date(connection: sqlite3.Connection, firing: Firing) -> bool:
    """End a due time; return False where it is over already."""
    return _CRONS.move_date(connection, firing)
