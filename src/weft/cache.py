"""The cache of the server, for code that runs in it.

rates = await swr("rates", fetch_rates, fresh_for=timedelta(minutes=5))
rates.value
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from types import EllipsisType
from typing import Any, Final, Generic, Literal, Protocol, TypeAlias, TypeVar, cast

__all__ = ["SWRResult", "cache_get", "cache_set", "swr"]

logger: logging.Logger = logging.getLogger(__name__)

T = TypeVar("T")

CacheStatus: TypeAlias = Literal["miss", "fresh", "stale", "expired"]
"""How a value was found: not at all, young enough, old but usable, too old."""

LONGEST: Final = timedelta(days=1)
"""How long anything is kept at most, and how long unless told."""

_REFRESHES: Final = 100
"""Refreshes in the background at once; beyond that, stale values stay so a little longer."""


class Backend(Protocol):
    """Where a server keeps what is cached: JSON values."""

    async def get(self, key: str) -> Any | None:
        """Return what is kept, None where there is nothing."""
        ...

    async def set(self, key: str, value: Any, ttl: timedelta) -> None:
        """Keep a value for a time."""
        ...


class _Server:
    """The server of this process, once it has said so, and what it is refreshing."""

    def __init__(self) -> None:
        self.backend: Backend | None = None
        self.clock: Callable[[], float] = time.time
        self.refreshing: dict[str, asyncio.Task[None]] = {}

    def cache(self) -> Backend:
        if self.backend is None:
            raise RuntimeError("There is a cache only inside a server: this program is none.")
        return self.backend


# The functions of the interface know no server; there is one process, hence one of these.
_SERVER: Final = _Server()


def bind(backend: Backend | None, clock: Callable[[], float] = time.time) -> None:
    """Tell the functions of this module where things are kept. A server does so at its start.

    Args:
        backend: Where; None: nowhere.
        clock: Returns the time, in seconds.
    """
    _SERVER.backend = backend
    _SERVER.clock = clock


async def cache_get(key: str) -> Any | None:
    """Return a cached value.

    Args:
        key: Its key.

    Returns:
        The value; None where there is none.

    Raises:
        RuntimeError: this program is no server.
    """
    return await _SERVER.cache().get(key)


async def cache_set(key: str, value: Any, *, ttl: timedelta | None = None) -> None:
    """Cache a value.

    Args:
        key: Its key.
        value: The value, which must have a JSON form.
        ttl: How long to keep it; a day at most, and unless given.

    Raises:
        RuntimeError: this program is no server.
    """
    await _SERVER.cache().set(key, value, _bounded(ttl))


class SWRResult(Generic[T]):
    """A value from `swr`.

    Attributes:
        value: The value.
        status: How it was found.
    """

    value: T
    status: CacheStatus

    def __init__(self, value: T, status: CacheStatus, entry: _Entry[T]) -> None:
        self.value = value
        self.status = status
        self._entry = entry

    async def mutate(self, value: T | EllipsisType = ...) -> T:
        """Replace the cached value.

        Args:
            value: The new value; what the loader returns unless given.

        Returns:
            The new value, which is `self.value` too.
        """
        self.value = await self._entry.load() if isinstance(value, EllipsisType) else value
        await self._entry.keep(self.value)
        return self.value


class _Entry(Generic[T]):
    """One key, and how to make its value."""

    def __init__(self, key: str, loader: Callable[[], Awaitable[T]], model: type[T] | None) -> None:
        self.key = key
        self._loader = loader
        self._model: Any = model

    async def find(self) -> tuple[T, float] | None:
        """Return the cached value and its age in seconds."""
        kept = await _SERVER.cache().get(self.key)
        if not isinstance(kept, dict) or not {"value", "at"} <= kept.keys():
            return None
        value = kept["value"] if self._model is None else self._model.model_validate(kept["value"])
        return cast("T", value), _SERVER.clock() - kept["at"]

    async def load(self) -> T:
        return await self._loader()

    async def keep(self, value: T) -> None:
        plain = value if self._model is None else cast("Any", value).model_dump(mode="json")
        await _SERVER.cache().set(self.key, {"value": plain, "at": _SERVER.clock()}, LONGEST)

    def refresh(self) -> None:
        """Load the value in the background, unless that is going on."""
        tasks = _SERVER.refreshing
        if self.key in tasks or len(tasks) >= _REFRESHES:
            return
        task = asyncio.create_task(self._refresh())
        tasks[self.key] = task
        task.add_done_callback(lambda _: tasks.pop(self.key, None))

    async def _refresh(self) -> None:
        try:
            await self.keep(await self.load())
        except Exception as error:  # noqa: BLE001 - the loader is the user's, and nobody awaits this
            logger.warning("cache refresh failed", extra={"error": type(error).__name__})


async def swr(
    key: str,
    loader: Callable[[], Awaitable[T]],
    *,
    fresh_for: timedelta | None = None,
    max_age: timedelta | None = None,
    model: type[T] | None = None,
) -> SWRResult[T]:
    """Return a cached value, and refresh it in the background when it is no longer fresh.

    Args:
        key: Its key.
        loader: Makes the value.
        fresh_for: How long it is used as it is; not at all unless given.
        max_age: How long it may be used while it is refreshed; a day at most, and unless given.
        model: The pydantic class of the value, to cache its JSON form.

    Returns:
        The value and how it was found.

    Raises:
        RuntimeError: this program is no server.
    """
    entry = _Entry(key, loader, model)
    found = await entry.find()
    if found is not None:
        value, age = found
        if age < (fresh_for or timedelta()).total_seconds():
            return SWRResult(value, "fresh", entry)
        if age < _bounded(max_age).total_seconds():
            entry.refresh()
            return SWRResult(value, "stale", entry)
    value = await entry.load()
    await entry.keep(value)
    return SWRResult(value, "miss" if found is None else "expired", entry)


def _bounded(given: timedelta | None) -> timedelta:
    return min(given, LONGEST) if given else LONGEST
