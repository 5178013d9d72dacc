"""Items of the store: their namespaces, and what a filter on their values means."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias, cast

from loomline.server.domain.errors import InvalidInput, UnusableInput
from loomline.server.domain.json import Json

Namespace: TypeAlias = tuple[str, ...]

ANY_LABEL = "*"
"""In a prefix or suffix: whichever label is there."""

TTL_MOST_MINUTES = 100 * 365 * 1440.0
"""A century: whatever lives longer lives for ever, and no date overflows."""


class UnsupportedOperator(UnusableInput, ValueError):
    """A filter that asks for a comparison that does not exist."""

    def __init__(self, name: str) -> None:
        super().__init__(f"Unsupported operator: {name}")
        self.name = name


def check_labels(namespace: Sequence[str]) -> None:
    """Make sure that every label is usable.

    Raises:
        InvalidInput: one is empty or contains a period.
    """
    for label in namespace:
        if not label or "." in label:
            raise InvalidInput(
                f"Namespace label '{label:.200}' must be a non-empty string without periods"
            )


def check_place(namespace: Namespace) -> None:
    """Make sure that items can be put under a namespace whose labels are usable.

    Raises:
        UnusableInput: it is empty, or begins with a reserved label.
    """
    if not namespace:
        raise UnusableInput("Namespace cannot be empty.")
    if namespace[0] == "langgraph":
        raise UnusableInput(f'Root label for namespace cannot be "langgraph". Got: {namespace}')


def check_filter(pattern: Json) -> None:
    """Make sure that a filter only uses operators that exist.

    Raises:
        UnsupportedOperator: it uses another one.
    """
    if isinstance(pattern, dict):
        for key, part in pattern.items():
            if key.startswith("$") and key not in _OPERATORS:
                raise UnsupportedOperator(key[:100])
            if not key.startswith("$"):
                check_filter(part)


def matches(value: Json, pattern: Json) -> bool:
    """Return whether the value of an item fits a filter.

    Objects are compared key by key, where a missing key counts as null; an object with operators
    holds when each of them does; everything else must be equal with type, arrays in order.
    ``$gt`` and the like compare numbers with numbers and strings with strings, by code point;
    between other types none of them holds.
    """
    if not isinstance(pattern, dict):
        return equal(value, pattern)
    operators = {key: part for key, part in pattern.items() if key in _OPERATORS}
    if not all(_OPERATORS[key](value, part) for key, part in operators.items()):
        return False
    if len(operators) == len(pattern) > 0:
        return True
    return isinstance(value, dict) and all(
        matches(value.get(key), part) for key, part in pattern.items() if key not in operators
    )


def equal(one: Json, other: Json) -> bool:
    """Return whether two values are the same JSON: ``1`` is ``1.0``, and neither is ``true``."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(equal, one, other))
    return isinstance(one, bool) == isinstance(other, bool) and one == other


def begins(namespace: Namespace, path: Sequence[str]) -> bool:
    """Return whether a namespace begins with a path, in which ``*`` is any one label."""
    return len(namespace) >= len(path) and _fits(namespace[: len(path)], path)


def ends(namespace: Namespace, path: Sequence[str]) -> bool:
    """Return whether a namespace ends with a path, in which ``*`` is any one label."""
    return len(namespace) >= len(path) and _fits(namespace[len(namespace) - len(path) :], path)


def _fits(labels: Namespace, path: Sequence[str]) -> bool:
    return all(part in {ANY_LABEL, label} for label, part in zip(labels, path, strict=True))


def _comparable(one: Json, other: Json) -> bool:
    if isinstance(one, str) or isinstance(other, str):
        return isinstance(one, str) and isinstance(other, str)
    return _is_number(one) and _is_number(other)


def _is_number(value: Json) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _ordered(compare: Callable[[float, float], bool]) -> _Test:
    return lambda value, bound: (
        # Two strings are compared in the same way as two numbers.
        _comparable(value, bound) and compare(cast("float", value), cast("float", bound))
    )


_Test: TypeAlias = Callable[[Json, Json], bool]

_OPERATORS: Mapping[str, _Test] = {
    "$eq": equal,
    "$ne": lambda value, other: not equal(value, other),
    "$gt": _ordered(operator.gt),
    "$gte": _ordered(operator.ge),
    "$lt": _ordered(operator.lt),
    "$lte": _ordered(operator.le),
}
