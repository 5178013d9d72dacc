"""Lets hosted code use the server's cache, whichever package it imports its functions from."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Final

from loomline import cache


async def _set(key: str, value: object, ttl: timedelta | None) -> None:
    await cache.cache_set(key, value, ttl=ttl)


# The functions that the module of the official package calls, which are None outside a server.
_NAMES: Final = {
    "_cache_get": cache.cache_get,
    "_cache_set": _set,
    "_api_swr": cache.swr,
}


@contextmanager
def shared_cache(backend: cache.Backend) -> Iterator[None]:
    """Be the server that caches for this process.

    The official module finds the functions by itself if it is imported after the server was made
    (``api/inside.py``). A module that was imported before has looked for them in vain.
    """
    official = sys.modules.get("langgraph_sdk.cache")
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
