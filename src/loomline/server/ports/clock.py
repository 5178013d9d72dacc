"""Time."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    def now(self) -> datetime:
        """Return the present as an aware UTC datetime.

        This clock may be set back or forward at any time, so it is for points in time: those that
        are stored, shown, or compared with stored ones. It does not measure durations.
        """
        ...

    def monotonic(self) -> float:
        """Return the seconds since some moment; they only grow. This measures durations."""
        ...

    async def sleep(self, seconds: float) -> None: ...
