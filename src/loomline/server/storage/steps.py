"""Code that waits, written once for coroutines and for threads.

A function yields each operation that it waits for as a ``Step`` and gets the result back, so it is
a generator: ``found = yield from reading(access, work)``. ``awaited`` executes such a generator in
a coroutine, ``blocked`` on a thread.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Step(Generic[T]):
    """An operation that a caller waits for, in both forms."""

    awaited: Callable[[], Awaitable[T]]
    blocked: Callable[[], T]


Steps: TypeAlias = Generator[Step[Any], Any, T]
"""Operations in their order, and the result of all of them."""


def step(awaited: Callable[[], Awaitable[T]], blocked: Callable[[], T]) -> Steps[T]:
    """Execute one operation and return its result."""
    result: T = yield Step(awaited, blocked)
    return result


def nothing() -> Steps[None]:
    """Return at once."""
    yield from ()


async def awaited(steps: Steps[T]) -> T:
    """Execute steps in a coroutine; an error of a step is raised at its place in the generator."""
    try:
        current = next(steps)
        while True:
            try:
                result = await current.awaited()
            except BaseException as error:  # noqa: BLE001 - the generator decides
                current = steps.throw(error)
            else:
                current = steps.send(result)
    except StopIteration as end:
        value: T = end.value
        return value


def blocked(steps: Steps[T]) -> T:
    """Execute steps on a thread that may wait, as ``awaited`` does."""
    try:
        current = next(steps)
        while True:
            try:
                result = current.blocked()
            except BaseException as error:  # noqa: BLE001 - the generator decides
                current = steps.throw(error)
            else:
                current = steps.send(result)
    except StopIteration as end:
        value: T = end.value
        return value
