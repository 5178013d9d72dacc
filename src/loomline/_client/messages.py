"""Messages as `langchain_core` has them, which is imported when a whole one is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from langchain_core.messages import AIMessage
else:
    AIMessage: TypeAlias = Any

__all__ = ["AIMessage", "ai_message"]


def ai_message(fields: dict[str, Any]) -> AIMessage:
    """Return a message with these fields.

    Raises:
        RuntimeError: `langchain_core` is not installed.
    """
    try:
        from langchain_core.messages import (  # noqa: PLC0415 - an optional dependency
            AIMessage as Message,
        )
    except ImportError as error:
        raise RuntimeError(
            "A whole message needs the package langchain-core: pip install langchain-core. "
            "`text`, `reasoning` and `tool_calls` work without."
        ) from error
    return Message(**fields)
