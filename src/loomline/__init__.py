"""Loomline: a client for and a server of LangGraph agents.

What is here is imported when it is first asked for: `import loomline` loads no HTTP library, and
neither does `from loomline import Auth`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

from loomline._version import __version__

if TYPE_CHECKING:
    from loomline.auth import Auth
    from loomline.client import get_client, get_sync_client
    from loomline.encryption import Encryption
    from loomline.encryption.types import DecryptResult, EncryptionContext
    from loomline.priority import Priority
    from loomline.priority.types import PriorityContext, PrioritySettings

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
    "Auth": "loomline.auth",
    "DecryptResult": "loomline.encryption.types",
    "Encryption": "loomline.encryption",
    "EncryptionContext": "loomline.encryption.types",
    "Priority": "loomline.priority",
    "PriorityContext": "loomline.priority.types",
    "PrioritySettings": "loomline.priority.types",
    "get_client": "loomline.client",
    "get_sync_client": "loomline.client",
}


def __getattr__(name: str) -> object:
    """Import the module that has this name."""
    place = _PLACES.get(name)
    if place is None:
        raise AttributeError(f"module 'loomline' has no attribute '{name}'")
    return getattr(import_module(place), name)
