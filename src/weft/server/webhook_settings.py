"""The section ``webhooks`` of ``langgraph.json``."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from weft.server.domain.webhooks import URL_MOST, Network, WebhookPolicy, secret_key

# The parsed file holds whatever its author wrote.
_Json: TypeAlias = Any

_TEMPLATE = re.compile(r"\$\{\{\s*env\.([A-Za-z_][A-Za-z0-9_]*)\s*\}\}")
_PREFIX: Final = "LG_WEBHOOK_"
_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,200}")

# Set for each request; another value would contradict what is sent.
_RESERVED = frozenset({"host", "content-length", "transfer-encoding", "connection"})


class DoesNotFit(ValueError):
    """A part of the section that cannot be used."""


@dataclass(frozen=True, slots=True)
class WebhookSettings:
    """The section. ``headers`` and ``keys`` are secrets."""

    policy: WebhookPolicy = field(default_factory=WebhookPolicy)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    enabled: bool = True


def webhook_settings(
    document: Mapping[str, _Json], environment: Mapping[str, str], networks: Sequence[Network]
) -> WebhookSettings:
    """Read the section.

    Args:
        document: The whole file.
        environment: Variables that headers may refer to.
        networks: Addresses that are allowed although they are not public.

    Raises:
        DoesNotFit: there is something wrong with it. The text goes on after "'langgraph.json': ".
    """
    section = _object(document, "webhooks")
    url = _object(section, "url", "webhooks.url")
    http = _object(document, "http")
    policy = WebhookPolicy(
        allowed_domains=tuple(_list(url, "allowed_domains", str, "texts")),
        allowed_ports=tuple(_list(url, "allowed_ports", int, "whole numbers")),
        allowed_networks=tuple(networks),
        require_https=_flag(url, "require_https", default="webhooks" in document),
        allow_loopback=not _flag(url, "disable_loopback", default=True),
        max_url_length=_length(url),
    )
    return WebhookSettings(
        policy=policy,
        headers=_headers(section, environment),
        enabled=not _flag(http, "disable_webhooks", default=False, where="http"),
    )


def parse_networks(text: str) -> tuple[Network, ...]:
    """Read addresses and ranges that are separated by commas."""
    try:
        return tuple(
            ipaddress.ip_network(each.strip(), strict=False)
            for each in text.split(",")
            if each.strip()
        )
    except ValueError:
        raise DoesNotFit("must be IP ranges with commas between them, like 10.0.0.0/8") from None


def parse_keys(text: str) -> tuple[bytes, ...]:
    """Read secrets that are separated by spaces: while one replaces another, both sign."""
    return tuple(secret_key(each) for each in text.split())


def _headers(section: Mapping[str, _Json], environment: Mapping[str, str]) -> dict[str, str]:
    prefix = section.get("env_prefix", _PREFIX)
    if not isinstance(prefix, str):
        raise DoesNotFit('"webhooks.env_prefix" must be a text')
    given = _object(section, "headers", "webhooks.headers")
    return {name: _header(name, value, prefix, environment) for name, value in given.items()}


def _header(name: str, value: _Json, prefix: str, environment: Mapping[str, str]) -> str:
    if not _NAME.fullmatch(name) or name.lower() in _RESERVED or not isinstance(value, str):
        raise DoesNotFit(f'the header "{name:.200}" in "webhooks.headers" cannot be sent')

    def resolve(match: re.Match[str]) -> str:
        variable = match[1]
        if not variable.startswith(prefix):
            raise DoesNotFit(
                f'the header "{name}" in "webhooks.headers" may only use variables whose names'
                f" begin with {prefix}, not {variable}"
            )
        if variable not in environment:
            raise DoesNotFit(
                f'the header "{name}" in "webhooks.headers" needs the variable {variable}, which'
                " is not set"
            )
        return environment[variable]

    text = _TEMPLATE.sub(resolve, value)
    if not text.isascii() or not text.isprintable():
        raise DoesNotFit(f'the header "{name}" in "webhooks.headers" must be plain ASCII text')
    return text


def _object(section: Mapping[str, _Json], name: str, shown: str = "") -> Mapping[str, _Json]:
    found = section.get(name)
    if found is not None and not isinstance(found, dict):
        raise DoesNotFit(f'"{shown or name}" must be an object')
    return found or {}


def _list(url: Mapping[str, _Json], name: str, kind: type, words: str) -> list[_Json]:
    found = url.get(name) or []
    if not isinstance(found, list) or not all(type(each) is kind for each in found):
        raise DoesNotFit(f'"webhooks.url.{name}" must be a list of {words}')
    return found


def _flag(
    section: Mapping[str, _Json], name: str, *, default: bool, where: str = "webhooks.url"
) -> bool:
    found = section.get(name, default)
    if not isinstance(found, bool):
        raise DoesNotFit(f'"{where}.{name}" must be true or false')
    return found


def _length(url: Mapping[str, _Json]) -> int:
    found = url.get("max_url_length", URL_MOST)
    if type(found) is not int or not 1 <= found <= URL_MOST:
        raise DoesNotFit(
            f'"webhooks.url.max_url_length" must be a whole number from 1 to {URL_MOST}'
        )
    return found
