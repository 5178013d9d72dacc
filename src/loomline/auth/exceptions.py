"""What a handler raises to refuse a request."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

__all__ = ["HTTPException"]


class HTTPException(Exception):
    """A refusal, with what the client is told.

    Args:
        status_code: The status of the answer.
        detail: What to say; the usual words for the status unless given.
        headers: Headers of the answer, `WWW-Authenticate` for example.

    Example:
        >>> str(HTTPException(403, "Only for owners"))
        '403: Only for owners'
    """

    def __init__(
        self,
        status_code: int = 401,
        detail: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(status_code, detail)
        self.status_code: int = status_code
        self.detail: str = _phrase(status_code) if detail is None else detail
        self.headers: Mapping[str, str] | None = headers

    def __str__(self) -> str:
        return f"{self.status_code}: {self.detail}"

    def __repr__(self) -> str:
        return f"HTTPException(status_code={self.status_code!r}, detail={self.detail!r})"


def _phrase(status_code: int) -> str:
    try:
        return HTTPStatus(status_code).phrase
    except ValueError:
        return "HTTP Error"
