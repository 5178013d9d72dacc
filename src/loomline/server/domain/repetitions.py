"""Failures that repeat: each kind is reported once in an interval."""

from __future__ import annotations

import time
import traceback
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Final

REPORT_SECONDS: Final = 300.0
"""The interval in which the same failure is reported once."""

_KINDS: Final = 1000


@dataclass(slots=True)
class _Kind:
    """A kind of failure: the time of its last report, and its repetitions since then."""

    since: float
    repeated: int = 0


class Repetitions:
    """Decides which failures are reported: each kind once in five minutes.

    The number of kinds is bounded; the kind that has not occurred for longest is forgotten first.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, kinds: int = _KINDS) -> None:
        self._clock = clock
        self._most = kinds
        self._kinds: OrderedDict[Hashable, _Kind] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kinds)

    def note(self, kind: Hashable) -> int:
        """Return 0 if this failure has to be reported, else the repetitions since the report."""
        now = self._clock()
        known = self._kinds.pop(kind, None)
        if known is None or now - known.since >= REPORT_SECONDS:
            known = _Kind(now)
        else:
            known.repeated += 1
        self._kinds[kind] = known
        if len(self._kinds) > self._most:
            self._kinds.popitem(last=False)
        return known.repeated


def origin(error: BaseException | None) -> str:
    """Return the file and the line that have raised an error; an empty string if none is known."""
    frames = list(traceback.walk_tb(None if error is None else error.__traceback__))
    if not frames:
        return ""
    frame, line = frames[-1]
    return f"{frame.f_code.co_filename}:{line}"
