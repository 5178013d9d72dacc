"""Between rows and values."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import orjson

from loomline.server.domain.json import Encoded, JsonObject, dump

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def micros(time: datetime) -> int:
    return (time - _EPOCH) // _MICROSECOND


def moment(value: int) -> datetime:
    return _EPOCH + timedelta(microseconds=value)


def text(value: JsonObject) -> str:
    return dump(value).decode()


def obj(value: str) -> JsonObject:
    decoded: JsonObject = orjson.loads(value)
    return decoded


def encoded(value: str | None) -> Encoded | None:
    return None if value is None else Encoded(value.encode())


def optional_text(value: Encoded | None) -> str | None:
    return None if value is None else value.decode()
