"""The section ``webhooks``: where they may go, and what is sent along."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from loomline.server.domain.addresses import Network
from loomline.server.domain.webhooks import URL_MOST, WebhookPolicy, secret_key
from loomline.server.settings.document import Document, Json, Section, SettingsError

_TEMPLATE = re.compile(r"\$\{\{\s*env\.([A-Za-z_][A-Za-z0-9_]*)\s*\}\}")
_PREFIX: Final = "LG_WEBHOOK_"
_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,200}")

# Set for each request; another value would contradict what is sent.
_RESERVED = frozenset({"host", "content-length", "transfer-encoding", "connection"})


@dataclass(frozen=True, slots=True)
class WebhookSettings:
    """The section. ``headers`` are secrets."""

    policy: WebhookPolicy = field(default_factory=WebhookPolicy)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    enabled: bool = True


def webhook_settings(
    document: Document, environment: Mapping[str, str], networks: Sequence[Network]
) -> WebhookSettings:
    """Read the section.

    Args:
        document: The whole file.
        environment: Variables that headers may refer to.
        networks: Addresses that are allowed although they are not public.

    Raises:
        SettingsError: something does not fit.
    """
    section = document.section("webhooks")
    url = section.inner("url")
    policy = WebhookPolicy(
        allowed_domains=tuple(_list(url, "allowed_domains", str, "texts")),
        allowed_ports=tuple(_list(url, "allowed_ports", int, "whole numbers")),
        allowed_networks=tuple(networks),
        require_https=url.flag("require_https", default=document.gives("webhooks")),
        allow_loopback=not url.flag("disable_loopback", default=True),
        max_url_length=url.whole("max_url_length", URL_MOST, least=1, most=URL_MOST),
    )
    headers = _headers(section, environment)
    if headers and not policy.allowed_domains:
        raise SettingsError(
            f'"webhooks.headers" in {section.place} needs "webhooks.url.allowed_domains": users'
            " choose the URLs of webhooks, and the headers are sent to listed hosts only. Add the"
            ' hosts that may have them, such as "allowed_domains": ["hooks.example.com"].'
        )
    return WebhookSettings(
        policy=policy,
        headers=headers,
        enabled=not document.section("http").flag("disable_webhooks"),
    )


def parse_networks(text: str) -> tuple[Network, ...]:
    """Read addresses and ranges that are separated by commas.

    Raises:
        ValueError: they are none; the text goes on after "it".
    """
    try:
        return tuple(
            ipaddress.ip_network(each.strip(), strict=False)
            for each in text.split(",")
            if each.strip()
        )
    except ValueError:
        raise ValueError("must be IP ranges with commas between them, like 10.0.0.0/8") from None


def parse_keys(text: str) -> tuple[bytes, ...]:
    """Read secrets that are separated by spaces: while one replaces another, both sign."""
    return tuple(secret_key(each) for each in text.split())


def _headers(section: Section, environment: Mapping[str, str]) -> dict[str, str]:
    prefix = section.text("env_prefix")
    headers = _Headers(section, _PREFIX if prefix is None else prefix, environment)
    given = section.inner("headers").values
    return {name: headers.read(name, value) for name, value in given.items()}


@dataclass(frozen=True, slots=True)
class _Headers:
    section: Section
    prefix: str
    environment: Mapping[str, str]

    def read(self, name: str, value: Json) -> str:
        if not _NAME.fullmatch(name) or name.lower() in _RESERVED or not isinstance(value, str):
            raise self._error(name, "cannot be sent")
        text = _TEMPLATE.sub(lambda match: self._resolve(name, match[1]), value)
        if not text.isascii() or not text.isprintable():
            raise self._error(name, "must be plain ASCII text")
        return text

    def _resolve(self, name: str, variable: str) -> str:
        if not variable.startswith(self.prefix):
            may = "may only use variables whose names begin with"
            raise self._error(name, f"{may} {self.prefix}, not {variable}")
        if variable not in self.environment:
            raise self._error(name, f"needs the variable {variable}, which is not set")
        return self.environment[variable]

    def _error(self, name: str, what: str) -> SettingsError:
        return SettingsError(
            f'The header "{name:.200}" in "webhooks.headers" in {self.section.place} {what}.'
        )


def _list(url: Section, name: str, kind: type, words: str) -> list[Json]:
    found = url.value(name) or []
    if not isinstance(found, list) or not all(type(each) is kind for each in found):
        raise url.error(name, f"must be a list of {words}")
    return found
