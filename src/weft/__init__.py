"""Weft: a client for and a server of LangGraph agents.

What is here is imported when it is first asked for: `import weft` loads no HTTP library, and
neither does `from weft import Auth`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

from weft._version import __version__

if TYPE_CHECKING:
    from weft.auth import Auth
    from weft.client import get_client, get_sync_client
    from weft.encryption import Encryption
    from weft.encryption.types import DecryptResult, EncryptionContext
    from weft.priority import Priority
    from weft.priority.types import PriorityContext, PrioritySettings

__all__ = [
    "Auth",
    "DecryptResult",
    "Encryption",
    "EncryptionContext",
    "Priority",
    "PriorityContext",
    "PrioritySettings",
    "__version__",
    "get_client",
    "get_sync_client",
]

_PLACES: Final = {
    "Auth": "weft.auth",
    "DecryptResult": "weft.encryption.types",
    "Encryption": "weft.encryption",
    "EncryptionContext": "weft.encryption.types",
    "Priority": "weft.priority",
    "PriorityContext": "weft.priority.types",
    "PrioritySettings": "weft.priority.types",
    "get_client": "weft.client",
    "get_sync_client": "weft.client",
}


def __getattr__(name: str) -> object:
    """Import the module that has this name."""
    place = _PLACES.get(name)
    if place is None:
        raise AttributeError(f"module 'weft' has no attribute '{name}'")
    return getattr(import_module(place), name)
