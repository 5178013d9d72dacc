"""From what a handler returns to a condition that a database can evaluate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import orjson

from loomline.server.authz.errors import BrokenAuth
from loomline.server.domain.access import AllOf, AnyOf, Condition, Equal, Has
from loomline.server.domain.json import Json

_OPERATORS: Final = ("$eq", "$contains")
_COMBINING: Final = ("$or", "$and")
_DEPTH_MOST: Final = 20


def parse_filter(given: object, depth: int = 0) -> Condition:
    """Return the condition that a filter means.

    ``{"owner": "ada"}`` and ``{"owner": {"$eq": "ada"}}``: the value is this one.
    ``{"teams": {"$contains": "a"}}``: the value is a list with this member, with a list: with all
    of them. Several keys, and several operators of a key, must all hold. ``{"$or": [...]}`` and
    ``{"$and": [...]}`` combine two filters or more.

    Raises:
        BrokenAuth: it means nothing.
    """
    if not isinstance(given, Mapping):
        raise BrokenAuth(
            f"Your auth handler returned a filter with a part of type '{type(given).__name__}':"
            " each must be an object."
        )
    if depth > _DEPTH_MOST:
        raise BrokenAuth("Your auth handler returned a filter that is nested too deeply.")
    parts = [part for key, value in given.items() for part in _parts(key, value, depth)]
    return parts[0] if len(parts) == 1 else AllOf(tuple(parts))


def _parts(key: object, value: object, depth: int) -> list[Condition]:
    if not isinstance(key, str):
        raise BrokenAuth(f"Your auth handler returned a filter with a key that is no text: {key!r}")
    if key in _COMBINING:
        filters = tuple(parse_filter(each, depth + 1) for each in _several(key, value))
        return [AnyOf(filters) if key == "$or" else AllOf(filters)]
    if key.startswith("$"):
        raise _unknown(key)
    if not isinstance(value, Mapping) or not _has_operators(value):
        return [Equal(key, _json(value))]
    if unknown := [name for name in value if name not in _OPERATORS]:
        raise _unknown(unknown[0])
    return [_operation(key, operator, wanted) for operator, wanted in value.items()]


def _has_operators(value: Mapping[object, object]) -> bool:
    return any(isinstance(name, str) and name.startswith("$") for name in value)


def _several(operator: str, value: object) -> Sequence[object]:
    if isinstance(value, (list, tuple)) and len(value) >= 2:
        return value
    raise BrokenAuth(
        f"Your auth handler returned a filter with an invalid {operator} operator. It must be a"
        " list of at least two filters."
    )


def _operation(key: str, operator: str, wanted: object) -> Condition:
    value = _json(wanted)
    if operator == "$eq":
        return Equal(key, value)
    members = value if isinstance(value, list) else [value]
    if any(isinstance(each, (dict, list)) for each in members):
        raise BrokenAuth(
            "Your auth handler returned a filter with an invalid $contains operator. It must be a"
            " text, a number, a boolean or null, or a list of those."
        )
    return Has(key, tuple(members))


def _unknown(operator: object) -> BrokenAuth:
    known = ", ".join((*_OPERATORS, *_COMBINING))
    return BrokenAuth(
        f"Your auth handler returned a filter with an unknown operator '{operator}'. Known are:"
        f" {known}."
    )


def _json(value: object) -> Json:
    """Return a value as the JSON that rows hold.

    Raises:
        BrokenAuth: JSON cannot say it.
    """
    try:
        plain: Json = orjson.loads(orjson.dumps(value))
    except (TypeError, ValueError):
        plain = None
    if plain is None and value is not None:  # what orjson refuses, and numbers like NaN
        raise BrokenAuth("Your auth handler returned a filter with a value that is no JSON.")
    return plain
