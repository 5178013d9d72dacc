"""Headers of requests that runs get to see."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from loomline.server.domain.reserved import is_reserved


class HeaderPicker:
    """Picks headers by their names: exact ones, or with ``*`` for anything. Case does not matter.

    Args:
        includes: Which ones. None: no header at all.
        excludes: Which ones of these not.
    """

    def __init__(self, includes: Sequence[str] = (), excludes: Sequence[str] = ()) -> None:
        self._included = _pattern(includes)
        self._excluded = _pattern(excludes)

    def pick(self, headers: Iterable[tuple[str, str]]) -> dict[str, str]:
        """Return the picked headers by their lower-case names; of several the last counts."""
        if self._included is None:
            return {}
        lower = ((name.lower(), value) for name, value in headers)
        return {name: _storable(value) for name, value in lower if self._picks(name)}

    def _picks(self, name: str) -> bool:
        if name.startswith("_") or is_reserved(name):
            return False
        wanted = self._included is not None and self._included.fullmatch(name) is not None
        return wanted and not (self._excluded is not None and self._excluded.fullmatch(name))


def _pattern(names: Sequence[str]) -> re.Pattern[str] | None:
    if not names:
        return None
    parts = (".*".join(map(re.escape, name.lower().split("*"))) for name in names)
    return re.compile("|".join(parts))


def _storable(value: str) -> str:
    return value.replace("\0", "\N{REPLACEMENT CHARACTER}")
