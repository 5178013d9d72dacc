"""Users, as handlers and graphs see them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, KeysView, Mapping, Sequence
from typing import Any, Final, TypeGuard
from unicodedata import category

import orjson

from loomline.server.domain.json import Encoded, load_object

FIELDS: Final = ("identity", "display_name", "is_authenticated", "permissions")
"""What every user has, asked for or not."""


_IDENTITY_MOST: Final = 1000
_UNSPEAKABLE: Final = frozenset({"Cc", "Cs"})


def is_identity(value: object) -> TypeGuard[str]:
    """Return whether something can tell a user from all others, wherever it is written.

    A star is a wildcard where namespaces are listed; control characters and halves of characters
    are what databases change or refuse.
    """
    return (
        isinstance(value, str)
        and value not in {"", "*"}
        and len(value) <= _IDENTITY_MOST
        and not any(category(each) in _UNSPEAKABLE for each in value)
    )


class User:
    """A user: ``user.identity`` and ``user["identity"]``, and so for whatever else it has.

    Its fields are JSON: runs may execute in another process than the one that the user asked. It
    is no ``Mapping``, for what encodes mappings would show its fields to others: they may be
    tokens that nodes need to act for the user.
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

    def __contains__(self, key: object) -> bool:
        return key in self._fields

    def __eq__(self, other: object) -> bool:
        return isinstance(other, User) and self._fields == other._fields

    def keys(self) -> KeysView[str]:
        return self._fields.keys()

    def get(self, key: str, default: Any = None) -> Any:  # noqa: ANN401 - the user's own fields
        return self._fields.get(key, default)

    def __reduce__(self) -> tuple[type[User], tuple[dict[str, Any]]]:
        return User, (self._fields,)

    def __hash__(self) -> int:
        return hash(self.identity)

    def __repr__(self) -> str:
        return f"User({self.identity!r})"


@dataclasses.dataclass(frozen=True, slots=True)
class Caller:
    """On whose behalf something is done. No user: on that of nobody but the server.

    Services take one with every request, and ask the handlers only where it has a user: on a
    server without authentication nobody has one. ``studio``: a developer who was let in without
    being asked.
    """

    user: User | None = None
    studio: bool = False

    @property
    def identity(self) -> str:
        return "" if self.user is None else self.user.identity

    @property
    def permissions(self) -> Sequence[str]:
        return () if self.user is None else self.user.permissions

    def dump(self) -> Encoded | None:
        """Return the user as a row holds it."""
        return None if self.user is None else self.user.dump()

    @classmethod
    def load(cls, encoded: bytes | None) -> Caller:
        """Return the caller whose user a row holds."""
        return SERVER if encoded is None else cls(User.load(encoded))

    def configurable(self) -> dict[str, Any]:
        """Return what the config of a graph says of the user."""
        return {
            "langgraph_auth_user": self.user,
            "langgraph_auth_user_id": self.identity,
            "langgraph_auth_permissions": list(self.permissions),
        }


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
