"""The cache of hosted code in the memory of one process."""

from __future__ import annotations

import threading
from collections import OrderedDict
from datetime import timedelta
from typing import Final

import orjson

from loomline.server.ports.clock import Clock

VALUE_BYTES_MOST: Final = 1024 * 1024

_BYTES_MOST: Final = 64 * 1024 * 1024

# What an entry weighs besides its text.
_ENTRY_BYTES: Final = 256


class MemoryCache:
    """A backend of ``loomline.cache``. What was used least recently makes room for what is new."""

    def __init__(self, clock: Clock, bytes_most: int = _BYTES_MOST) -> None:
        self._clock = clock
        self._most = bytes_most
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, tuple[bytes, float]] = OrderedDict()
        self._size = 0

    async def get(self, key: str) -> object | None:
        with self._lock:
            found = self._kept.get(key)
            if found is None:
                return None
            if found[1] <= self._clock.monotonic():
                self._drop(key)
                return None
            self._kept.move_to_end(key)
        value: object = orjson.loads(found[0])
        return value

    async def set(self, key: str, value: object, ttl: timedelta) -> None:
        """Keep a value.

        Raises:
            TypeError: it is no JSON.
            ValueError: it is larger than a megabyte.
        """
        text = encoded_for_cache(key, value)
        with self._lock:
            self._drop(key)
            self._kept[key] = text, self._clock.monotonic() + ttl.total_seconds()
            self._size += _weight(key, text)
            while self._size > self._most:
                self._drop(next(iter(self._kept)))

    def _drop(self, key: str) -> None:
        found = self._kept.pop(key, None)
        if found is not None:
            self._size -= _weight(key, found[0])


def encoded_for_cache(key: str, value: object) -> bytes:
    """Return a value as JSON.

    Raises:
        TypeError: it is no JSON.
        ValueError: it is larger than a megabyte.
    """
    text = orjson.dumps(value)
    if len(text) > VALUE_BYTES_MOST:
        raise ValueError(
            f"The value of '{key:.200}' is too large for the cache: {len(text)} bytes, and"
            f" {VALUE_BYTES_MOST} are allowed."
        )
    return text


def _weight(key: str, text: bytes) -> int:
    return len(key) + len(text) + _ENTRY_BYTES
