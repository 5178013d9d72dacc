"""The section ``auth``: how callers are told apart."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from loomline.server.authn.options import (
    SHARED,
    SIGNED,
    AuthOptions,
    CacheOptions,
    KeyOptions,
    TokenOptions,
)
from loomline.server.settings.document import Section, SettingsError, found_path

_TTL_MOST: Final = 3600
_ENTRIES_MOST: Final = 1_000_000
_HERE: Final = frozenset({"localhost", "127.0.0.1", "::1"})


def auth_options(section: Section) -> AuthOptions | None:
    """Return what the section says, None where it is empty or absent.

    Raises:
        SettingsError: something does not fit.
    """
    if not section.values:
        return None
    openapi = section.part("openapi")
    options = AuthOptions(
        path=section.spec("path", "auth"),
        # Closed unless somebody has written that it shall not be.
        studio=section.flag("disable_studio_auth", default=True) is False,
        private=section.flag("private"),
        cache=_cache(section.part("cache")),
        keys=_keys(section.part("api_keys")),
        tokens=_tokens(section.part("jwt")),
        openapi={} if openapi is None else openapi.values,
    )
    if options.path is None and options.keys is None and options.tokens is None:
        raise _misfit(section, 'must have "path" (of your Auth object), "api_keys" or "jwt"')
    if options.private and options.path is not None:
        must = 'is for servers without "auth.path": its handlers say who sees what'
        raise section.error("private", must)
    return options


def _cache(section: Section | None) -> CacheOptions | None:
    if section is None:
        return None
    default = CacheOptions()
    headers = _texts(section, "cache_keys") or default.headers
    return CacheOptions(
        headers=tuple(name.lower() for name in headers),
        ttl_seconds=section.number("ttl_seconds", default.ttl_seconds, least=1, most=_TTL_MOST),
        most=int(section.number("max_size", default.most, least=1, most=_ENTRIES_MOST)),
    )


def _keys(section: Section | None) -> KeyOptions | None:
    if section is None:
        return None
    file, variable = _text(section, "file"), _text(section, "env")
    if (file is None) == (variable is None):
        raise _misfit(section, 'must have either "file" or "env"')
    return KeyOptions(None if file is None else found_path(file, section.folder), variable)


def _tokens(section: Section | None) -> TokenOptions | None:
    if section is None:
        return None
    issuer, audience = _text(section, "issuer"), _texts(section, "audience")
    if issuer is None or not audience:
        # A token that was made for another service must not open this one.
        raise _misfit(section, 'must have "issuer" and "audience"')
    secret, url = _text(section, "secret_env"), _text(section, "jwks_url")
    if secret is not None and url is not None:
        raise _misfit(section, 'must not have both "secret_env" and "jwks_url"')
    if secret is None:
        _check_url(section, url or issuer)
    known = SIGNED if secret is None else SHARED
    algorithms = _texts(section, "algorithms") or (known[0],)
    if wrong := [name for name in algorithms if name not in known]:
        raise section.error("algorithms", f"must be of {', '.join(known)}, not {wrong[0]!r}")
    default = TokenOptions("", (), ())
    return TokenOptions(
        issuer=issuer,
        audience=audience,
        algorithms=algorithms,
        jwks_url=url,
        secret_variable=secret,
        identity_claim=_text(section, "identity_claim") or default.identity_claim,
        permissions_claim=_text(section, "permissions_claim") or default.permissions_claim,
        leeway_seconds=section.number("leeway_seconds", default.leeway_seconds, least=0, most=300),
    )


def _check_url(section: Section, url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _HERE):
        raise _misfit(section, f"can fetch keys from https:// addresses only, not {url!r}")


def _misfit(section: Section, must: str) -> SettingsError:
    return SettingsError(f'"{section.name}" in {section.place} {must}.')


def _text(section: Section, key: str) -> str | None:
    found = section.text(key)
    if found is not None and not found:
        raise section.error(key, "must not be empty")
    return found


def _texts(section: Section, key: str) -> tuple[str, ...]:
    """Return texts that may also be given as one."""
    found = section.value(key, [])
    several = [found] if isinstance(found, str) else found
    if not isinstance(several, list) or not all(isinstance(e, str) and e for e in several):
        raise section.error(key, "must be a text or a list of texts")
    return tuple(several)
