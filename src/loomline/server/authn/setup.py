"""Everything that the section ``auth`` leads to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from loomline.server.authn.cache import CachedAuthenticator
from loomline.server.authn.handler import HandlerAuthenticator, load_auth
from loomline.server.authn.keys import KeyAuthenticator
from loomline.server.authn.options import AuthOptions, TokenOptions
from loomline.server.authn.private import private_auth
from loomline.server.authn.several import KeysOrTokens
from loomline.server.authz.authorizer import AuthObject
from loomline.server.authz.requests import Authenticator
from loomline.server.domain.errors import AuthLoadError
from loomline.server.ports.clock import Clock


@dataclass(frozen=True, slots=True)
class AuthSetUp:
    """``handlers`` is the object whose handlers authorize; None: there are none."""

    authenticator: Authenticator | None = None
    handlers: AuthObject = None
    studio: bool = False
    openapi: Mapping[str, Any] = field(default_factory=dict)

    @property
    def protected(self) -> bool:
        """Whether nobody is served without being known."""
        return self.authenticator is not None


def set_up(options: AuthOptions | None, environment: Mapping[str, str], clock: Clock) -> AuthSetUp:
    """Return what finds out who asks, and what says what they may.

    Raises:
        AuthLoadError: something is missing or contradicts something else.
    """
    if options is None:
        return AuthSetUp()
    auth = None if options.path is None else load_auth(options.path)
    authenticator = _authenticator(options, auth, environment, clock)
    if options.cache is not None:
        authenticator = CachedAuthenticator(authenticator, options.cache, clock)
    handlers = private_auth() if options.private else auth
    return AuthSetUp(authenticator, handlers, options.studio, options.openapi)


def _authenticator(
    options: AuthOptions, auth: AuthObject, environment: Mapping[str, str], clock: Clock
) -> Authenticator:
    built_in = _built_in(options, environment, clock)
    source = "langgraph.json" if options.path is None else options.path.source
    handler = None if auth is None else auth._authenticate_handler  # noqa: SLF001
    if built_in is not None and handler is not None:
        raise AuthLoadError(
            source,
            'it has an authenticate handler, and "api_keys" or "jwt" are configured as well.'
            " Use one of them.",
        )
    if built_in is not None:
        return built_in
    if handler is None:
        raise AuthLoadError(
            source,
            "it has no authenticate handler, so nobody could be known. Add a function with"
            ' @auth.authenticate, or configure "api_keys" or "jwt".',
        )
    return HandlerAuthenticator(handler, source)


def _built_in(
    options: AuthOptions, environment: Mapping[str, str], clock: Clock
) -> Authenticator | None:
    keys = None if options.keys is None else KeyAuthenticator(options.keys, environment, clock)
    if options.tokens is None:
        return keys
    tokens = _tokens(options.tokens, environment, clock)
    return tokens if keys is None else KeysOrTokens(keys, tokens)


def _tokens(options: TokenOptions, environment: Mapping[str, str], clock: Clock) -> Authenticator:
    try:
        from loomline.server.authn.jwks import PublishedKeys, SecretKey  # noqa: PLC0415 - an extra
        from loomline.server.authn.tokens import TokenAuthenticator  # noqa: PLC0415
    except ImportError as error:
        raise AuthLoadError(
            '"jwt"', 'it needs PyJWT. Install it with: pip install "loomline[server,jwt]".'
        ) from error
    name = options.secret_variable
    if name is not None:
        secret = SecretKey(environment.get(name, ""), f"the variable {name}")
        return TokenAuthenticator(options, secret)
    keys = PublishedKeys(options.jwks_url, options.issuer, clock)
    return TokenAuthenticator(options, keys)
