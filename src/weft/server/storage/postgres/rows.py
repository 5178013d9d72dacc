"""Between rows and values. JSON comes out of the database as bytes."""

from __future__ import annotations

from weft.server.domain.json import Encoded, JsonObject, dump, load_object, without_nul


def jsonb(value: JsonObject) -> str:
    """Return a parameter for a column the database looks into, which takes no NUL characters."""
    return without_nul(dump(value)).decode()


def obj(value: bytes) -> JsonObject:
    return load_object(value)


def encoded(value: bytes | None) -> Encoded | None:
    return None if value is None else Encoded(value)


def optional_text(value: Encoded | None) -> str | None:
    return None if value is None else value.decode()
