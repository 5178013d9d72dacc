"""The state of the queue of runs in PostgreSQL."""

from __future__ import annotations

from typing import Final

from loomline.server.storage.postgres.dialect import DIALECT
from loomline.server.storage.run_stats import RunStats

_STATS: Final = RunStats(DIALECT)

queue_stats = _STATS.read
