"""What a client may read about an exception that a graph raised."""

from __future__ import annotations

from typing import Final

from langgraph import errors
from langgraph.errors import EmptyInputError, InvalidUpdateError, TaskNotFound

from loomline.server.domain.json import Encoded
from loomline.server.graphs.serde import encode

HIDDEN = "An internal error occurred"

# langgraph has it from 1.2.20 on.
_UNKNOWN_INTERRUPT: Final = getattr(errors, "UnknownInterruptError", InvalidUpdateError)

# Classes whose messages say what the caller did wrong. The messages of all others may hold
# addresses, paths or secrets of the server.
_TELLING: tuple[type[BaseException], ...] = (
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
    RuntimeError,
    TimeoutError,
    EmptyInputError,
    InvalidUpdateError,
    TaskNotFound,
    _UNKNOWN_INTERRUPT,
)


def first_failure(error: BaseException) -> BaseException:
    """Return the exception that a group stands for: its first member, however deep."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def describe(error: BaseException, *, show_all: bool) -> Encoded:
    """Return ``{"error": class, "message": text}`` for an exception.

    Args:
        error: What the graph raised, possibly a group.
        show_all: Whether the texts of all classes are shown (development).
    """
    error = first_failure(error)
    telling = show_all or isinstance(error, _TELLING) or type(error).__name__ == "HTTPException"
    message = str(error) if telling else HIDDEN
    return encode({"error": type(error).__name__, "message": message})


def described(name: str, message: str) -> Encoded:
    """Return the same object for something that is no exception of the graph."""
    return encode({"error": name, "message": message})
