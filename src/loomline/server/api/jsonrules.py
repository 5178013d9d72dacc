"""Bounds on the JSON of requests, beside their bytes: a megabyte may hold a million objects."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from starlette.requests import HTTPConnection

from loomline.server.api.errors import BodyTooLarge
from loomline.server.domain.errors import InvalidInput, TooDeep
from loomline.server.domain.json import VALUE_BYTES, weight

JSON_RULES: Final = "loomline.json_rules"
"""The key in the scope of a request or WebSocket of the rules for its JSON."""

# Parts of this size bound the time and the memory that counting takes at once.
_SLICE: Final = 128 * 1024

_STRUCTURE: Final = b'"[{,'
_OTHERS: Final = bytes(byte for byte in range(256) if byte not in _STRUCTURE)


class TooManyValues(BodyTooLarge):
    """JSON of more objects, arrays and members than allowed."""

    def __init__(self, most: int) -> None:
        super().__init__(
            f"The JSON has more than {most} objects, arrays and members. Send fewer at once, or"
            " large data as strings."
        )


@dataclass(frozen=True, slots=True)
class JsonRules:
    """The bounds of the JSON of a request.

    Args:
        values: Objects, arrays and members.
        fields: Bytes of fields by their names, of each object that a request consists of.
        depth: Levels; None: as many as can be stored.
    """

    values: int
    fields: Mapping[str, int] = field(default_factory=dict)
    depth: int | None = None

    def check(self, raw: bytes, value: object) -> None:
        """Refuse decoded JSON that is nested too deeply, or has a field that is too large.

        Raises:
            TooDeep: it has more levels of objects and arrays than allowed.
            InvalidInput: a field is larger than its limit.
        """
        if self.depth is not None and _levels_at_most(raw) > self.depth:
            check_depth(value, self.depth)
        # Each value of a field has at least one byte there.
        if len(raw) * (1 + VALUE_BYTES) > min(self.fields.values(), default=len(raw) * 100):
            for each in _objects(value):
                self._check_fields(each)

    def _check_fields(self, fields: Mapping[str, object]) -> None:
        for name in self.fields.keys() & fields.keys():
            most = self.fields[name]
            if weight(fields[name]) > most:
                raise InvalidInput(
                    f"'{name}' is larger than the limit of {most} bytes, where each value counts"
                    f" {VALUE_BYTES} bytes more than its JSON. Large data belongs in the input."
                )


def rules_of(connection: HTTPConnection) -> JsonRules | None:
    """Return the rules for the JSON that comes over a connection, None where there are none."""
    rules: JsonRules | None = connection.scope.get(JSON_RULES)
    return rules


class ValueCount:
    """Counts the objects, arrays and members of JSON while it arrives.

    It costs some nanoseconds per byte, and nothing for JSON of fewer bytes than values are allowed.
    Characters within strings are not counted.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._size = 0
        self._held: list[bytes] = []
        self._values = 0
        self._in_string = 0
        self._escape = b""

    def add(self, piece: bytes) -> None:
        """Count a piece.

        Raises:
            TooManyValues: there are more by now than allowed.
        """
        self._size += len(piece)
        self._held.append(piece)
        if self._size > self._most:
            for held in self._held:
                for start in range(0, len(held), _SLICE):
                    self._count(held[start : start + _SLICE])
            self._held.clear()

    def _count(self, piece: bytes) -> None:
        text = self._escape + piece
        # A backslash at the end escapes the first character of the next piece.
        escapes = len(text) - len(text.rstrip(b"\\"))
        self._escape = b"\\" * (escapes % 2)
        text = text[: len(text) - escapes % 2]
        text = text.replace(b"\\\\", b"").replace(b'\\"', b"")
        # The parts alternate: outside of strings, within one, outside ...
        parts = text.translate(None, _OTHERS).split(b'"')
        self._values += sum(map(len, parts[self._in_string :: 2]))
        self._in_string ^= (len(parts) - 1) % 2
        if self._values > self._most:
            raise TooManyValues(self._most)


def count_values(raw: bytes, most: int) -> None:
    """Refuse JSON of too many values, before it is decoded.

    Raises:
        TooManyValues: it has more objects, arrays and members.
    """
    ValueCount(most).add(raw)


def check_depth(value: object, most: int) -> None:
    """Refuse JSON that is nested too deeply.

    Raises:
        TooDeep: it has more levels of objects and arrays.
    """
    level = list(_nested([value]))
    for _ in range(most):
        if not level:
            return
        level = [inner for each in level for inner in _nested(each)]
    if level:
        raise TooDeep


def _nested(value: dict[str, object] | list[object]) -> Iterable[dict[str, object] | list[object]]:
    inside = value.values() if isinstance(value, dict) else value
    return (each for each in inside if isinstance(each, dict | list))


def _levels_at_most(raw: bytes) -> int:
    """Return a number of levels that JSON cannot exceed, without looking at it closely."""
    return raw.count(b"[") + raw.count(b"{")


def _objects(value: object) -> Iterable[Mapping[str, object]]:
    """Return the objects that a request consists of: a body, those of a batch, a command's."""
    for each in value if isinstance(value, list) else [value]:
        if isinstance(each, dict):
            yield each
            if isinstance(each.get("params"), dict):
                yield each["params"]
