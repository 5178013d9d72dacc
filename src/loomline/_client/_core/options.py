"""How a client is set up: address, key, headers, timeouts."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from typing import Final, TypeAlias

import httpx

from loomline._version import __version__

LOCAL_URL: Final = "http://localhost:8123"
"""Where a server is looked for when none is named."""

RESERVED_HEADERS: Final = ("x-api-key",)

KEY_VARIABLES: Final = ("LANGGRAPH_API_KEY", "LANGSMITH_API_KEY", "LANGCHAIN_API_KEY")

TimeoutTypes: TypeAlias = (
    float
    | tuple[float | None, float | None]
    | tuple[float | None, float | None, float | None, float | None]
    | httpx.Timeout
    | None
)


class NotGiven:
    """The default of a parameter for which None means something."""

    def __repr__(self) -> str:
        return "NOT_GIVEN"


NOT_GIVEN: Final = NotGiven()


def api_key(given: str | NotGiven | None) -> str | None:
    """Return the key to send: the given one, else the first in the environment."""
    if not isinstance(given, NotGiven):
        return given
    found = (os.environ.get(name, "") for name in KEY_VARIABLES)
    return next((_bare(text) for text in found if _bare(text)), None)


def client_headers(key: str | NotGiven | None, custom: Mapping[str, str] | None) -> dict[str, str]:
    """Return the headers of every request.

    Raises:
        ValueError: a header is set that belongs to the client.
    """
    headers = {"User-Agent": f"loomline-py/{__version__}", **(custom or {})}
    check_reserved(headers)
    resolved = api_key(key)
    return {**headers, "x-api-key": resolved} if resolved else headers


def check_reserved(headers: Mapping[str, str]) -> None:
    """Refuse headers that belong to the client.

    Raises:
        ValueError: there is one.
    """
    for name in headers:
        if name.lower() in RESERVED_HEADERS:
            raise ValueError(f"Cannot set reserved header '{name}'")


def timeouts(given: TimeoutTypes) -> httpx.Timeout:
    """Return the timeouts, in seconds: as given, else long ones for reading and writing."""
    if given is None:
        return httpx.Timeout(connect=5, read=300, write=300, pool=5)
    if isinstance(given, tuple) and len(given) == 2:
        given = (*given, None, None)
    return httpx.Timeout(given)


def _bare(text: str) -> str:
    return text.strip().strip('"').strip("'")


def warn_of_checkpoint_during(given: bool | None) -> None:
    """Tell the caller of the caller that a parameter has a successor."""
    if given is not None:
        warnings.warn(
            "`checkpoint_during` is deprecated: use `durability` instead",
            DeprecationWarning,
            stacklevel=3,
        )
