"""What whoever finds out who asks may know of a request."""

from __future__ import annotations

from typing import Final, Protocol

from loomline.server.authz.users import Caller

PARAMETERS: Final = (
    "request", "body", "path", "method", "path_params", "query_params", "headers",
    "authorization", "scope", "user",
)  # fmt: skip
"""What a handler of authentication can ask for, by the names of its parameters."""


class AuthRequest(Protocol):
    def header(self, name: str) -> str | None:
        """Return a header, by its name in lower case."""
        ...

    async def parameter(self, name: str) -> object:
        """Return one of ``PARAMETERS``."""
        ...


class Authenticator(Protocol):
    async def authenticate(self, request: AuthRequest) -> Caller:
        """Return who asks.

        Raises:
            Refused: nobody who may.
        """
        ...
