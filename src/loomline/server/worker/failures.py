"""What a client may read about an exception that a graph raised."""

from __future__ import annotations

from loomline.server.domain.json import Encoded
from loomline.server.domain.protocol import REFUSAL
from loomline.server.graphs.serde import encode

HIDDEN = "An internal error occurred"

# Classes whose messages say what the caller did wrong. The messages of all others may hold
# addresses, paths or secrets of the server.
_TELLING: tuple[type[BaseException], ...] = (
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
    RuntimeError,
    TimeoutError,
)

_LANGGRAPH = "langgraph.errors"

_UNKNOWN_INTERRUPT = "UnknownInterruptError"
"""By name: langgraph has this class from 1.2.20 on."""


def first_failure(error: BaseException) -> BaseException:
    """Return the exception that a group stands for: its first member, however deep."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def describe(error: BaseException, *, show_all: bool) -> Encoded:
    """Return ``{"error": class, "message": text}`` for an exception.

    The error of refused answers has the fields ``REFUSAL`` too.

    Args:
        error: What the graph raised, possibly a group.
        show_all: Whether the texts of all classes are shown (development).
    """
    error = first_failure(error)
    telling = show_all or _is_telling(error)
    message = str(error) if telling else HIDDEN
    refusal = _refusal(error) if type(error).__name__ == _UNKNOWN_INTERRUPT else {}
    return encode({"error": type(error).__name__, "message": message, **refusal})


def _refusal(error: BaseException) -> dict[str, object]:
    """Return the fields that name the refused answers and the questions that are still open."""
    fields = {name: getattr(error, name, None) for name in REFUSAL}  # older libraries have none
    return {name: value for name, value in fields.items() if value is not None}


def _is_telling(error: BaseException) -> bool:
    known = isinstance(error, _TELLING) or type(error).__name__ == "HTTPException"
    return known or any(kind.__module__ == _LANGGRAPH for kind in type(error).__mro__)


def described(name: str, message: str) -> Encoded:
    """Return the same object for something that is no exception of the graph."""
    return encode({"error": name, "message": message})
