"""What handlers of users answer with, and what is wrong with handlers."""

from __future__ import annotations

from collections.abc import Mapping

from loomline.server.domain.errors import LoomlineError


class Refused(LoomlineError):
    """A handler refuses the request, with a status, a text and headers of its own."""

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.headers: dict[str, str] = dict(headers or {})


class BrokenAuth(LoomlineError):
    """A handler did what makes no sense. Nothing is allowed then; the text is for its author."""
