"""Calls the handlers of an ``Encryption``: ours, or one of the official package.

A value that a handler has changed is stored as ``{"loomline:sealed": ..., "context": ...}``, so
encrypted and plain values can stand side by side: rows from before, names that the database has to
find, and objects that were merged key by key. A handler only ever gets back its own output.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any, Final, Protocol, TypeAlias, TypeVar, cast

import orjson

from loomline.encryption.types import EncryptionContext
from loomline.server.domain.errors import EncryptionFailed
from loomline.server.domain.json import Encoded, Json, JsonObject, load_object
from loomline.server.domain.reserved import SYSTEM_KEYS, SYSTEM_PREFIX
from loomline.server.ports.sealing import ACTING, Acting
from loomline.server.storage.steps import Steps, step

S = TypeVar("S")
T = TypeVar("T")

# What handlers take and give is the user's business.
_Handler: TypeAlias = Callable[[Any, Any], Awaitable[Any]]

SEALED: Final = "loomline:sealed"
_CONTEXT: Final = "context"
_ESCAPED: Final = "plain"
_MEMBERS: Final = frozenset({SEALED, _CONTEXT, _ESCAPED})
KEPT: Final = "loomline:context"
WHOLE: Final = "loomline:whole"
"""The only key of what stands for a value that is no object."""

BLOB_PREFIX: Final = "sealed:"
"""How the type of an encrypted blob begins; the type of what is inside follows."""

_AT_ONCE: Final = 32
"""Calls of handlers that one act makes at the same time."""

_PATIENCE_SECONDS: Final = 5.0
"""How long handlers that are cancelled may take to end."""


class Handlers(Protocol):
    """What is read of an ``Encryption``, whichever package it comes from."""

    _blob_encryptor: _Handler | None
    _blob_decryptor: _Handler | None
    _json_encryptor: _Handler | None
    _json_decryptor: _Handler | None
    _context_handler: Callable[..., Awaitable[JsonObject]] | None


class Sealer:
    """Encrypts what is to be stored, decrypts what was.

    Handlers of users are called on a thread of their own, on one event loop: whatever they wait
    for, or however they block, the API and other runs go on, and their connections have one loop.

    Args:
        encryption: An object with handlers.
        inline: The handlers wait for nothing and may be called wherever one is.

    Raises:
        ValueError: it has an encryptor without its decryptor, or none at all.
    """

    def __init__(self, encryption: object, *, inline: bool = False) -> None:
        found = cast("Handlers", encryption)
        self.blobs: Final = _pair(found, "blob")
        self.json: Final = _pair(found, "json")
        if self.blobs is None and self.json is None:
            raise ValueError("it has no handlers, so nothing would be encrypted.")
        self.context_handler: Final = getattr(found, "_context_handler", None)
        self._thread = None if inline else _Thread()

    async def run(self, work: Callable[[Seals], Coroutine[Any, Any, T]]) -> T:
        """Execute a work that calls handlers.

        Raises:
            EncryptionFailed: a handler has failed.
        """
        seals = Seals(self, ACTING.get())
        if self._thread is None:
            return await work(seals)
        return await asyncio.wrap_future(self._thread.submit(work(seals)))

    def steps(self, work: Callable[[Seals], Coroutine[Any, Any, T]]) -> Steps[T]:
        """Execute a work from a coroutine or from a thread."""
        return step(partial(self.run, work), partial(self.run_blocking, work))

    def run_blocking(self, work: Callable[[Seals], Coroutine[Any, Any, T]]) -> T:
        """Do the same on a thread that may wait."""
        seals = Seals(self, ACTING.get())
        if self._thread is None:
            return _stepped(work(seals))
        return self._thread.submit(work(seals)).result()

    async def each(self, act: Callable[[S], Coroutine[Any, Any, T]], items: Iterable[S]) -> list[T]:
        """Do something for each item. Called within a work."""
        waiting = list(items)
        if self._thread is None:
            return [await act(item) for item in waiting]
        done: list[T] = []
        for start in range(0, len(waiting), _AT_ONCE):
            part = waiting[start : start + _AT_ONCE]
            done += await asyncio.gather(*[act(item) for item in part])
        return done

    async def close(self) -> None:
        if self._thread is not None:
            await asyncio.to_thread(self._thread.close)


class Seals:
    """The handlers, on behalf of somebody. Its methods are for works of a ``Sealer``."""

    def __init__(self, sealer: Sealer, acting: Acting | None) -> None:
        self._sealer = sealer
        self._acting = acting
        self._asking = asyncio.Lock()

    @property
    def blobs(self) -> bool:
        return self._sealer.blobs is not None

    async def each(self, act: Callable[[S], Coroutine[Any, Any, T]], items: Iterable[S]) -> list[T]:
        return await self._sealer.each(act, items)

    async def metadata(self) -> JsonObject:
        """Return what the user's context handler says of who acts.

        Raises:
            EncryptionFailed: the handler fails, or gives back no object of JSON.
        """
        acting = self._acting
        if acting is None:
            return {}
        if acting.metadata is None:
            # Several things are encrypted at the same time, and it is to be asked once.
            async with self._asking:
                if acting.metadata is None:
                    acting.metadata = await self._asked(acting)
        return acting.metadata

    async def _asked(self, acting: Acting) -> JsonObject:
        handler = self._sealer.context_handler
        if handler is None:
            return {}
        found = await _call(handler, acting.user, EncryptionContext(), "context handler")
        return cast("JsonObject", _checked_context(found))

    async def seal(self, model: str, field: str, data: JsonObject) -> JsonObject:
        """Return an object with its values encrypted, as far as the handler does so.

        Raises:
            EncryptionFailed: the handler fails, or gives back other keys or no JSON.
        """
        own = field == "metadata"
        given = {key: each for key, each in data.items() if not (own and is_system(key))}
        if self._sealer.json is None or not given:
            return {key: _distinct(each) for key, each in data.items()}
        metadata = await self.metadata()
        context = EncryptionContext(model, dict(metadata), field)
        made = await _call(self._sealer.json[0], context, dict(given), "JSON encryptor")
        _check_keys(made, given, "JSON encryptor")
        return {key: _marked(each, given, made, key, metadata) for key, each in data.items()}

    async def open(self, data: JsonObject) -> JsonObject:
        """Return an object with what was encrypted of it decrypted."""
        if not any(is_sealed(each) for each in data.values()):
            return data
        opened = {key: _undone(each) for key, each in data.items()}
        for metadata, keys in _by_context(data):
            given = {key: cast("JsonObject", data[key])[SEALED] for key in keys}
            context = EncryptionContext(None, dict(metadata), None)
            if self._sealer.json is None:
                raise EncryptionFailed("There is no JSON decryptor for what is stored.")
            made = _plaintext(await _call(self._sealer.json[1], context, given, "JSON decryptor"))
            _check_keys(made, given, "JSON decryptor")
            opened |= made
        return opened

    async def seal_config(self, model: str, config: JsonObject) -> JsonObject:
        """Return a config encrypted in a way that its ``configurable`` can be looked into."""
        rest = {key: each for key, each in config.items() if key != "configurable"}
        inner = config.get("configurable")
        sealed = await self.seal(model, "config", rest)
        if "configurable" not in config:
            return sealed
        if isinstance(inner, dict):
            inner = await self.seal(model, "config", inner)
        return {key: sealed.get(key, inner) for key in config}

    async def open_config(self, config: JsonObject) -> JsonObject:
        rest = {key: each for key, each in config.items() if key != "configurable"}
        opened = await self.open(rest)
        inner = config.get("configurable")
        if isinstance(inner, dict):
            inner = await self.open(inner)
        return {key: opened.get(key, inner) for key in config}

    async def seal_text(self, model: str, field: str, encoded: Encoded | None) -> Encoded | None:
        """Return JSON text with its values encrypted; what is no object is encrypted whole."""
        if encoded is None or self._sealer.json is None:
            return encoded
        value = orjson.loads(encoded)
        if isinstance(value, dict):
            return _dumped(await self.seal(model, field, value))
        sealed = await self.seal(model, field, {field: value})
        return _dumped({WHOLE: sealed})

    async def open_text(self, encoded: Encoded | None) -> Encoded | None:
        if encoded is None or not is_marked(encoded):
            return encoded
        value = orjson.loads(encoded)
        if not isinstance(value, dict):
            return encoded
        if value.keys() == {WHOLE}:
            (whole,) = (await self.open(value[WHOLE])).values()
            return _dumped(whole)
        return _dumped(await self.open(value))

    async def seal_blob(self, kind: str, content: bytes) -> tuple[str, bytes]:
        """Return the type and the content of encrypted bytes."""
        if self._sealer.blobs is None:
            return kind, content
        metadata = await self.metadata()
        context = EncryptionContext("checkpoint", dict(metadata), "blob")
        made = await _call(self._sealer.blobs[0], context, content, "blob encryptor")
        _check_bytes(made, "blob encryptor")
        head = orjson.dumps(metadata) if metadata else b""
        return f"{BLOB_PREFIX}{kind}", b"%b%b%b" % (len(head).to_bytes(4, "big"), head, made)

    async def open_blob(self, kind: str, content: bytes) -> tuple[str, bytes]:
        if not kind.startswith(BLOB_PREFIX):
            return kind, content
        if self._sealer.blobs is None:
            raise EncryptionFailed("There is no blob decryptor for what is stored.")
        raw = bytes(content)
        end = 4 + int.from_bytes(raw[:4], "big")
        context = EncryptionContext(None, blob_context(raw), None)
        made = _plaintext(await _call(self._sealer.blobs[1], context, raw[end:], "blob decryptor"))
        _check_bytes(made, "blob decryptor")
        return kind.removeprefix(BLOB_PREFIX), made


def blob_context(content: bytes) -> JsonObject:
    """Return the context that bytes were encrypted with."""
    end = 4 + int.from_bytes(content[:4], "big")
    return load_object(content[4:end]) if end > 4 else {}


def is_system(key: str) -> bool:
    """Return whether a name in metadata is the server's own."""
    return key in SYSTEM_KEYS or key.startswith(SYSTEM_PREFIX)


def is_sealed(value: Json) -> bool:
    """Return whether a value is stored as what a handler has made, or looks like it."""
    return isinstance(value, dict) and SEALED in value and value.keys() <= _MEMBERS


def is_escaped(value: JsonObject) -> bool:
    """Return whether what looks encrypted is not."""
    return _ESCAPED in value


def is_marked(encoded: Encoded) -> bool:
    """Return whether JSON text may have something encrypted in it, or a context."""
    return b'"loomline:' in bytes(encoded)


def with_context(request: JsonObject, context: JsonObject) -> JsonObject:
    """Return a request that tells on whose behalf it was made, for what it leads to later."""
    return {**request, KEPT: context} if context else request


def split_context(request: JsonObject) -> tuple[JsonObject, JsonObject]:
    """Return a request as it was, and what was kept with it."""
    if KEPT not in request:
        return request, {}
    rest = {key: each for key, each in request.items() if key != KEPT}
    return rest, cast("JsonObject", request[KEPT])


def _marked(
    value: Json, given: JsonObject, made: JsonObject, key: str, metadata: JsonObject
) -> Json:
    if key not in given or made[key] == value:
        return _distinct(value)
    sealed: JsonObject = {SEALED: made[key]}
    return {**sealed, _CONTEXT: metadata} if metadata else sealed


def _distinct(value: Json) -> Json:
    """Return a plain value so that nobody takes it for the work of a handler."""
    return {SEALED: value, _ESCAPED: True} if is_sealed(value) else value


def _undone(value: Json) -> Json:
    escaped = isinstance(value, dict) and is_sealed(value) and is_escaped(value)
    return cast("JsonObject", value)[SEALED] if escaped else value


def _by_context(data: JsonObject) -> Iterable[tuple[JsonObject, Sequence[str]]]:
    """Return the names of encrypted values by the context that they were encrypted with."""
    groups: dict[bytes, list[str]] = {}
    for key, value in data.items():
        if isinstance(value, dict) and is_sealed(value) and not is_escaped(value):
            context = orjson.dumps(value.get(_CONTEXT, {}), option=orjson.OPT_SORT_KEYS)
            groups.setdefault(context, []).append(key)
    return [(orjson.loads(context), keys) for context, keys in groups.items()]


def _pair(found: Handlers, kind: str) -> tuple[_Handler, _Handler] | None:
    encryptor = getattr(found, f"_{kind}_encryptor", None)
    decryptor = getattr(found, f"_{kind}_decryptor", None)
    if encryptor is None and decryptor is None:
        return None
    if encryptor is None or decryptor is None:
        has, lacks = ("decryptor", "encryptor") if encryptor is None else ("encryptor", "decryptor")
        raise ValueError(f"it has a {kind} {has} and no {kind} {lacks}: add the missing one.")
    return encryptor, decryptor


async def _call(handler: _Handler, first: object, second: object, what: str) -> Any:  # noqa: ANN401 - whatever the user's handler returns
    try:
        return await handler(first, second)
    except Exception as error:
        # The error of a handler may say what it was about to encrypt: it is not passed on.
        raise EncryptionFailed(f"The {what} failed with {type(error).__name__}.") from error


def _plaintext(made: Any) -> Any:  # noqa: ANN401 - the same
    """Return what a decryptor means: it may wrap it, to have it stored anew."""
    return made.plaintext if hasattr(made, "plaintext") else made


def _check_keys(made: object, given: Mapping[str, object], what: str) -> None:
    if not isinstance(made, dict) or made.keys() != given.keys():
        raise EncryptionFailed(f"The {what} must return an object with the keys it was given.")
    try:
        orjson.dumps(made)
    except TypeError:
        raise EncryptionFailed(f"The {what} must return JSON.") from None


def _check_bytes(made: object, what: str) -> None:
    if not isinstance(made, bytes):
        raise EncryptionFailed(f"The {what} must return bytes, not {type(made).__name__}.")


def _checked_context(found: object) -> object:
    try:
        orjson.dumps(found)
    except TypeError:
        raise EncryptionFailed("The context handler must return JSON.") from None
    if not isinstance(found, dict):
        raise EncryptionFailed("The context handler must return an object.")
    return found


def _dumped(value: object) -> Encoded:
    return Encoded(orjson.dumps(value))


def _stepped(coroutine: Coroutine[Any, Any, T]) -> T:
    """Execute a coroutine that waits for nothing."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return cast("T", end.value)
    coroutine.close()
    raise EncryptionFailed("A handler waits, which this one must not.")


class _Thread:
    """A thread with an event loop, which begins with the first call."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._closing = False

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        return asyncio.run_coroutine_threadsafe(self._told(coroutine), self._started())

    def close(self) -> None:
        with self._lock:
            loop, thread = self._loop, self._thread
            self._loop = self._thread = None
        if loop is not None and thread is not None:
            # Whoever waits for a handler that does not end would wait for ever.
            self._closing = True
            asyncio.run_coroutine_threadsafe(_cancel_others(), loop).result()
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()
            self._closing = False

    async def _told(self, coroutine: Coroutine[Any, Any, T]) -> T:
        try:
            return await coroutine
        except asyncio.CancelledError:
            if not self._closing:
                raise
            # The caller has not been cancelled, and must not take itself for that.
            raise EncryptionFailed("A handler had not ended when the server stopped.") from None

    def _started(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(
                    target=self._loop.run_forever, name="loomline-encryption", daemon=True
                )
                self._thread.start()
            return self._loop


async def _cancel_others() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    if others:
        await asyncio.wait(others, timeout=_PATIENCE_SECONDS)
