"""Whom code of users acts for: clients that it makes without an address talk to this server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

from loomline.server.authz.users import Caller

# Nothing else reaches through the code of a graph into a client that one of its nodes makes.
_ACTING: Final[ContextVar[Caller | None]] = ContextVar("loomline_acting", default=None)


def acting() -> Caller | None:
    """Return whom the code that runs now acts for; None: it is no code of a graph."""
    return _ACTING.get()


@contextmanager
def acting_for(caller: Caller) -> Iterator[None]:
    """Let all code that is called from here on act for somebody."""
    token = _ACTING.set(caller)
    try:
        yield
    finally:
        _ACTING.reset(token)
