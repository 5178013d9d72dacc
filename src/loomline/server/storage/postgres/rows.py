"""Between rows and values. JSON comes out of the database as bytes.

Where the database looks into JSON, equal numbers must be equal there as well: large ones are
written out, since ``1e23`` as a decimal is not the number that it stands for as a float.
"""

from __future__ import annotations

import re
from itertools import islice, product

import orjson

from loomline.server.domain.access import EVERYTHING, Condition, encode
from loomline.server.domain.json import Encoded, JsonObject, dump, load_object, without_nul

_EXPONENT = re.compile(rb"[0-9]e\+?[0-9]")

# Strings are matched so that what is in them is left alone.
_NUMBERS = re.compile(rb'"(?:[^"\\]|\\.)*"|(-?[0-9.]+e\+?[0-9]+|-?[0-9]{17,})')

_INTEGERS_BELOW = 2**64
"""What JSON has as whole numbers; larger ones are floats."""

_PATTERNS_MOST = 64


def jsonb(value: JsonObject) -> str:
    """Return a parameter for a column the database looks into, which takes no NUL characters."""
    return searchable(dump(value)).decode()


def searchable(content: bytes) -> bytes:
    """Return JSON without NUL characters and with its large numbers written out."""
    clean = without_nul(content)
    return _NUMBERS.sub(_written_out, clean) if _EXPONENT.search(clean) else clean


def patterns(value: JsonObject) -> list[str]:
    """Return a pattern in every way that its large numbers may be written in stored text."""
    content = without_nul(dump(value))
    parts: list[tuple[bytes, ...]] = []
    place = 0
    for match in _NUMBERS.finditer(content):
        if match[1] is not None:
            parts += [(content[place : match.start()],), _spellings(match[1])]
            place = match.end()
    ways = product(*parts, (content[place:],))
    return [b"".join(way).decode() for way in islice(ways, _PATTERNS_MOST)]


def access_parameter(access: Condition) -> str | None:
    """Return a parameter for ``loomline_meets``; None: every row meets the condition."""
    return None if access == EVERYTHING else searchable(encode(access).encode()).decode()


def plain(text: str) -> str:
    """Return text without NUL characters, which the database cannot store."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")


def obj(value: bytes) -> JsonObject:
    return load_object(value)


def encoded(value: bytes | None) -> Encoded | None:
    return None if value is None else Encoded(value)


def optional_text(value: Encoded | None) -> str | None:
    return None if value is None else value.decode()


def _written_out(match: re.Match[bytes]) -> bytes:
    number = match[1]
    if number is None or b"e" not in number:
        return match[0]
    return str(int(float(number))).encode()


def _spellings(number: bytes) -> tuple[bytes, ...]:
    value = int(float(number))
    if b"e" not in number:
        return (number, orjson.dumps(float(value))) if value == int(number) else (number,)
    return (number, str(value).encode()) if abs(value) < _INTEGERS_BELOW else (number,)
