"""What the protocol calls an error, and which of them are final."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import httpx

__all__ = ["is_non_retryable_stream_error", "protocol_error", "stream_error_frame"]

_PASSING: Final = frozenset({408, 429})
_CLOSE_CODES: Final = 4000
"""A WebSocket that is refused closes with this and the status of HTTP."""


def is_non_retryable_stream_error(error: BaseException | None) -> bool:
    """Return whether an event stream that failed like this would fail again."""
    status = _status(error)
    return status is not None and 400 <= status < 500 and status not in _PASSING


def protocol_error(response: Mapping[str, Any]) -> RuntimeError:
    """Return the error for a command that the server has refused."""
    code = response.get("error", "unknown_error")
    return RuntimeError(f"Protocol error [{code}]: {response.get('message', '')}")


def stream_error_frame(event: object) -> RuntimeError | None:
    """Return the error that a frame of a stream tells of, if it is such a frame."""
    if not isinstance(event, Mapping) or event.get("type") != "error":
        return None
    return protocol_error(event)


def _status(error: BaseException | None) -> int | None:
    if isinstance(error, httpx.HTTPStatusError):
        response: httpx.Response | None = getattr(error, "response", None)
        return None if response is None else response.status_code
    code = _number(error, "rcvd", "code")  # a WebSocket that was closed
    if code is not None:
        return code - _CLOSE_CODES
    return _number(error, "response", "status_code")  # one that was never opened


def _number(error: BaseException | None, holder: str, name: str) -> int | None:
    found = getattr(getattr(error, holder, None), name, None)
    return found if isinstance(found, int) else None
