"""Reading a whole search page by page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import httpx

PAGE: Final = 100
"""How many results a page has unless the caller says otherwise."""


@dataclass(slots=True)
class Pages:
    """Where the next page begins, as the server has last said.

    Attributes:
        offset: How many results come before the next page; None after the last one.
    """

    offset: int | None = 0

    def note(self, response: httpx.Response) -> None:
        """Take the next offset from the headers of an answer."""
        self.follow(response.headers.get("X-Pagination-Next"))

    def follow(self, offset: str | None) -> None:
        """Take the next offset as the server has named it; one that leads nowhere ends it."""
        further = offset is not None and offset.isdigit() and int(offset) > (self.offset or 0)
        self.offset = int(offset) if offset is not None and further else None

    def counted(self, found: int, size: int) -> None:
        """Take the next offset from how full a page was."""
        self.offset = (self.offset or 0) + found if found >= size else None
