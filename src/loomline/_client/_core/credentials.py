"""Keys and headers that change while a client lives."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from loomline._client._core.options import NotGiven, check_reserved

ApiKeyProvider: TypeAlias = Callable[[], str | Awaitable[str | None] | None]
"""Returns the key to send, or None for none; may be a coroutine function."""

HeadersProvider: TypeAlias = Callable[[], Mapping[str, str] | Awaitable[Mapping[str, str]]]
"""Returns headers to send; may be a coroutine function."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """Where the key and the headers of each request come from."""

    api_key: ApiKeyProvider | None = None
    headers: HeadersProvider | None = None


@dataclass(frozen=True, slots=True)
class Answered:
    """What the providers have answered for one request."""

    api_key: str | None
    headers: Mapping[str, str]


def with_credentials(answered: Answered, given: Mapping[str, str]) -> dict[str, str]:
    """Return the headers of a request; what was given for it wins over what was provided.

    Raises:
        ValueError: a header was provided that belongs to the client.
    """
    check_reserved(answered.headers)
    key = {"x-api-key": answered.api_key} if answered.api_key else {}
    named = {name.lower() for name in given}
    kept = {k: v for k, v in answered.headers.items() if k.lower() not in named}
    return {**key, **kept, **given}


@dataclass(frozen=True, slots=True)
class Given:
    """What a client was given: what is fixed, and what is asked for at each request."""

    api_key: str | NotGiven | None
    headers: Mapping[str, str] | None
    credentials: Credentials | None


def split(
    api_key: str | ApiKeyProvider | NotGiven | None,
    headers: Mapping[str, str] | HeadersProvider | None,
) -> Given:
    """Tell providers from values."""
    key_provider = api_key if callable(api_key) else None
    headers_provider = headers if callable(headers) else None
    changing = key_provider is not None or headers_provider is not None
    return Given(
        None if callable(api_key) else api_key,
        None if callable(headers) else headers,
        Credentials(key_provider, headers_provider) if changing else None,
    )
