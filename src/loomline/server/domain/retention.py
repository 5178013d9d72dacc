"""How long the log of a run stays after the end of the run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

ENDED_SECONDS: Final = 30.0
"""The time in which readers that attach late still learn the end of a run."""


@dataclass(frozen=True, slots=True)
class Retention:
    """The policy of a server.

    Attributes:
        resumable_seconds: The time for runs with `stream_resumable`.
        ended_seconds: The time for all other runs.
    """

    resumable_seconds: float
    ended_seconds: float = ENDED_SECONDS

    @property
    def longest_seconds(self) -> float:
        """The time for a run of which only the id is known."""
        return max(self.resumable_seconds, self.ended_seconds)

    def seconds(self, *, resumable: bool) -> float:
        """Return the time for a run."""
        return self.resumable_seconds if resumable else self.ended_seconds
