"""Remembering who has just been found out."""

from __future__ import annotations

import hashlib
from collections import OrderedDict

import orjson

from loomline.server.authn.options import CacheOptions
from loomline.server.authz.requests import Authenticator, AuthRequest
from loomline.server.authz.users import Caller
from loomline.server.ports.clock import Clock


class CachedAuthenticator:
    """Does not ask again for the same credentials, for a short time.

    Who is refused is asked about again. Credentials are kept as digests only.
    """

    def __init__(self, inner: Authenticator, options: CacheOptions, clock: Clock) -> None:
        self._inner = inner
        self._options = options
        self._clock = clock
        self._found: OrderedDict[bytes, tuple[float, Caller]] = OrderedDict()

    async def authenticate(self, request: AuthRequest) -> Caller:
        values = [request.header(name) for name in self._options.headers]
        if not any(values):
            return await self._inner.authenticate(request)
        key = hashlib.sha256(orjson.dumps(values)).digest()
        now = self._clock.monotonic()
        until, caller = self._found.get(key, (now, None))
        if caller is not None and now < until:
            return caller
        caller = await self._inner.authenticate(request)
        self._found[key] = (now + self._options.ttl_seconds, caller)
        self._found.move_to_end(key)
        while len(self._found) > self._options.most:
            self._found.popitem(last=False)
        return caller
