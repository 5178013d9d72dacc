"""Searching: what a filter means, and what a search gives back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from loomline.server.domain.json import Json

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some rows of a search. ``total`` is how many match in all, where that was cheap to know."""

    rows: Sequence[T]
    more: bool
    total: int | None = None


def contains(document: Json, pattern: Json) -> bool:
    """Return whether a document contains a pattern, as PostgreSQL's ``jsonb @>`` has it."""
    if isinstance(pattern, dict) and isinstance(document, dict):
        return all(key in document and contains(document[key], pattern[key]) for key in pattern)
    if isinstance(pattern, list) and isinstance(document, list):
        return all(any(contains(each, wanted) for each in document) for wanted in pattern)
    # In Python True equals 1, in JSON it does not.
    return document == pattern and isinstance(document, bool) == isinstance(pattern, bool)
