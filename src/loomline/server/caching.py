"""Lets hosted code use the server's cache, whichever package it imports its functions from."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from types import ModuleType
from typing import Final

from loomline import cache


async def _set(key: str, value: object, ttl: timedelta | None) -> None:
    await cache.cache_set(key, value, ttl=ttl)


def _official() -> ModuleType | None:
    """Return the module of the official package; older versions have none."""
    try:
        return importlib.import_module("langgraph_sdk.cache")
    except ImportError:
        return None


# What the official package calls, and how, where it finds a server that it knows.
_NAMES: Final = {
    "_cache_get": cache.cache_get,
    "_cache_set": _set,
    "_api_swr": cache.swr,
}


@contextmanager
def shared_cache(backend: cache.Backend) -> Iterator[None]:
    """Be the server that caches for this process."""
    official = _official()
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
