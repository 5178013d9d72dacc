"""The state of the queue of runs in SQLite."""

from __future__ import annotations

import sqlite3
from typing import Final

from loomline.server.domain.runs import QueueStats
from loomline.server.storage.run_stats import RunStats
from loomline.server.storage.sqlite.dialect import DIALECT
from loomline.server.storage.sqlite.rows import moment

_STATS: Final = RunStats(DIALECT, running="runs INDEXED BY one_running_run_per_thread")


def queue_stats(connection: sqlite3.Connection, now: int, graphs: str | None) -> QueueStats:
    names = None if graphs is None else DIALECT.codecs.strings.read(graphs)
    return _STATS.read(connection, moment(now), names)
