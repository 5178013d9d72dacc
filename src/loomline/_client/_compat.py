"""Names that differ by colour. The generator of the sync client exchanges them."""

from __future__ import annotations

import inspect
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator, Iterator
from typing import Generic, Self, TypeAlias, TypeVar

from loomline._client._core.credentials import Answered, Credentials

T = TypeVar("T")

AsyncSleep: TypeAlias = Callable[[float], Awaitable[None]]
SyncSleep: TypeAlias = Callable[[float], None]


async def async_sleep(seconds: float) -> None:
    """Wait without blocking the event loop."""
    # Not at the top, here and below: asyncio takes long to load, and half the users do not need it.
    import asyncio  # noqa: PLC0415

    await asyncio.sleep(seconds)


def sync_sleep(seconds: float) -> None:
    """Wait."""
    time.sleep(seconds)


async def async_aside(work: Callable[[], T]) -> T:
    """Do something that takes long away from the event loop."""
    import asyncio  # noqa: PLC0415

    return await asyncio.to_thread(work)


def sync_aside(work: Callable[[], T]) -> T:
    """Do something that takes long: without an event loop there is nothing to keep free."""
    return work()


async def async_credentials(credentials: Credentials) -> Answered:
    """Ask the providers for what to send now."""
    key = credentials.api_key() if credentials.api_key is not None else None
    headers = credentials.headers() if credentials.headers is not None else {}
    return Answered(
        await key if inspect.isawaitable(key) else key,
        await headers if inspect.isawaitable(headers) else headers,
    )


def sync_credentials(credentials: Credentials) -> Answered:
    """Ask the providers for what to send now.

    Raises:
        TypeError: one of them is asynchronous.
    """
    key = credentials.api_key() if credentials.api_key is not None else None
    headers = credentials.headers() if credentials.headers is not None else {}
    for answer in (key, headers):
        if inspect.iscoroutine(answer):
            answer.close()
    if inspect.isawaitable(key) or inspect.isawaitable(headers):
        raise TypeError("A synchronous client cannot await its api_key or headers")
    return Answered(key, headers)


class AwaitableStream(AsyncIterator[T], Generic[T]):
    """An iterator that may be awaited first, as the interface has it in one place."""

    def __init__(self, parts: AsyncGenerator[T]) -> None:
        self._parts = parts

    def __await__(self) -> Generator[None, None, Self]:
        """Return the iterator itself."""
        yield from ()
        return self

    def __aiter__(self) -> Self:
        """Return the iterator itself."""
        return self

    async def __anext__(self) -> T:
        """Return the next part."""
        return await anext(self._parts)

    async def aclose(self) -> None:
        """Stop, and close the connection."""
        await self._parts.aclose()


PlainStream: TypeAlias = Iterator[T]


def async_stream(parts: AsyncGenerator[T]) -> AwaitableStream[T]:
    """Return an iterator that may be awaited first."""
    return AwaitableStream(parts)


def sync_stream(parts: Generator[T]) -> PlainStream[T]:
    """Return the iterator as it is."""
    return parts
