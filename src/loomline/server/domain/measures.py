"""What processes count of themselves."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

REQUEST_MS: Final = (
    1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000, 5000, 15000, 60000, 300000, 3600000,
)  # fmt: skip

WAIT_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3600)


class Histogram:
    """Counts of values up to each bound; the last one is for those beyond all of them."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.sum: float = 0.0
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)

    def add(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self.sum += value

    def cumulated(self) -> list[tuple[str, float]]:
        """Return pairs of a bound, as metrics are written, and the count of values up to it."""
        total, found = 0, []
        for bound, count in zip((*self._bounds, math.inf), self._counts, strict=True):
            total += count
            found.append((f"{float(bound)}".replace("inf", "+Inf"), float(total)))
        return found


@dataclass(eq=False, slots=True)
class WorkerMeasures:
    """What a worker has done since its process began. It belongs to the worker's loop.

    ``waited``: from the time a run was due until it was claimed, in seconds. ``repeated`` are
    claims of runs that an earlier worker has died with. ``ended`` counts by status, and under
    "handed over" and "lost" what did not end here. ``requeued`` and ``given_up`` are runs of other
    workers that this one has found without a valid lease.
    """

    waited: Histogram = field(default_factory=lambda: Histogram(WAIT_SECONDS))
    claimed: int = 0
    repeated: int = 0
    requeued: int = 0
    given_up: int = 0
    ended: Counter[str] = field(default_factory=Counter)
