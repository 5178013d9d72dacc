"""Keys of the built-in encryption as text, as they stand in the environment."""

from __future__ import annotations

import base64
import binascii

__all__ = ["parse_keys"]

_BASE64_BYTES = 32
_RAW_BYTES = frozenset({16, 24, 32})


def parse_keys(text: str) -> tuple[bytes, ...]:
    """Return the keys of a text, separated by commas, the one to encrypt with first.

    Args:
        text: Each key is 32 bytes in base64, or 16, 24 or 32 characters that are the key.

    Raises:
        ValueError: one of them is neither. Nothing of it is repeated.
    """
    return tuple(_key(each.strip()) for each in text.split(",") if each.strip())


def _key(text: str) -> bytes:
    try:
        decoded = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        decoded = b""
    if len(decoded) == _BASE64_BYTES:
        return decoded
    raw = text.encode()
    if len(raw) not in _RAW_BYTES:
        raise ValueError("must be keys of 32 bytes each, in base64, separated by commas")
    return raw
