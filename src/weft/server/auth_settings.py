"""The section ``auth`` of ``langgraph.json``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias
from urllib.parse import urlsplit

from weft.server.authn.options import (
    SHARED,
    SIGNED,
    AuthOptions,
    CacheOptions,
    KeyOptions,
    TokenOptions,
)
from weft.server.graphs.spec import GraphSpec

# The parsed file holds whatever its author wrote.
_Section: TypeAlias = Mapping[str, Any]

_TTL_MOST: Final = 3600
_ENTRIES_MOST: Final = 1_000_000
_HERE: Final = frozenset({"localhost", "127.0.0.1", "::1"})


def auth_options(section: _Section, folder: Path) -> AuthOptions:
    """Return the options of a section that is there.

    Raises:
        ValueError: something does not fit; the text is a sentence about it.
    """
    options = AuthOptions(
        path=_path(section, folder),
        # Closed unless somebody has written that it shall not be.
        studio=_flag(section, "disable_studio_auth", default=True) is False,
        private=_flag(section, "private", default=False),
        cache=_cache(_object(section, "cache")),
        keys=_keys(_object(section, "api_keys"), folder),
        tokens=_tokens(_object(section, "jwt")),
        openapi=_object(section, "openapi") or {},
    )
    if options.path is None and options.keys is None and options.tokens is None:
        raise ValueError('give "path" (of your Auth object), "api_keys" or "jwt".')
    if options.private and options.path is not None:
        raise ValueError('"private" is for servers without "path": its handlers say who sees what.')
    return options


def _path(section: _Section, folder: Path) -> GraphSpec | None:
    source = section.get("path")
    if source is None:
        return None
    if not isinstance(source, str) or not re.fullmatch(r".+:[^:/\\]+", source):
        raise ValueError('"path" must be given as "file.py:variable" or "module:variable".')
    place, _, attribute = source.rpartition(":")
    if "/" in place or "\\" in place or place.endswith(".py"):
        return GraphSpec("auth", source, attribute, (folder / place).resolve())
    return GraphSpec("auth", source, attribute, None, place)


def _cache(section: _Section | None) -> CacheOptions | None:
    if section is None:
        return None
    default = CacheOptions()
    headers = _texts(section, "cache_keys") or default.headers
    return CacheOptions(
        headers=tuple(name.lower() for name in headers),
        ttl_seconds=_number(section, "ttl_seconds", default.ttl_seconds, _TTL_MOST),
        most=int(_number(section, "max_size", default.most, _ENTRIES_MOST)),
    )


def _keys(section: _Section | None, folder: Path) -> KeyOptions | None:
    if section is None:
        return None
    file, variable = _text(section, "file"), _text(section, "env")
    if (file is None) == (variable is None):
        raise ValueError('"api_keys" must have either "file" or "env".')
    return KeyOptions(None if file is None else (folder / file).resolve(), variable)


def _tokens(section: _Section | None) -> TokenOptions | None:
    if section is None:
        return None
    issuer, audience = _text(section, "issuer"), _texts(section, "audience")
    if issuer is None or not audience:
        # A token that was made for another service must not open this one.
        raise ValueError('"jwt" must have "issuer" and "audience".')
    secret, url = _text(section, "secret_env"), _text(section, "jwks_url")
    if secret is not None and url is not None:
        raise ValueError('"jwt" must not have both "secret_env" and "jwks_url".')
    if secret is None:
        _check_url(url or issuer)
    known = SIGNED if secret is None else SHARED
    algorithms = _texts(section, "algorithms") or (known[0],)
    if wrong := [name for name in algorithms if name not in known]:
        raise ValueError(f'"jwt.algorithms" must be of {", ".join(known)}, not {wrong[0]!r}.')
    default = TokenOptions("", (), ())
    return TokenOptions(
        issuer=issuer,
        audience=audience,
        algorithms=algorithms,
        jwks_url=url,
        secret_variable=secret,
        identity_claim=_text(section, "identity_claim") or default.identity_claim,
        permissions_claim=_text(section, "permissions_claim") or default.permissions_claim,
        leeway_seconds=_number(section, "leeway_seconds", default.leeway_seconds, 300, least=0),
    )


def _check_url(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _HERE):
        raise ValueError(f'"jwt": keys can be fetched from https:// addresses only, not {url!r}.')


def _object(section: _Section, name: str) -> _Section | None:
    value = section.get(name)
    if value is not None and not isinstance(value, dict):
        raise ValueError(f'"{name}" must be an object.')
    return value


def _flag(section: _Section, name: str, *, default: bool) -> bool:
    value = section.get(name, default)
    if not isinstance(value, bool):
        raise ValueError(f'"{name}" must be true or false.')  # noqa: TRY004
    return value


def _text(section: _Section, name: str) -> str | None:
    value = section.get(name)
    if value is not None and not (isinstance(value, str) and value):
        raise ValueError(f'"{name}" must be a text.')
    return value


def _texts(section: _Section, name: str) -> tuple[str, ...]:
    value = section.get(name, [])
    several = [value] if isinstance(value, str) else value
    if not isinstance(several, list) or not all(isinstance(e, str) and e for e in several):
        raise ValueError(f'"{name}" must be a text or a list of texts.')
    return tuple(several)


def _number(
    section: _Section, name: str, default: float, most: float, *, least: float = 1
) -> float:
    value = section.get(name, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value <= most:
        raise ValueError(f'"{name}" must be a number from {least:g} to {most:g}.')
    return value
