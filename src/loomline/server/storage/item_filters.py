"""Filters on the values of items as conditions in SQL.

For databases that cannot call ``domain.items.matches``. The conditions mean the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeAlias

from loomline.server.domain.json import Json, JsonObject
from loomline.server.storage.tables import Where

_EQUAL: Final[Mapping[str, str]] = {"$eq": "=", "$ne": "<>"}
_ORDERED: Final[Mapping[str, str]] = {"$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}
_OPERATORS = _EQUAL.keys() | _ORDERED.keys()

_Path: TypeAlias = tuple[str, ...]


class Part(NamedTuple):
    """The expression of a part of an item's value, and the values in it."""

    sql: str
    values: tuple[object, ...] = ()


@dataclass(frozen=True, slots=True)
class FilterForm:
    """The differences between databases in conditions on JSON.

    The templates have ``{0}`` for a part, ``{1}`` for an operator, and ``?`` for the value that
    the part is compared with.

    Args:
        part: Returns the part at a path. Its expression is null where a key is missing.
        is_object: The condition that a part is an object.
        equal: The comparison with any JSON; a missing part counts as null.
        string: The comparison with a string by code points, false for a part of another type.
        number: The comparison with a number, false for a part of another type.
        json: Returns the stored form of JSON to compare with.
        text: Returns the stored form of a string to compare with.
    """

    part: Callable[[Sequence[str]], Part]
    is_object: str
    equal: str
    string: str
    number: str
    json: Callable[[Json], object]
    text: Callable[[str], object]


def filtered(pattern: JsonObject, form: FilterForm) -> Where:
    """Return the condition that the value of an item matches a pattern."""
    where = Where()
    for condition in _matching(pattern, (), form):
        where &= condition
    return where


def _matching(pattern: Json, path: _Path, form: FilterForm) -> Iterator[Where]:
    if not isinstance(pattern, dict):
        yield _compared("$eq", pattern, path, form)
        return
    operators = {key: value for key, value in pattern.items() if key in _OPERATORS}
    for operator, value in operators.items():
        yield _compared(operator, value, path, form)
    if len(operators) < len(pattern) or not pattern:
        yield _condition(form.is_object, form.part(path))
    for key, part in pattern.items():
        if key not in operators:
            yield from _matching(part, (*path, key), form)


def _compared(operator: str, value: Json, path: _Path, form: FilterForm) -> Where:
    part = form.part(path)
    if operator in _EQUAL:
        return _condition(form.equal, part, _EQUAL[operator], form.json(value))
    sign = _ORDERED[operator]
    if isinstance(value, str):
        return _condition(form.string, part, sign, form.text(value))
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return _condition(form.number, part, sign, form.json(value))
    return Where(("FALSE",))


def _condition(template: str, part: Part, sign: str = "", *values: object) -> Where:
    repeated = part.values * template.count("{0}")
    return Where((template.format(part.sql, sign),), (*repeated, *values))
