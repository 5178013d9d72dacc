"""Values of channels that stay in the JSON of a checkpoint instead of having rows of their own."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, cast

_TEXT_MOST: Final = 512
_INT64: Final = 2**63
_CONTAINERS: Final = (dict, list)

# A container is repeated in each checkpoint while it is in the state, so it must be tiny. The input
# of many runs is such a container, and is in one checkpoint only.
_ROOM: Final = 100
_PART: Final = 4


def is_inline(value: object) -> bool:
    """Return whether a value is small, and JSON in every database gives back exactly this value."""
    if type(value) in _CONTAINERS:
        return _room_after(value, _ROOM) is not None
    return _is_plain(value)


def _room_after(value: object, room: int) -> int | None:
    """Return the room that a value leaves, or None if it is not plain or too large."""
    kind = type(value)
    if kind is dict:
        return _room_after_object(cast("dict[object, object]", value), room)
    if kind is list:
        return _room_after_all(cast("list[object]", value), room)
    if not _is_plain(value):
        return None
    return room - (len(cast("str", value)) if kind is str else 0)


def _room_after_object(value: dict[object, object], room: int) -> int | None:
    if len(value) * _PART > room or not all(type(key) is str for key in value):
        return None
    keys = cast("list[str]", list(value))
    # jsonb of PostgreSQL sorts the keys, so only objects in that order come back alike.
    if not all(map(_is_storable, keys)) or keys != sorted(keys, key=_jsonb_order):
        return None
    left = _room_after_all(keys, room)
    return None if left is None else _room_after_all(value.values(), left)


def _jsonb_order(key: str) -> tuple[int, bytes]:
    encoded = key.encode()
    return len(encoded), encoded


def _room_after_all(values: Collection[object], room: int) -> int | None:
    left: int | None = room - _PART * len(values)
    for each in values:
        if left is None or left < 0:
            return None
        left = _room_after(each, left)
    return left if left is not None and left >= 0 else None


def _is_plain(value: object) -> bool:
    """Return whether JSON gives back exactly this value, and it is small."""
    kind = type(value)
    if value is None or kind is bool:
        return True
    if kind is int:
        return -_INT64 <= cast("int", value) < _INT64
    return kind is str and len(cast("str", value)) <= _TEXT_MOST and _is_storable(value)


def _is_storable(value: object) -> bool:
    text = cast("str", value)
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text
