"""When a broken event stream of a thread is opened again."""

from __future__ import annotations

import random
from typing import Final

ATTEMPTS: Final = 5
"""Attempts in a row that bring no event before it is given up."""

_FIRST_SECONDS: Final = 0.1
_LONGEST_SECONDS: Final = 2.0
_JITTER: Final = 0.25


def backoff(attempt: int) -> float:
    """Return the seconds to wait before an attempt, counted from 0."""
    seconds: float = min(_LONGEST_SECONDS, _FIRST_SECONDS * 2.0**attempt)
    return seconds * (1 + random.uniform(0, _JITTER))  # noqa: S311 - no secret
