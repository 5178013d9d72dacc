"""Filters on the values of items, as conditions: what ``domain.items.matches`` says, in SQL."""

from __future__ import annotations

from collections.abc import Mapping

from loomline.server.domain.json import Json, JsonObject, dump
from loomline.server.storage.postgres.rows import plain, searchable

_EQUAL: Mapping[str, str] = {"$eq": "=", "$ne": "<>"}
_ORDERED: Mapping[str, str] = {"$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}
_OPERATORS = _EQUAL.keys() | _ORDERED.keys()


class Filter:
    """Makes a condition of a pattern, and collects what is to be sent with it."""

    def __init__(self, pattern: JsonObject) -> None:
        self.parameters: dict[str, str] = {}
        self.condition: str = self._matches("value", pattern)

    def _matches(self, found: str, pattern: Json) -> str:
        """Return when a place matches; it is null in SQL where a key is missing."""
        if not isinstance(pattern, dict):
            return self._equal(found, "=", pattern)
        parts = [
            self._compared(found, operator, value)
            for operator, value in pattern.items()
            if operator in _OPERATORS
        ]
        if not parts or len(parts) < len(pattern):
            parts.append(f"jsonb_typeof({found}) = 'object'")
        parts += [
            self._matches(f"({found} -> {self._text(key)})", part)
            for key, part in pattern.items()
            if key not in _OPERATORS
        ]
        return " AND ".join(parts)

    def _compared(self, found: str, operator: str, value: Json) -> str:
        if operator in _EQUAL:
            return self._equal(found, _EQUAL[operator], value)
        return self._ordered(found, _ORDERED[operator], value)

    def _equal(self, found: str, sign: str, value: Json) -> str:
        return f"coalesce({found}, 'null') {sign} {self._json(value)}"

    def _ordered(self, found: str, sign: str, bound: Json) -> str:
        if isinstance(bound, str):
            text = f"({found} #>> '{{}}') COLLATE \"C\""
            return f"(jsonb_typeof({found}) = 'string' AND {text} {sign} {self._text(bound)})"
        if isinstance(bound, (int, float)) and not isinstance(bound, bool):
            return f"(jsonb_typeof({found}) = 'number' AND {found} {sign} {self._json(bound)})"
        return "FALSE"

    def _text(self, value: str) -> str:
        return f"{self._sent(plain(value))}::text"

    def _json(self, value: Json) -> str:
        return f"{self._sent(searchable(dump(value)).decode())}::jsonb"

    def _sent(self, value: str) -> str:
        name = f"filter{len(self.parameters)}"
        self.parameters[name] = value
        return f"%({name})s"
