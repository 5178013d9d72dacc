"""API keys: who has one is the user that is written beside its hash."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import orjson

from loomline.server.authn.options import KeyOptions
from loomline.server.authz.errors import Refused
from loomline.server.authz.requests import AuthRequest
from loomline.server.authz.users import Caller, User, is_identity
from loomline.server.domain.errors import AuthLoadError
from loomline.server.ports.clock import Clock

logger: logging.Logger = logging.getLogger("loomline.auth")

PREFIX: Final = "loomline_"

_LOOK_SECONDS: Final = 1.0
_BYTES: Final = 32
_LONGEST: Final = 512

UNKNOWN: Final = Refused(401, "The API key is missing or unknown.", {"www-authenticate": "Bearer"})

Keys = Mapping[str, User]


def new_key(identity: str) -> tuple[str, dict[str, Any]]:
    """Return a new API key, and the entry by which a server knows it."""
    key = f"{PREFIX}{secrets.token_urlsafe(_BYTES)}"
    return key, {"identity": identity, "sha256": digest(key), "permissions": []}


def digest(key: str) -> str:
    # Without salt and repetition: a key is 256 random bits, which nobody can guess.
    return hashlib.sha256(key.encode()).hexdigest()


def given_key(request: AuthRequest) -> str | None:
    """Return the key of a request: ``x-api-key``, or ``Authorization: Bearer``."""
    key = request.header("x-api-key") or bearer(request)
    return key if key and len(key) <= _LONGEST else None


def bearer(request: AuthRequest) -> str | None:
    """Return what follows ``Bearer`` in the header ``Authorization``."""
    scheme, _, rest = (request.header("authorization") or "").partition(" ")
    return rest.strip() or None if scheme.lower() == "bearer" else None


class KeyAuthenticator:
    """Knows users by their keys. A file is read again when it has changed.

    Raises:
        AuthLoadError: the keys cannot be read.
    """

    def __init__(self, options: KeyOptions, environment: Mapping[str, str], clock: Clock) -> None:
        self._clock = clock
        self._looked_at = clock.monotonic()
        if options.file is not None:
            self._read: Callable[[], Keys] = _FileKeys(options.file).read
        else:
            name = options.variable or ""
            keys = parse_keys(environment.get(name, ""), f"the variable {name}")
            self._read = lambda: keys
        self._keys = self._read()

    async def authenticate(self, request: AuthRequest) -> Caller:
        self._look()
        key = given_key(request)
        # By hash: how long it takes says nothing about the keys that there are.
        user = self._keys.get(digest(key)) if key else None
        if user is None:
            raise UNKNOWN
        return Caller(user)

    def _look(self) -> None:
        now = self._clock.monotonic()
        if now - self._looked_at < _LOOK_SECONDS:
            return
        self._looked_at = now
        try:
            self._keys = self._read()
        except AuthLoadError as error:
            logger.error("the API keys stay as they were: %s", error)  # noqa: TRY400 - no bug


class _FileKeys:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self._keys: Keys = {}

    def read(self) -> Keys:
        try:
            stat = os.stat(self._path)  # noqa: PTH116 - in every second
            seen = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
            if seen != self._seen:
                self._keys = parse_keys(self._path.read_text(), f"'{self._path}'")
                self._seen = seen
        except (OSError, UnicodeDecodeError) as error:
            raise AuthLoadError(f"'{self._path}'", f"it cannot be read ({error}).") from error
        return self._keys


def parse_keys(text: str, source: str) -> Keys:
    """Return users by the hashes of their keys.

    Raises:
        AuthLoadError: the text is none of ``[{"identity": "...", "sha256": "..."}]``.
    """
    try:
        entries = orjson.loads(text)
    except orjson.JSONDecodeError:
        entries = None
    if not isinstance(entries, list):
        raise AuthLoadError(
            source,
            'it must be a JSON list of {"identity": "ada", "sha256": "..."}; `loomline key ada`'
            " makes a key and such an entry.",
        )
    return dict(_entry(entry, source) for entry in entries)


def _entry(entry: object, source: str) -> tuple[str, User]:
    fields = entry if isinstance(entry, dict) else {}
    identity, hashed = fields.get("identity"), fields.get("sha256")
    permissions = fields.get("permissions", [])
    if (
        not is_identity(identity)
        or not isinstance(hashed, str)
        or not re.fullmatch("[0-9a-f]{64}", hashed)
    ):
        raise AuthLoadError(
            source, 'an entry lacks "identity" or "sha256", which is 64 hexadecimal digits.'
        )
    if not isinstance(permissions, list) or not all(isinstance(each, str) for each in permissions):
        raise AuthLoadError(source, 'the "permissions" of an entry must be a list of texts.')
    known = {key: fields[key] for key in ("identity", "display_name") if key in fields}
    return hashed, User({**known, "permissions": permissions})
