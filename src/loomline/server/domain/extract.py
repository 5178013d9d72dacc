"""Paths into rows, such as ``values.messages[-1].content``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from loomline.server.domain.errors import InvalidInput
from loomline.server.domain.json import Json

ROOTS: Final = ("config", "interrupts", "metadata", "values")

MOST: Final = 10
"""Paths in one request."""

_ALIAS: Final = re.compile(r"\w{1,200}", re.ASCII)
_PATH_MOST: Final = 1000
_STEP: Final = re.compile(r"\.([^.\[\]]+)|\[(-?[0-9]{1,9})\]")

Step: TypeAlias = str | int


@dataclass(frozen=True, slots=True)
class Path:
    """``root`` is a field of the row. ``steps`` lead on from there; None: they lead nowhere."""

    root: str
    steps: tuple[Step, ...] | None

    def resolve(self, row: Mapping[str, Json]) -> Json:
        """Return what is at the end of the path, None where there is nothing."""
        if self.steps is None:
            return None
        found = row.get(self.root)
        for step in self.steps:
            found = _follow(found, step)
        return found


def parse_paths(given: Mapping[str, str]) -> dict[str, Path]:
    """Return the paths of a request by their aliases.

    Raises:
        InvalidInput: there are too many, or an alias or the beginning of a path does not fit.
    """
    if len(given) > MOST:
        raise InvalidInput(f"'extract' may have {MOST} paths at most, got {len(given)}")
    return {_alias(alias): _path(path) for alias, path in given.items()}


def _alias(alias: str) -> str:
    if not _ALIAS.fullmatch(alias):
        raise InvalidInput(
            f"Extract key '{alias:.200}' must be a valid identifier (letters, digits, underscores)"
        )
    return alias


def _path(path: str) -> Path:
    root = re.split(r"[.\[]", path, maxsplit=1)[0]
    if root not in ROOTS:
        raise InvalidInput(f"Extract path '{path:.200}' must start with one of: {', '.join(ROOTS)}")
    if len(path) > _PATH_MOST:
        raise InvalidInput(f"Extract path '{path:.200}...' is longer than {_PATH_MOST} characters")
    return Path(root, _steps(path[len(root) :]))


def _steps(text: str) -> tuple[Step, ...] | None:
    steps: list[Step] = []
    place = 0
    while place < len(text):
        match = _STEP.match(text, place)
        if match is None:
            return None
        steps.append(match[1] if match[2] is None else int(match[2]))
        place = match.end()
    return tuple(steps)


def _follow(value: Json, step: Step) -> Json:
    if isinstance(step, str):
        return value.get(step) if isinstance(value, dict) else None
    inside = isinstance(value, list) and -len(value) <= step < len(value)
    return value[step] if isinstance(value, list) and inside else None
