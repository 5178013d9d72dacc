"""Requests that bear a key: sent again, they do nothing again."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from uuid import UUID

import orjson

from loomline.server.domain.errors import InvalidInput, TooDeep

KEEP: Final = timedelta(hours=24)
"""How long a key stands for its run."""

KEY_MOST: Final = 255

_KEY = re.compile(r"[\x21-\x7e]{1,255}")


@dataclass(frozen=True, slots=True)
class IdempotencyKey:
    """What makes a request known again.

    ``scope`` says who may meet whom: keys of different scopes have nothing to do with each other.
    ``fingerprint`` is that of the whole body.
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


def make_key(name: str, scope: str, body: object) -> IdempotencyKey:
    """Return the key of a request.

    Args:
        name: What the client calls it.
        scope: Where it counts.
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
    return IdempotencyKey(scope, name, hashlib.sha256(content).hexdigest())


def run_scope(thread_id: UUID | None, *, batch: bool = False, user_id: str = "") -> str:
    """Return where the key of a run counts: for one user, and one thread or those without."""
    place = "batch" if batch else "" if thread_id is None else str(thread_id)
    return f"{place}:{user_id}"
