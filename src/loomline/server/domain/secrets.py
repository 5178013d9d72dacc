"""Headers that runs may read and nobody else may see."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

MASK: Final = "***"
"""What is shown in place of a secret."""

_SECRET: Final = re.compile(
    r"authorization|cookie|token|secret|passw|credential|(^|[-_])api[-_]?key|signature"
)


def is_secret(name: str) -> bool:
    """Return whether the name of a header says that its value is nobody's business."""
    return _SECRET.search(name.lower()) is not None


def masked(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return headers with the values of secret ones replaced."""
    return {name: MASK if is_secret(name) else value for name, value in headers}
