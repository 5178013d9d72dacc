"""Weft: a client for and a server of LangGraph agents."""

from __future__ import annotations

from typing import TYPE_CHECKING

from weft._version import __version__

if TYPE_CHECKING:
    from weft.client import get_client, get_sync_client

__all__ = ["__version__", "get_client", "get_sync_client"]


def __getattr__(name: str) -> object:
    """Import the client when it is first asked for: `import weft` loads no HTTP library."""
    if name in {"get_client", "get_sync_client"}:
        from weft import client  # noqa: PLC0415 - the point of this function

        return getattr(client, name)
    raise AttributeError(f"module 'weft' has no attribute '{name}'")
