"""Lets hosted code use the server's cache, whichever package it imports its functions from."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Final

import langgraph_sdk.cache as official

from weft import cache


async def _set(key: str, value: object, ttl: timedelta | None) -> None:
    await cache.cache_set(key, value, ttl=ttl)


# What the official package calls, and how, where it finds a server that it knows.
_NAMES: Final = {
    "_cache_get": cache.cache_get,
    "_cache_set": _set,
    "_api_swr": cache.swr,
}


@contextmanager
def shared_cache(backend: cache.Backend) -> Iterator[None]:
    """Be the server that caches for this process."""
    empty = [name for name in _NAMES if getattr(official, name, ...) is None]
    cache.bind(backend)
    for name in empty:
        setattr(official, name, _NAMES[name])
    try:
        yield
    finally:
        cache.bind(None)
        for name in empty:
            setattr(official, name, None)
