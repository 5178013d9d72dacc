"""The keys that tokens are signed with: a secret, or what an issuer publishes."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Final

import httpx
import jwt
import orjson

from loomline.server.authz.errors import Refused
from loomline.server.domain.errors import AuthLoadError
from loomline.server.ports.clock import Clock

logger: logging.Logger = logging.getLogger("loomline.auth")

FRESH_SECONDS: Final = 600.0
"""After that the keys are fetched again: one that has been revoked counts no longer."""

KEEP_SECONDS: Final = 86_400.0
"""So long known keys count while the issuer does not answer."""

AGAIN_SECONDS: Final = 10.0
"""Between two attempts: unknown ids cost nobody anything."""

_TIMEOUT: Final = 5.0
_BYTES_MOST: Final = 1_000_000
_KEYS_MOST: Final = 200
_KINDS: Final = frozenset({"RSA", "EC", "OKP"})


class SecretKey:
    """One secret for all tokens.

    Raises:
        AuthLoadError: it is missing, or so short that it could be guessed.
    """

    def __init__(self, secret: str, source: str) -> None:
        if len(secret.encode()) < 32:
            raise AuthLoadError(source, "the secret must be set and have 32 bytes at least.")
        self._secret = secret

    async def key(self, _kid: str | None) -> str:
        return self._secret


class PublishedKeys:
    """Keys by their ids, fetched when they are needed.

    Args:
        jwks_url: Where they are; None: where the issuer's OpenID configuration says.
        issuer: Who publishes them.
        clock: Tells how old they are.
        patience_seconds: How long fetching may take: everybody with a token waits meanwhile.
    """

    def __init__(
        self, jwks_url: str | None, issuer: str, clock: Clock, *, patience_seconds: float = 15.0
    ) -> None:
        self._url = jwks_url
        self._issuer = issuer
        self._clock = clock
        self._patience = patience_seconds
        self._keys: dict[str | None, jwt.PyJWK] = {}
        # The monotonic clock may begin at 0 when the machine does.
        self._fetched = self._tried = clock.monotonic() - KEEP_SECONDS
        self._lock = asyncio.Lock()

    async def key(self, kid: str | None) -> jwt.PyJWK | None:
        if self._age(self._fetched) >= FRESH_SECONDS or self._find(kid) is None:
            await self._refresh(kid)
        if self._age(self._fetched) >= KEEP_SECONDS:
            raise Refused(503, "The keys of the token's issuer cannot be fetched. Try again later.")
        return self._find(kid)

    def _find(self, kid: str | None) -> jwt.PyJWK | None:
        if kid is None and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        return self._keys.get(kid)

    def _age(self, then: float) -> float:
        return self._clock.monotonic() - then

    async def _refresh(self, kid: str | None) -> None:
        async with self._lock:
            fresh = self._age(self._fetched) < FRESH_SECONDS
            if (fresh and self._find(kid) is not None) or self._age(self._tried) < AGAIN_SECONDS:
                return  # somebody else has just done it
            before, self._tried = self._tried, self._clock.monotonic()
            try:
                async with asyncio.timeout(self._patience):
                    self._keys = _parse(await self._fetch())
                self._fetched = self._clock.monotonic()
            except asyncio.CancelledError:
                self._tried = before  # the next one has to try: nobody has been answered
                raise
            except (httpx.HTTPError, httpx.InvalidURL, ValueError, TimeoutError) as error:
                reason = str(error) or type(error).__name__
                logger.warning("the keys of %s cannot be fetched: %s", self._issuer, reason)

    async def _fetch(self) -> object:
        async with httpx.AsyncClient(timeout=_TIMEOUT, follow_redirects=False) as client:
            if self._url is not None:
                return await _get(client, self._url)
            place = f"{self._issuer.rstrip('/')}/.well-known/openid-configuration"
            found = await _get(client, place)
            if not isinstance(found, dict) or found.get("issuer") != self._issuer:
                raise ValueError("its OpenID configuration names another issuer")
            url = found.get("jwks_uri")
            if not isinstance(url, str) or not url.startswith(("https://", _scheme(self._issuer))):
                raise ValueError("its OpenID configuration names no keys")
            return await _get(client, url)


def _scheme(url: str) -> str:
    """Return how an address begins: keys must not come on a worse way than the issuer's word."""
    return f"{url.partition('://')[0]}://"


async def _get(client: httpx.AsyncClient, url: str) -> object:
    content = b""
    async with client.stream("GET", url) as response:
        response.raise_for_status()
        async for chunk in response.aiter_bytes():
            content += chunk
            if len(content) > _BYTES_MOST:
                raise ValueError("the answer is too large")
    value: object = orjson.loads(content)
    return value


def _parse(document: object) -> dict[str | None, jwt.PyJWK]:
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise ValueError("the answer holds no keys")  # noqa: TRY004 - as for all that is wrong with it
    found = [key for entry in entries[:_KEYS_MOST] if (key := _key(entry)) is not None]
    return {key.key_id: key for key in found}


def _key(entry: Any) -> jwt.PyJWK | None:  # noqa: ANN401 - what an issuer publishes
    """Return a key that signs; None for others, and for kinds that are not known here."""
    if not isinstance(entry, dict) or entry.get("kty") not in _KINDS:
        return None
    if entry.get("use", "sig") != "sig":
        return None
    try:
        return jwt.PyJWK(entry)
    except (jwt.PyJWTError, ValueError, TypeError):
        return None
