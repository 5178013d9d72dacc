"""Either of two ways to be known."""

from __future__ import annotations

from loomline.server.authn.keys import PREFIX, given_key
from loomline.server.authz.requests import Authenticator, AuthRequest
from loomline.server.authz.users import Caller


class KeysOrTokens:
    """API keys where one is given, tokens otherwise."""

    def __init__(self, keys: Authenticator, tokens: Authenticator) -> None:
        self._keys = keys
        self._tokens = tokens

    async def authenticate(self, request: AuthRequest) -> Caller:
        by_key = request.header("x-api-key") or (given_key(request) or "").startswith(PREFIX)
        chosen = self._keys if by_key else self._tokens
        return await chosen.authenticate(request)
