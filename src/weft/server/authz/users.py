"""Users, as handlers and graphs see them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import orjson

from weft.server.domain.json import Encoded, load_object

FIELDS: Final = ("identity", "display_name", "is_authenticated", "permissions")
"""What every user has, asked for or not."""


class User(Mapping[str, Any]):
    """A user: ``user.identity`` and ``user["identity"]``, and so for whatever else it has.

    Its fields are JSON: runs may execute in another process than the one that the user asked.
    """

    __slots__ = ("_fields",)

    def __init__(self, fields: Mapping[str, Any]) -> None:
        identity = fields["identity"]
        self._fields: dict[str, Any] = {
            **fields,
            "display_name": fields.get("display_name") or identity,
            "is_authenticated": fields.get("is_authenticated", True),
            "permissions": list(fields.get("permissions") or ()),
        }

    @classmethod
    def load(cls, encoded: bytes) -> User:
        """Return a user that was written with ``dump``."""
        return cls(load_object(encoded))

    def dump(self) -> Encoded:
        """Return the user as JSON; what JSON cannot say is left out."""
        return Encoded(orjson.dumps(_plain(self._fields)))

    @property
    def identity(self) -> str:
        identity: str = self._fields["identity"]
        return identity

    @property
    def display_name(self) -> str:
        name: str = self._fields["display_name"]
        return name

    @property
    def is_authenticated(self) -> bool:
        return bool(self._fields["is_authenticated"])

    @property
    def permissions(self) -> Sequence[str]:
        permissions: list[str] = self._fields["permissions"]
        return permissions

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - the user's own fields
        # Copying and pickling look for attributes before there are fields.
        if name.startswith("_") or name not in self._fields:
            raise AttributeError(f"The user has no '{name}'.")
        return self._fields[name]

    def __getitem__(self, key: str) -> Any:  # noqa: ANN401 - the user's own fields
        return self._fields[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def __reduce__(self) -> tuple[type[User], tuple[dict[str, Any]]]:
        return User, (self._fields,)

    def __hash__(self) -> int:
        return hash(self.identity)

    def __repr__(self) -> str:
        # Fields may be secrets: tokens that nodes need to act for the user.
        return f"User({self.identity!r})"


@dataclasses.dataclass(frozen=True, slots=True)
class Caller:
    """On whose behalf something is done. No user: on that of nobody but the server.

    Services take one with every request, and ask the handlers only where it has a user: on a
    server without authentication nobody has one.
    """

    user: User | None = None

    @property
    def identity(self) -> str:
        return "" if self.user is None else self.user.identity


SERVER: Final = Caller()
"""The server itself, and whoever asks one without authentication: everything is allowed."""


def _plain(value: object) -> object:
    """Return a value without what JSON cannot say."""
    if isinstance(value, Mapping):
        found = {str(key): _plain(each) for key, each in value.items()}
        return {key: each for key, each in found.items() if each is not _Unknown}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [each for each in map(_plain, value) if each is not _Unknown]
    try:
        orjson.dumps(value)
    except TypeError:
        return _Unknown
    return value


class _Unknown:
    """Stands for what is left out."""
