"""What handlers of encryption take and give."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar

from loomline.auth.types import BaseUser

__all__ = [
    "BlobDecryptor",
    "BlobEncryptor",
    "ContextHandler",
    "DecryptResult",
    "EncryptionContext",
    "Json",
    "JsonDecryptor",
    "JsonEncryptor",
]

T = TypeVar("T")

Json: TypeAlias = dict[str, Any]
"""A JSON object."""


class EncryptionContext:
    """What a handler may know of the data it works on.

    Attributes:
        model: What kind of thing the data belongs to, `thread` for example. Only for encryption:
            a decryptor must not depend on it.
        field: Which part of it. Likewise.
        metadata: What the context handler has returned for the user who asks.
    """

    __slots__ = ("field", "metadata", "model")

    def __init__(
        self,
        model: str | None = None,
        metadata: dict[str, Any] | None = None,
        field: str | None = None,
    ) -> None:
        self.model: str | None = model
        self.field: str | None = field
        self.metadata: dict[str, Any] = metadata or {}

    def __repr__(self) -> str:
        return (
            f"EncryptionContext(model={self.model!r}, field={self.field!r},"
            f" metadata={self.metadata!r})"
        )


@dataclass(frozen=True, slots=True)
class DecryptResult(Generic[T]):
    """What a decryptor may return to have the stored ciphertext replaced, by a new key for example.

    Attributes:
        plaintext: The decrypted data.
        replacement: The ciphertext to store from now on; None: leave it.
    """

    plaintext: T
    replacement: T | None = None


BlobEncryptor: TypeAlias = Callable[[EncryptionContext, bytes], Awaitable[bytes]]
"""Encrypts bytes."""

BlobDecryptor: TypeAlias = Callable[
    [EncryptionContext, bytes], Awaitable[bytes | DecryptResult[bytes]]
]
"""Decrypts bytes."""

JsonEncryptor: TypeAlias = Callable[[EncryptionContext, Json], Awaitable[Json]]
"""Encrypts the values of an object; it must keep the keys."""

JsonDecryptor: TypeAlias = Callable[
    [EncryptionContext, Json], Awaitable[Json | DecryptResult[Json]]
]
"""Decrypts the values of an object."""

ContextHandler: TypeAlias = Callable[[BaseUser, EncryptionContext], Awaitable[dict[str, Any]]]
"""Returns the metadata of the context for a user."""
