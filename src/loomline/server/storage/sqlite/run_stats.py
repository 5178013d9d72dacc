"""The state of the queue of runs in SQLite."""

from __future__ import annotations

from typing import Final

from loomline.server.storage.run_stats import RunStats
from loomline.server.storage.sqlite.dialect import DIALECT

_STATS: Final = RunStats(DIALECT, running="runs INDEXED BY one_running_run_per_thread")

queue_stats = _STATS.read
