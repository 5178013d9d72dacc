"""Readers of host names and of origins of web pages."""

from __future__ import annotations

from typing import Final

from loomline.server.domain.origins import plain_origin, split_authority

EVERY: Final = "*"

_STUDIOS: Final = {"langsmith": ("https://smith.langchain.com", "https://eu.smith.langchain.com")}
"""Hosted studios by the names that users know them by."""


def host_list(text: str) -> tuple[str, ...]:
    """Read host names that are separated by commas.

    Raises:
        ValueError: one of them is not a host name.
    """
    found = tuple(each.strip() for each in text.split(",") if each.strip())
    for each in found:
        check_host(each)
    return found


def check_host(text: str) -> None:
    """Make sure that a string can be a name of a server.

    Raises:
        ValueError: it is a URL, has a port, or has a wildcard in the wrong position.
    """
    rest = text.removeprefix("*.")
    split = None if text == EVERY else split_authority(rest)
    if text != EVERY and (split is None or split[1] is not None or EVERY in rest):
        raise ValueError("must be names like agents.example.com or *.example.com, without ports")


def origin_list(text: str) -> tuple[str, ...]:
    """Read origins that are separated by commas.

    Raises:
        ValueError: one of them is not an origin.
    """
    given = [each.strip() for each in text.split(",") if each.strip()]
    return tuple(each if each == EVERY else plain_origin(each) for each in given)


def studio_origins(text: str) -> tuple[str, ...]:
    """Read the name or the origin of a hosted studio.

    Raises:
        ValueError: the string is neither.
    """
    if text.lower() in _STUDIOS:
        return _STUDIOS[text.lower()]
    try:
        return origin_list(text.replace(EVERY, " "))
    except ValueError:
        raise ValueError(
            "must be 'langsmith' or an origin like https://studio.example.com"
        ) from None
