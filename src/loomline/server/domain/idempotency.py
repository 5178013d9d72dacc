"""Idempotency keys: a request that is sent again with its key does nothing again."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import orjson

from loomline.server.domain.errors import InvalidInput, TooDeep

KEEP: Final = timedelta(hours=24)
"""How long a key stands for its run."""

KEY_MOST: Final = 255

_KEY = re.compile(r"[\x21-\x7e]{1,255}")


@dataclass(frozen=True, slots=True)
class IdempotencyKey:
    """The key of a request.

    ``scope`` names the user and the place that the key counts for: equal names in different scopes
    are different keys. ``fingerprint`` is the digest of the whole body.
    """

    scope: str
    name: str
    fingerprint: str

    def part(self, number: int) -> IdempotencyKey:
        """Return the key of one of several things that a request asks for."""
        return IdempotencyKey(self.scope, f"{self.name}#{number}", self.fingerprint)


class IdempotencyKeyReused(InvalidInput):
    def __init__(self) -> None:
        super().__init__(
            "This Idempotency-Key has been used within the last 24 hours with another body. Use a"
            " new key for a new request."
        )


def make_key(name: str, *, identity: str, place: str, body: object) -> IdempotencyKey:
    """Return the key of a request.

    Args:
        name: The key's name, as the client sent it.
        identity: The user that the key belongs to; empty on a server without authentication.
        place: The thread, or the kind of request, that the key counts for.
        body: The request, decoded.

    Raises:
        InvalidInput: the name is empty, too long, or has other characters than visible ASCII.
        TooDeep: the body is nested too deeply.
    """
    if not _KEY.fullmatch(name):
        raise InvalidInput(
            f"Invalid Idempotency-Key: it must be 1 to {KEY_MOST} visible ASCII characters"
        )
    try:
        content = orjson.dumps(body, option=orjson.OPT_SORT_KEYS)
    except TypeError as error:
        raise TooDeep from error
    # No place has a colon, so two pairs of place and identity never make the same scope.
    return IdempotencyKey(f"{place}:{identity}", name, hashlib.sha256(content).hexdigest())
