"""The scalars in a document, each as one text with its path: what an index can find it by."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from itertools import islice

import orjson

from loomline.server.domain.json import Json, JsonObject

MOST = 100
"""Scalars of a document that are kept; of one that has more none is."""

TOO_MANY = "*"

_LONGEST = 120

# In the path, for whichever element of an array: order and repetition do not matter.
_ELEMENT = 0


@dataclass(frozen=True, slots=True)
class PatternLeaves:
    """The leaves a document must have to contain a pattern.

    ``exact``: a document that has them all contains it.
    """

    leaves: tuple[str, ...]
    exact: bool


def document_leaves(document: Json) -> list[str]:
    """Return the distinct leaves of a document, or ``TOO_MANY`` in their place."""
    found = set(islice(_leaves(document, []), MOST + 1))
    return [TOO_MANY] if len(found) > MOST else sorted(found)


def json_leaves(document: str) -> str:
    """Return the leaves of a document as a JSON array. Statements call this."""
    return orjson.dumps(document_leaves(orjson.loads(document))).decode()


def pattern_leaves(pattern: JsonObject, most: int) -> PatternLeaves:
    """Return the leaves of a pattern, ``most`` of them."""
    found = tuple(dict.fromkeys(islice(_leaves(pattern, []), most + 1)))
    return PatternLeaves(found[:most], exact=len(found) <= most and _is_plain(pattern))


def _leaves(value: Json, path: list[str | int]) -> Iterator[str]:
    if isinstance(value, dict):
        for key, each in value.items():
            yield from _leaves(each, [*path, key])
    elif isinstance(value, list):
        for each in value:
            yield from _leaves(each, [*path, _ELEMENT])
    else:
        yield _leaf(path, value)


def _leaf(path: list[str | int], value: Json) -> str:
    text = f"{orjson.dumps(path).decode()}{_scalar(value)}"
    return text if len(text) <= _LONGEST else blake2b(text.encode(), digest_size=20).hexdigest()


def _scalar(value: Json) -> str:
    """Return a text that is the same for equal values: JSON has one kind of number."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return orjson.dumps(value).decode()


def _is_plain(pattern: JsonObject) -> bool:
    """Return whether a pattern is nothing but scalars in objects."""
    return all(
        _is_plain(value) and bool(value) if isinstance(value, dict) else not isinstance(value, list)
        for value in pattern.values()
    )
