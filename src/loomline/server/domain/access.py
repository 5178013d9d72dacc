"""Conditions on metadata: which rows somebody may see and change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, TypeAlias, cast

import orjson

from loomline.server.domain.json import Json, JsonObject, dump


@dataclass(frozen=True, slots=True)
class Equal:
    """The value of a key is this one. A key that is not there has no value, not even null."""

    key: str
    value: Json


@dataclass(frozen=True, slots=True)
class Has:
    """The value of a key is an array with all these scalars."""

    key: str
    members: tuple[Json, ...]


@dataclass(frozen=True, slots=True)
class AllOf:
    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    parts: tuple[Condition, ...]


Condition: TypeAlias = "Equal | Has | AllOf | AnyOf"

EVERYTHING: Final = AllOf(())
"""The condition that every row meets."""


def both(first: Condition, second: Condition) -> Condition:
    """Return the condition of rows that meet two."""
    given = [each for each in (first, second) if each != EVERYTHING]
    return given[0] if len(given) == 1 else AllOf(tuple(given))


def meets(metadata: JsonObject, condition: Condition) -> bool:
    """Return whether a row with this metadata meets a condition: the definition for all drivers."""
    if isinstance(condition, AllOf):
        return all(meets(metadata, part) for part in condition.parts)
    if isinstance(condition, AnyOf):
        return any(meets(metadata, part) for part in condition.parts)
    if condition.key not in metadata:
        return False
    value = metadata[condition.key]
    if isinstance(condition, Equal):
        return equal(value, condition.value)
    return isinstance(value, list) and all(
        any(equal(each, wanted) for each in value) for wanted in condition.members
    )


def equal(first: Json, second: Json) -> bool:
    """Return whether two values are the same JSON: 1 is 1.0, and neither is true."""
    if isinstance(first, dict) and isinstance(second, dict):
        return first.keys() == second.keys() and all(
            equal(first[key], second[key]) for key in first
        )
    if isinstance(first, list) and isinstance(second, list):
        return len(first) == len(second) and all(map(equal, first, second))
    return first == second and isinstance(first, bool) == isinstance(second, bool)


def encode(condition: Condition) -> str:
    """Return a condition as JSON, in the form that databases evaluate."""
    return dump(_plain(condition)).decode()


@lru_cache(maxsize=64)
def decode(encoded: str) -> Condition:
    """Return the condition that was encoded."""
    return _condition(orjson.loads(encoded))


def pattern(condition: Condition) -> tuple[JsonObject, bool]:
    """Return what the metadata of a row contains if it meets a condition, for an index.

    The second value tells whether every row that contains it also meets the condition.
    """
    found: JsonObject = {}
    exact = _gather(condition, found)
    return found, exact


def _gather(condition: Condition, found: JsonObject) -> bool:
    if isinstance(condition, AllOf):
        exact = [_gather(part, found) for part in condition.parts]
        return all(exact)
    if isinstance(condition, AnyOf) or condition.key in found:
        return False
    if isinstance(condition, Equal):
        found[condition.key] = condition.value
        return not isinstance(condition.value, (dict, list))
    found[condition.key] = list(condition.members)
    return True


def _plain(condition: Condition) -> list[Json]:
    if isinstance(condition, AllOf):
        return ["all", cast("list[Json]", [_plain(part) for part in condition.parts])]
    if isinstance(condition, AnyOf):
        return ["any", cast("list[Json]", [_plain(part) for part in condition.parts])]
    if isinstance(condition, Equal):
        return ["equal", condition.key, condition.value]
    return ["has", condition.key, list(condition.members)]


def _condition(plain: Sequence[Json]) -> Condition:
    kind, *rest = plain
    if kind in {"all", "any"}:
        parts = tuple(map(_condition, cast("list[list[Json]]", rest[0])))
        return AllOf(parts) if kind == "all" else AnyOf(parts)
    key = cast("str", rest[0])
    return Equal(key, rest[1]) if kind == "equal" else Has(key, tuple(cast("list[Json]", rest[1])))
