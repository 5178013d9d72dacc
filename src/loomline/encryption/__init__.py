"""Encryption at rest: handlers that a server calls before it stores and after it loads.

A server finds the object by the path in its configuration (`"encryption": {"path": "./x.py:e"}`).

    encryption = Encryption()

    @encryption.encrypt.blob
    async def seal(ctx: EncryptionContext, data: bytes) -> bytes:
        return cipher.encrypt(data)

    @encryption.decrypt.blob
    async def unseal(ctx: EncryptionContext, data: bytes) -> bytes:
        return cipher.decrypt(data)
"""

from __future__ import annotations

import functools
import inspect
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

from loomline.encryption import types

__all__ = ["DuplicateHandlerError", "Encryption", "LangGraphBetaWarning"]

_BlobEncryptorT = TypeVar("_BlobEncryptorT", bound=types.BlobEncryptor)
_BlobDecryptorT = TypeVar("_BlobDecryptorT", bound=types.BlobDecryptor)
_JsonEncryptorT = TypeVar("_JsonEncryptorT", bound=types.JsonEncryptor)
_JsonDecryptorT = TypeVar("_JsonDecryptorT", bound=types.JsonDecryptor)


class LangGraphBetaWarning(UserWarning):
    """An interface may still change."""


class DuplicateHandlerError(Exception):
    """There is a handler for this already."""


class Encryption:
    """The handlers that encrypt and decrypt what a server stores.

    Attributes:
        encrypt: Registers encryptors: `@encryption.encrypt.blob`, `@encryption.encrypt.json`.
        decrypt: Registers decryptors: `@encryption.decrypt.blob`, `@encryption.decrypt.json`.
        types: What handlers take and give.
    """

    __slots__ = (
        "_blob_decryptor",
        "_blob_encryptor",
        "_context_handler",
        "_json_decryptor",
        "_json_encryptor",
        "decrypt",
        "encrypt",
    )

    types = types

    def __init__(self) -> None:
        _warn_encryption_beta()
        # Servers of any maker read these, by these names.
        self.encrypt: _EncryptDecorators = _EncryptDecorators(self)
        self.decrypt: _DecryptDecorators = _DecryptDecorators(self)
        self._blob_encryptor: types.BlobEncryptor | None = None
        self._blob_decryptor: types.BlobDecryptor | None = None
        self._json_encryptor: types.JsonEncryptor | None = None
        self._json_decryptor: types.JsonDecryptor | None = None
        self._context_handler: types.ContextHandler | None = None

    def context(self, fn: types.ContextHandler) -> types.ContextHandler:
        """Register the function that gives handlers their metadata, in place of a former one.

        Args:
            fn: `async (user, ctx) -> dict`; what it returns is `ctx.metadata` afterwards.

        Returns:
            The function itself.
        """
        self._context_handler = fn
        return fn

    def get_json_encryptor(self, _model: str | None = None) -> types.JsonEncryptor | None:
        """Return the encryptor of objects; there is one for all kinds of things."""
        return self._json_encryptor

    def get_json_decryptor(self, _model: str | None = None) -> types.JsonDecryptor | None:
        """Return the decryptor of objects; there is one for all kinds of things."""
        return self._json_decryptor

    def __repr__(self) -> str:
        names = ("blob_encryptor", "blob_decryptor", "json_encryptor", "json_decryptor")
        held = [name for name in names if getattr(self, f"_{name}") is not None]
        held += ["context_handler"] if self._context_handler is not None else []
        return f"Encryption(handlers=[{', '.join(held)}])"


class _EncryptDecorators:
    """Registers encryptors."""

    def __init__(self, parent: Encryption) -> None:
        self._parent = parent

    def blob(self, fn: _BlobEncryptorT) -> _BlobEncryptorT:
        """Register the encryptor of bytes: `async (ctx, data) -> bytes`."""
        _check(self._parent._blob_encryptor, fn, "blob encryptor")
        self._parent._blob_encryptor = fn
        return fn

    def json(self, fn: _JsonEncryptorT) -> _JsonEncryptorT:
        """Register the encryptor of objects: `async (ctx, data) -> dict`, with the same keys."""
        _check(self._parent._json_encryptor, fn, "JSON encryptor")
        self._parent._json_encryptor = fn
        return fn


class _DecryptDecorators:
    """Registers decryptors."""

    def __init__(self, parent: Encryption) -> None:
        self._parent = parent

    def blob(self, fn: _BlobDecryptorT) -> _BlobDecryptorT:
        """Register the decryptor of bytes: `async (ctx, data) -> bytes`, or a `DecryptResult`."""
        _check(self._parent._blob_decryptor, fn, "blob decryptor")
        self._parent._blob_decryptor = fn
        return fn

    def json(self, fn: _JsonDecryptorT) -> _JsonDecryptorT:
        """Register the decryptor of objects: `async (ctx, data) -> dict`, or a `DecryptResult`."""
        _check(self._parent._json_decryptor, fn, "JSON decryptor")
        self._parent._json_decryptor = fn
        return fn


def _check(present: object, fn: Callable[..., Any], kind: str) -> None:
    """Refuse a second handler, and a function with the wrong parameters.

    Raises:
        DuplicateHandlerError: a handler of this kind is registered.
        TypeError: the function is not an async function of `(ctx, data)`.
    """
    if present is not None:
        raise DuplicateHandlerError(f"There is a {kind} already.")
    check_handler(fn, kind, "ctx", "data")


def check_handler(fn: Callable[..., Any], kind: str, *names: str) -> None:
    """Refuse a function with the wrong parameters.

    Raises:
        TypeError: the function is not async, takes another number of parameters by position, or
            requires parameters by name.
    """
    if not inspect.iscoroutinefunction(fn):
        raise TypeError(f"The {kind} must be an async function, not {type(fn).__name__}.")
    parameters = inspect.signature(fn).parameters.values()
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    count, wanted = sum(p.kind in kinds for p in parameters), ", ".join(names)
    if any(p.kind is p.KEYWORD_ONLY and p.default is p.empty for p in parameters):
        raise TypeError(
            f"The {kind} must not require parameters by name: the server passes ({wanted})"
            " by position."
        )
    if count != len(names):
        raise TypeError(
            f"The {kind} must accept exactly {len(names)} parameters by position, not {count}. "
            f"Declare it with ({wanted})."
        )


@functools.cache
def _warn_encryption_beta() -> None:
    warnings.warn(
        "Encryption is in beta: its interface may change.", LangGraphBetaWarning, stacklevel=3
    )
