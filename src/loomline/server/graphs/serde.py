"""From Python values of graphs to JSON text, once, where they arise.

Almost everything is one call of orjson with a fallback for what it does not know. What it refuses
(huge integers, keys that are no strings, broken text) is rebuilt by hand, which is rare and slow.
"""

from __future__ import annotations

import base64
import dataclasses
import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import lru_cache
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
)
from operator import attrgetter, itemgetter, methodcaller
from pathlib import PurePath
from typing import Any, TypeAlias, cast
from uuid import UUID

import orjson
from langchain_core.messages import BaseMessage
from langgraph.types import Send
from pydantic import BaseModel

from loomline.server.domain.json import Encoded, without_nul

# What orjson itself can do, less what goes around a value.
MAX_DEPTH = 250

MESSAGE_FIELDS = ("content", "additional_kwargs", "response_metadata", "type", "name", "id")

_INT64_MIN, _UINT64_MAX = -(1 << 63), (1 << 64) - 1

# JSON in the making: the values are whatever the user's graph put there.
_Dict: TypeAlias = dict[str, Any]


def encode(value: object) -> Encoded:
    """Return a value as JSON, by the rules for state, custom data and events. Never fails.

    What JSON cannot say becomes null, as does what is nested deeper than ``MAX_DEPTH`` levels.
    """
    try:
        data = orjson.dumps(value, _default)
    except TypeError:
        data = _encode_slowly(value)
    return without_nul(data)


def message_dict(message: BaseMessage) -> _Dict:
    """Return a message as a JSON object: its fields in their order, then those it has besides."""
    state = message.__dict__
    names, values = _fields(type(message))
    try:
        shown = dict(zip(names, values(state), strict=True))
    except KeyError:
        return message.model_dump()
    if message.__pydantic_extra__:
        shown.update(message.__pydantic_extra__)
    return shown


class MessageEncoder:
    """Encodes the messages of one run, of which many share one metadata object."""

    # Parallel model calls alternate between their metadata.
    _CACHED = 8

    def __init__(self) -> None:
        # The object is kept with its encoding: its id stays its own as long as it is here.
        self._metadata: dict[int, tuple[object, bytes]] = {}

    def message(self, message: BaseMessage) -> _Dict:
        return message_dict(message)

    def pair(self, message: BaseMessage, metadata: Mapping[str, object]) -> Encoded:
        """Return ``[message, metadata]``. A metadata object must not change between calls."""
        found = self._metadata.get(id(metadata))
        tail = found[1] if found is not None else self._remember(metadata)
        return Encoded(b"".join((b"[", encode(message_dict(message)), b",", tail, b"]")))

    def _remember(self, metadata: Mapping[str, object]) -> bytes:
        if len(self._metadata) >= self._CACHED:
            del self._metadata[next(iter(self._metadata))]
        data = encode(metadata)
        self._metadata[id(metadata)] = (metadata, data)
        return data


@lru_cache(maxsize=256)
def _fields(
    kind: type[BaseMessage],
) -> tuple[tuple[str, ...], Callable[[_Dict], tuple[object, ...]]]:
    known = kind.model_fields
    names = (*MESSAGE_FIELDS, *(name for name in known if name not in MESSAGE_FIELDS))
    return names, cast("Callable[[_Dict], tuple[object, ...]]", itemgetter(*names))


def _default(value: object) -> object:
    """Return what stands for a value that orjson does not know; None for what JSON cannot say."""
    try:
        return _converted(value)
    except Exception:  # noqa: BLE001 - methods of the user's classes may fail in any way
        return None


def _converted(value: object) -> object:
    if isinstance(value, BaseMessage):
        return message_dict(value)
    if isinstance(value, type):
        return None
    for kinds, convert in _CONVERSIONS:
        if isinstance(value, kinds):
            return convert(value)
    method = getattr(value, "dict", None)
    return method() if callable(method) else None


def _from_model(model: BaseModel) -> object:
    try:
        return model.model_dump(mode="json", fallback=_default)
    except Exception:  # noqa: BLE001 - serialisers of the user may fail in any way
        return dict(model)


def _from_tuple(value: tuple[object, ...]) -> object:
    names = getattr(value, "_fields", None)
    return list(value) if names is None else dict(zip(names, value, strict=False))


def _from_decimal(value: Decimal) -> float | None:
    return float(value) if value.is_finite() else None


def _from_exception(error: BaseException) -> _Dict:
    return {"error": type(error).__name__, "message": str(error)}


def _from_send(send: Send) -> _Dict:
    return {"node": send.node, "args": send.arg}


def _base64(value: bytes | bytearray | memoryview) -> str:
    return base64.b64encode(value).decode()


def _conversions() -> Iterator[tuple[type | tuple[type, ...], Callable[[Any], object]]]:
    """Yield which types become what, the frequent ones first."""
    yield BaseModel, _from_model
    yield tuple, _from_tuple
    yield (set, frozenset, deque), list
    yield (bytes, bytearray, memoryview), _base64
    yield Decimal, _from_decimal
    yield timedelta, timedelta.total_seconds
    yield BaseException, _from_exception
    yield Send, _from_send
    yield (PurePath, UUID), str
    yield (IPv4Address, IPv6Address, IPv4Network, IPv6Network, IPv4Interface, IPv6Interface), str
    yield re.Pattern, attrgetter("pattern")
    # Of these orjson takes the plain ones itself.
    yield float, float
    yield (datetime, date, time), methodcaller("isoformat")
    yield Mapping, dict


_CONVERSIONS = tuple(_conversions())


def _encode_slowly(value: object) -> bytes:
    try:
        return orjson.dumps(value, _default, orjson.OPT_NON_STR_KEYS)
    except TypeError:
        plain = _Rebuilder().plain(value)
        return orjson.dumps(plain, option=orjson.OPT_NON_STR_KEYS)


class _Rebuilder:
    """Rebuilds a value from what orjson takes, when it has refused a part of it."""

    def __init__(self) -> None:
        # A value inside itself would multiply at every level if only the depth were bounded.
        self._path: set[int] = set()

    def plain(self, value: object) -> object:
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str):
            return _text(value)
        if isinstance(value, int | float):
            return _number(value)
        if len(self._path) >= MAX_DEPTH or id(value) in self._path:
            return None
        self._path.add(id(value))
        try:
            return self._container(value)
        except Exception:  # noqa: BLE001 - methods of the user's classes may fail in any way
            return None
        finally:
            self._path.discard(id(value))

    def _container(self, value: object) -> object:
        if isinstance(value, Mapping):
            return {_key(key): self.plain(each) for key, each in value.items()}
        if isinstance(value, list):
            return [self.plain(each) for each in value]
        if isinstance(value, Enum):
            return self.plain(value.value)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return {name: self.plain(getattr(value, name)) for name in _public_fields(value)}
        return self.plain(_default(value))


def _public_fields(value: object) -> list[str]:
    names = (field.name for field in dataclasses.fields(cast("Any", value)))
    return [name for name in names if not name.startswith("_") and hasattr(value, name)]


def _text(text: str) -> str:
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _number(number: float) -> object:
    """Return a plain number, for orjson refuses a float that is of a derived class."""
    return _integer(number) if isinstance(number, int) else float(number)


def _integer(number: int) -> object:
    if _INT64_MIN <= number <= _UINT64_MAX:
        return int(number)
    # Unlike int, Decimal has no limit on the digits it turns into text.
    return orjson.Fragment(str(Decimal(number)))


def _key(key: object) -> object:
    if isinstance(key, Enum):
        return _key(key.value)
    if isinstance(key, str):
        return _text(key)
    if isinstance(key, bool) or key is None:
        return key
    if isinstance(key, float):
        return float(key)
    return key.isoformat() if isinstance(key, datetime | date) else str(key)
