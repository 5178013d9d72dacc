"""JSON Web Tokens, of an OpenID provider or signed with a shared secret."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Final, Protocol

import jwt

from loomline.server.authn.keys import bearer
from loomline.server.authn.options import TokenOptions
from loomline.server.authz.errors import Refused
from loomline.server.authz.requests import AuthRequest
from loomline.server.authz.users import Caller, User, is_identity

logger: logging.Logger = logging.getLogger("loomline.auth")

_LONGEST: Final = 16_384

# One text for whatever is wrong: it is of use to nobody but those who try.
_DENIED: Final = "The token is missing, invalid or expired."
_CHALLENGE: Final = {"www-authenticate": 'Bearer error="invalid_token"'}


class Keys(Protocol):
    async def key(self, kid: str | None) -> jwt.PyJWK | str | None:
        """Return the key that signs, by its id; None: there is none.

        Raises:
            Refused: the keys cannot be had at the moment.
        """
        ...


class TokenAuthenticator:
    def __init__(self, options: TokenOptions, keys: Keys) -> None:
        self._options = options
        self._keys = keys

    async def authenticate(self, request: AuthRequest) -> Caller:
        token = bearer(request)
        if token is None or len(token) > _LONGEST:
            raise _denied()
        try:
            header = jwt.get_unverified_header(token)
        except jwt.PyJWTError:
            raise _denied() from None
        if header.get("alg") not in self._options.algorithms:
            raise _denied()
        kid = header.get("kid")
        key = await self._keys.key(kid if isinstance(kid, str) else None)
        if key is None:
            raise _denied()
        return Caller(self._user(self._claims(token, key)))

    def _claims(self, token: str, key: jwt.PyJWK | str) -> Mapping[str, Any]:
        options = self._options
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=list(options.algorithms),
                audience=list(options.audience),
                issuer=options.issuer,
                leeway=options.leeway_seconds,
                options={"require": ["exp", "iss", "aud", options.identity_claim]},
            )
        except (jwt.PyJWTError, ValueError, TypeError) as error:
            logger.debug("a token is refused: %s", type(error).__name__)
            raise _denied() from None
        return claims

    def _user(self, claims: Mapping[str, Any]) -> User:
        identity = claims.get(self._options.identity_claim)
        if not is_identity(identity):
            raise _denied()
        name = claims.get("name")
        return User(
            {
                "identity": identity,
                "display_name": name if isinstance(name, str) else identity,
                "permissions": _permissions(claims.get(self._options.permissions_claim)),
                "claims": dict(claims),
            }
        )


def _permissions(given: object) -> list[str]:
    """Return permissions of a list, or of words of a text, as OAuth has them."""
    if isinstance(given, str):
        return given.split()
    return [each for each in given if isinstance(each, str)] if isinstance(given, list) else []


def _denied() -> Refused:
    return Refused(401, _DENIED, _CHALLENGE)
