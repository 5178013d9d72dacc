"""Storage around another storage: the methods that only pass a call on."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, Final, Generic, ParamSpec, TypeVar, cast

P = ParamSpec("P")
Port = TypeVar("Port")
T = TypeVar("T")

PASSED: Final = "__passed__"
"""The attribute that marks a method made by ``passed``."""


class Wrapper(Generic[Port]):
    """A storage of one resource around another one."""

    def __init__(self, inner: Port) -> None:
        self._inner = inner


def passed(
    method: Callable[Concatenate[Any, P], Coroutine[Any, Any, T]],
) -> Callable[[Callable[[Any], None]], Callable[Concatenate[Any, P], Coroutine[Any, Any, T]]]:
    """Make a method of a wrapper that calls the inner storage's method of the same name.

    A wrapper lists these methods one by one. A method that is added to a port fails the type check
    until its wrapper either lists it here or deals with its content.
    """
    name = method.__name__

    async def passing(self: Wrapper[Any], /, *args: P.args, **kwargs: P.kwargs) -> T:
        return cast("T", await getattr(self._inner, name)(*args, **kwargs))

    setattr(passing, PASSED, True)
    return lambda _: passing
