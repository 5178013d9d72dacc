"""Which runs come first: a handler that a server asks at the first run of a thread.

A server finds the object by the path in its configuration (`"priority": {"path": "./x.py:p"}`).

    priority = Priority()

    @priority.assign
    async def assign(ctx: PriorityContext) -> PrioritySettings:
        return {"priority": -5 if "premium" in ctx.permissions else 0}
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Awaitable, Callable
from typing import TypeAlias, TypeVar

from loomline.encryption import DuplicateHandlerError, LangGraphBetaWarning, check_handler
from loomline.priority import types

__all__ = ["Priority"]

_AssignHandler: TypeAlias = Callable[
    [types.PriorityContext], Awaitable[types.PrioritySettings | None]
]
_AssignHandlerT = TypeVar("_AssignHandlerT", bound=_AssignHandler)


class Priority:
    """The handler that gives threads their priorities.

    Attributes:
        types: What the handler takes and gives.
    """

    __slots__ = ("_assign_handler",)

    types = types

    def __init__(self) -> None:
        _warn_priority_beta()
        # Servers of any maker read this, by this name.
        self._assign_handler: _AssignHandler | None = None

    def assign(self, fn: _AssignHandlerT) -> _AssignHandlerT:
        """Register the handler: `async (ctx) -> PrioritySettings`, or None for the defaults.

        Args:
            fn: Called at the first run of a thread that has no settings.

        Returns:
            The function itself.

        Raises:
            DuplicateHandlerError: there is one already.
            TypeError: it is no async function of one parameter.
        """
        if self._assign_handler is not None:
            raise DuplicateHandlerError("There is a handler of priorities already.")
        check_handler(fn, "handler of priorities", "ctx")
        self._assign_handler = fn
        return fn


@functools.cache
def _warn_priority_beta() -> None:
    warnings.warn(
        "Priority is in beta: its interface may change.", LangGraphBetaWarning, stacklevel=3
    )
