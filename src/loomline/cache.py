"""The cache of a server, for the code that it hosts: graphs, auth handlers, custom routes.

It is shared by all processes of the server, holds JSON, and keeps nothing for longer than a day.
Outside a server there is none, and every call raises ``RuntimeError``.

    result = await swr("rates", fetch_rates, fresh_for=timedelta(minutes=5))
    result.value
"""

from __future__ import annotations

import asyncio
import logging
import time
from asyncio import AbstractEventLoop, Task
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, Generic, Literal, Protocol, TypeAlias, TypeVar

__all__ = ["SWRResult", "cache_get", "cache_set", "swr"]

T = TypeVar("T")

CacheStatus: TypeAlias = Literal["miss", "fresh", "stale", "expired"]
"""How a value was found: not at all, new enough, old but usable, too old."""

logger: logging.Logger = logging.getLogger(__name__)

LONGEST: Final = timedelta(days=1)
"""How long anything is kept at most, and how long unless told."""

_MOST_LOADS: Final = 100

# The clocks of processes that share a backend may differ by so much.
_SKEW_SECONDS: Final = 5.0
_LONGEST_REFRESH_SECONDS: Final = 600
_RELOAD: Final[Any] = ...


class Backend(Protocol):
    """Where a server keeps what is cached.

    ``set`` encodes and ``get`` decodes: nobody shares an object with anybody.
    """

    async def get(self, key: str) -> object | None:
        """Return the JSON value of a key; None if there is none or its time is over."""
        ...

    async def set(self, key: str, value: object, ttl: timedelta) -> None:
        """Keep a JSON value for that long.

        Raises:
            TypeError: it is no JSON.
        """
        ...


class SWRResult(Generic[T]):
    """A value from the cache, or from its loader."""

    __slots__ = ("_entry", "status", "value")

    def __init__(self, entry: _Entry[T], value: T, status: CacheStatus) -> None:
        self._entry = entry
        self.value: T = value
        self.status: CacheStatus = status

    async def mutate(self, value: T = _RELOAD) -> T:
        """Change what is cached.

        Args:
            value: The new value; without it, the loader is called for one.

        Returns:
            The new value, which this result has from now on too.
        """
        reload = value is _RELOAD
        self.value = await (self._entry.reload() if reload else self._entry.replace(value))
        self.status = "fresh"
        return self.value


async def cache_get(key: str) -> Any | None:
    """Return what is cached.

    Args:
        key: The name it was set under.

    Returns:
        The value, None if there is none or its time is over.

    Raises:
        RuntimeError: called outside a server.
    """
    return await _cache().backend.get(key)


async def cache_set(key: str, value: Any, *, ttl: timedelta | None = None) -> None:
    """Cache a value.

    Args:
        key: The name to get it back by.
        value: Any JSON.
        ttl: How long it is kept; a day at most, and if it is None or zero.

    Raises:
        RuntimeError: called outside a server.
        ValueError: ``ttl`` is negative.
    """
    await _cache().backend.set(key, value, _bounded("ttl", ttl or LONGEST))


async def swr(
    key: str,
    loader: Callable[[], Awaitable[T]],
    *,
    fresh_for: timedelta | None = None,
    max_age: timedelta | None = None,
    model: type[T] | None = None,
) -> SWRResult[T]:
    """Return a cached value at once and refresh it behind the scenes (stale while revalidate).

    A value younger than ``fresh_for`` is returned as it is. One younger than ``max_age`` is
    returned, and loaded anew in the background, once however many ask; if that fails, it is logged
    and the next caller tries again. Otherwise the loader is awaited, by all who ask together.

    Args:
        key: The name of the value. Apart from the names of ``cache_set``.
        loader: Makes the value, which must be JSON or of ``model``.
        fresh_for: How long a value is new. None: it is refreshed whenever it is asked for.
        max_age: How long an old value is better than waiting; a day at most, and if it is None.
        model: The pydantic class of the value. A cached value that no longer fits is loaded anew.

    Raises:
        RuntimeError: called outside a server.
        ValueError: a duration is negative.
        TypeError: ``model`` is no pydantic class.
    """
    fresh = _bounded("fresh_for", fresh_for or timedelta())
    oldest = _bounded("max_age", LONGEST if max_age is None else max_age)
    entry = _Entry(_cache(), f"swr:{key}", loader, _Shape(model))
    return await entry.read(fresh.total_seconds(), oldest.total_seconds())


def bind(backend: Backend | None, clock: Callable[[], float] = time.time) -> None:
    """Tell the functions of this module where things are kept. A server does so at its start.

    Args:
        backend: Where; None: nowhere any more. Refreshes that are under way are stopped.
        clock: Returns the time in seconds, the same in all processes that share the backend.
    """
    while _bound:
        _bound.pop().loads.stop()
    if backend is not None:
        _bound.append(_Cache(backend, clock))


def _cache() -> _Cache:
    if not _bound:
        raise RuntimeError("There is a cache only inside a server: this program is none.")
    return _bound[0]


def _bounded(name: str, duration: timedelta) -> timedelta:
    if duration < timedelta():
        raise ValueError(f"{name} must not be negative, got {duration}.")
    return min(duration, LONGEST)


class _Cache:
    """A backend with a clock and what is being loaded for it."""

    def __init__(self, backend: Backend, clock: Callable[[], float]) -> None:
        self.backend: Final = backend
        self.clock: Final = clock
        self.loads: Final = _Loads()


# The functions of the interface know no server: the one of this process is here, or none.
_bound: Final[list[_Cache]] = []


class _Shape(Generic[T]):
    """How values become JSON and come back."""

    def __init__(self, model: type[T] | None) -> None:
        if model is not None and not hasattr(model, "model_validate"):
            raise TypeError(f"model must be a class of pydantic, got {model!r}.")
        self._model: Any = model

    def of(self, value: T) -> T:
        """Return a loaded value as callers will get it from the cache."""
        return value if self._model is None or isinstance(value, self._model) else self.load(value)

    def load(self, stored: object) -> T:
        parse: Callable[[object], Any] = getattr(self._model, "model_validate", lambda same: same)
        value: T = parse(stored)
        return value

    def dump(self, value: T) -> object:
        dump: Callable[..., object] | None = getattr(value, "model_dump", None)
        return value if dump is None else dump(mode="json")


class _Entry(Generic[T]):
    """One key of a cache and how it is filled."""

    def __init__(
        self, cache: _Cache, key: str, loader: Callable[[], Awaitable[T]], shape: _Shape[T]
    ) -> None:
        self._cache = cache
        self._key = key
        self._loader = loader
        self._shape = shape

    async def read(self, fresh_seconds: float, max_seconds: float) -> SWRResult[T]:
        found = await self._find()
        if found is None:
            return SWRResult(self, await self._join(), "miss")
        value, age = found
        if age < fresh_seconds:
            return SWRResult(self, value, "fresh")
        if age < max_seconds:
            self._cache.loads.refresh(self._key, self._load)
            return SWRResult(self, value, "stale")
        return SWRResult(self, await self._join(), "expired")

    async def reload(self) -> T:
        self._cache.loads.forget(self._key)
        return await self._join()

    async def replace(self, value: T) -> T:
        # What began to load before this knows only the older state of things.
        self._cache.loads.forget(self._key)
        value = self._shape.of(value)
        await self._store(value)
        return value

    async def _find(self) -> tuple[T, float] | None:
        match await self._cache.backend.get(self._key):
            case {"at": int() | float() as at, "value": stored}:
                age = self._cache.clock() - at
            case _:
                return None
        if age < -_SKEW_SECONDS:
            return None  # the clock was set back since, so the age cannot be known
        try:
            return self._shape.load(stored), max(0.0, age)
        except ValueError:
            # pydantic's: another version of the program has stored it.
            return None

    async def _join(self) -> T:
        return await self._cache.loads.join(self._key, self._load)

    async def _load(self) -> T:
        value = self._shape.of(await self._loader())
        if self._cache.loads.is_current(self._key):
            await self._store(value)
        return value

    async def _store(self, value: T) -> None:
        stored = {"at": self._cache.clock(), "value": self._shape.dump(value)}
        # Longer than max_age, so that an expired value can be told from none.
        await self._cache.backend.set(self._key, stored, LONGEST)


@dataclass(slots=True, eq=False)
class _Load:
    task: Task[Any]
    waiting: int = 0
    background: bool = False

    @property
    def wanted(self) -> bool:
        return self.background or self.waiting > 0


class _Loads:
    """What is being loaded: each key once per event loop, for all who ask."""

    def __init__(self) -> None:
        self._current: dict[tuple[AbstractEventLoop, str], _Load] = {}
        # Event loops hold tasks weakly; and a forgotten one still has to end.
        self._running: set[_Load] = set()

    async def join(self, key: str, load: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Wait for a load that is under way, or begin one. Who waits last takes it along."""
        found = self._begin(key, load)
        found.waiting += 1
        try:
            value: T = await asyncio.shield(found.task)
            return value
        finally:
            found.waiting -= 1
            if not found.wanted and not found.task.done():
                self._drop(key, found)
                found.task.cancel()

    def refresh(self, key: str, load: Callable[[], Coroutine[Any, Any, T]]) -> None:
        """Load in the background, unless that is happening or too much is."""

        async def bounded() -> T:
            async with asyncio.timeout(_LONGEST_REFRESH_SECONDS):
                return await load()

        if len(self._running) < _MOST_LOADS:
            self._begin(key, bounded).background = True

    def is_current(self, key: str) -> bool:
        """Tell whether the running task is the load of a key, and not forgotten."""
        load = self._current.get((asyncio.get_running_loop(), key))
        return load is not None and load.task is asyncio.current_task()

    def forget(self, key: str) -> None:
        """Let the load of a key go on for those who wait, and store nothing."""
        self._current.pop((asyncio.get_running_loop(), key), None)

    def stop(self) -> None:
        """Cancel what nobody waits for. May be called from any thread."""
        for load in list(self._running):
            loop = load.task.get_loop()
            if not load.waiting and not loop.is_closed():
                loop.call_soon_threadsafe(load.task.cancel)

    def _begin(self, key: str, load: Callable[[], Coroutine[Any, Any, object]]) -> _Load:
        place = (asyncio.get_running_loop(), key)
        if (found := self._current.get(place)) is None:
            found = self._current[place] = _Load(asyncio.create_task(load()))
            self._running.add(found)
            found.task.add_done_callback(lambda _: self._end(key, found))
        return found

    def _end(self, key: str, load: _Load) -> None:
        self._running.discard(load)
        self._drop(key, load)
        if load.task.cancelled() or (error := load.task.exception()) is None or load.waiting:
            return
        # Its text may hold what the loader was given.
        logger.warning("cache refresh failed", extra={"error": type(error).__name__})

    def _drop(self, key: str, load: _Load) -> None:
        place = (load.task.get_loop(), key)
        if self._current.get(place) is load:
            del self._current[place]
