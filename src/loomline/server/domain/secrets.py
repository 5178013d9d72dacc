"""Headers that runs may read and nobody else may see."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

import orjson

from loomline.server.domain.json import Encoded, dump

MASK: Final = "***"
"""What is shown in place of a secret."""

SECRETS: Final = "secret_headers"
"""The place in the request of a run that lists which of its configurable values are secrets."""

_SECRET: Final = re.compile(
    r"authorization|cookie|token|secret|passw|credential|(^|[-_])api[-_]?key|signature"
)
_LISTED: Final = f'"{SECRETS}":'.encode()


def is_secret(name: str) -> bool:
    """Return whether the name of a header says that its value is nobody's business."""
    return _SECRET.search(name.lower()) is not None


def masked(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return headers with the values of secret ones replaced."""
    return {name: MASK if is_secret(name) else value for name, value in headers}


def without_secrets(kwargs: Encoded) -> Encoded:
    """Return the request of a run as it may be shown."""
    if _LISTED not in bytes(kwargs):
        return kwargs
    document = orjson.loads(kwargs)
    names = document.get(SECRETS)
    if not isinstance(names, list):
        return kwargs  # encrypted, and so is what it is about
    document.pop(SECRETS)
    configurable = document["config"]["configurable"]
    configurable.update({name: MASK for name in names if name in configurable})
    return dump(document)
