"""What the section ``auth`` of ``langgraph.json`` says, as frozen objects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from loomline.server.graphs.spec import GraphSpec

SIGNED: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512",
                 "EdDSA")  # fmt: skip
SHARED: Final = ("HS256", "HS384", "HS512")


@dataclass(frozen=True, slots=True)
class CacheOptions:
    """How long the answer for the same credentials, which are in ``headers``, counts."""

    headers: tuple[str, ...] = ("authorization", "x-api-key", "cookie")
    ttl_seconds: float = 30.0
    most: int = 1000


@dataclass(frozen=True, slots=True)
class KeyOptions:
    """Where the API keys are: in a file, or in a variable. Exactly one is set."""

    file: Path | None = None
    variable: str | None = None


@dataclass(frozen=True, slots=True)
class TokenOptions:
    """Which tokens count. ``secret_variable``: signed with a secret that both sides know.

    Without ``jwks_url`` and secret the keys are found where the issuer says.
    """

    issuer: str
    audience: tuple[str, ...]
    algorithms: tuple[str, ...]
    jwks_url: str | None = None
    secret_variable: str | None = None
    identity_claim: str = "sub"
    permissions_claim: str = "scope"
    leeway_seconds: float = 10.0


@dataclass(frozen=True, slots=True)
class AuthOptions:
    """The whole section.

    ``studio``: the header of studios lets developers in, on loopback. ``private``: without handlers
    everybody sees their own.
    """

    path: GraphSpec | None = None
    studio: bool = False
    private: bool = False
    cache: CacheOptions | None = None
    keys: KeyOptions | None = None
    tokens: TokenOptions | None = None
    openapi: Mapping[str, Any] = field(default_factory=dict)
