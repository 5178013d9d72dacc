"""JSON as the domain sees it: decoded where it decides, encoded where it only passes through."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NewType, TypeAlias, cast

import orjson

from loomline.server.domain.errors import TooDeep

if TYPE_CHECKING:
    Json: TypeAlias = bool | int | float | str | list["Json"] | dict[str, "Json"] | None
else:
    # What was decoded from JSON is JSON: nothing is to be validated at run time.
    Json = object

JsonObject: TypeAlias = dict[str, Json]

Encoded = NewType("Encoded", bytes)
"""UTF-8 JSON text that is stored and sent as it is."""

EMPTY_OBJECT = Encoded(b"{}")


def dump(value: object) -> Encoded:
    """Encode what came in as JSON.

    Raises:
        TooDeep: it is nested deeper than about 250 levels.
    """
    try:
        return Encoded(orjson.dumps(value))
    except TypeError as error:
        # What was JSON can only fail for its depth.
        raise TooDeep from error


def copied(value: Json) -> Json:
    """Return a copy of decoded JSON: changes to its objects and arrays leave the original."""
    if isinstance(value, dict):
        return {key: copied(each) for key, each in value.items()}
    return [copied(each) for each in value] if isinstance(value, list) else value


VALUE_BYTES = 24
"""Memory of a value besides its JSON: an object of Python takes about that much."""


def weight(value: object) -> int:
    """Return the size of JSON with the memory of its values: commas in strings count, too.

    Raises:
        TooDeep: the value is nested deeper than about 250 levels.
    """
    encoded = dump(value)
    values = encoded.count(b"[") + encoded.count(b"{") + encoded.count(b",")
    return len(encoded) + VALUE_BYTES * values


def load_object(encoded: bytes | str) -> JsonObject:
    """Decode an object that was stored as one."""
    return cast("JsonObject", orjson.loads(encoded))


# A NUL as orjson writes it: an escape that is not itself escaped.
_NUL = re.compile(rb"(?<!\\)((?:\\\\)*)\\u0000")
_REPLACEMENT = b"\\g<1>" + "\N{REPLACEMENT CHARACTER}".encode()


def without_nul(encoded: bytes) -> Encoded:
    """Replace NUL characters, which databases cannot store, by U+FFFD."""
    return Encoded(_NUL.sub(_REPLACEMENT, encoded) if b"\\u0000" in encoded else encoded)
