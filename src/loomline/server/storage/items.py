"""Items of the store between its interface and a database: rows, and the acts a driver knows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, Protocol, TypeVar

import orjson
from langgraph.store.base import InvalidNamespaceError, SearchItem

from loomline.server.domain.items import Namespace
from loomline.server.domain.json import JsonObject

Connection_contra = TypeVar("Connection_contra", contravariant=True)
Id = TypeVar("Id")
Vector = TypeVar("Vector")
Vector_co = TypeVar("Vector_co", covariant=True)


@dataclass(frozen=True, slots=True)
class ItemPut(Generic[Vector]):
    """An item to be. ``value`` is JSON; ``vectors`` are in the form of the database."""

    namespace: str
    key: str
    value: bytes
    now: datetime
    ttl_minutes: float | None
    expires_at: datetime | None
    vectors: Sequence[Vector]


@dataclass(frozen=True, slots=True)
class ItemSearch(Generic[Vector]):
    """A search at or below a namespace. Its filter has been checked."""

    prefix: str
    pattern: JsonObject
    now: datetime
    limit: int
    offset: int
    query: Vector | None


@dataclass(frozen=True, slots=True)
class FoundItem(Generic[Id]):
    """An item, the name that the database has for it, and whether it expires one day."""

    item: SearchItem
    item_id: Id
    expires: bool


class ItemStatements(Protocol[Connection_contra, Id, Vector]):
    """The operations of a driver on items, each within the caller's transaction."""

    def vector(self, numbers: Sequence[float]) -> Vector:
        """Return a vector as the database has it.

        Raises:
            ValueError: the number of dimensions differs from the configured one.
        """
        ...

    def get(
        self, connection: Connection_contra, namespace: str, key: str, now: datetime
    ) -> FoundItem[Id] | None: ...

    def search(
        self, connection: Connection_contra, search: ItemSearch[Vector]
    ) -> list[FoundItem[Id]]: ...

    def namespaces(
        self, connection: Connection_contra, prefix: str, now: datetime
    ) -> Iterable[str]:
        """Return the namespaces with items at or below a prefix, each once."""
        ...

    def put(self, connection: Connection_contra, put: ItemPut[Vector]) -> None: ...

    def delete(self, connection: Connection_contra, namespace: str, key: str) -> None: ...

    def refresh(
        self, connection: Connection_contra, item_ids: Sequence[Id], now: datetime
    ) -> None: ...

    def expire(self, connection: Connection_contra, now: datetime, limit: int) -> int:
        """Delete items that have expired, those first that did so first; return how many."""
        ...


def encoded_namespace(namespace: Sequence[object]) -> str:
    """Return the labels, each ended by a period: namespaces below 'a.' sort from there to 'a/'.

    Raises:
        InvalidNamespaceError: a label is not a string, is empty, or contains a period.
    """
    for label in namespace:
        if not isinstance(label, str) or not label or "." in label:
            raise InvalidNamespaceError(
                f"Namespace label {label!r:.200} must be a non-empty string without periods."
            )
    return "".join(f"{label}." for label in namespace)


def decoded_namespace(text: str) -> Namespace:
    return tuple(text.split(".")[:-1])


def end_of(prefix: str) -> str:
    """Return the first string after all namespaces at or below a prefix."""
    return f"{prefix[:-1]}/"


def encoded_value(key: str, value: Mapping[str, object]) -> bytes:
    """Return the value of an item as JSON.

    Raises:
        TypeError: the value cannot be encoded as JSON.
    """
    try:
        return orjson.dumps(dict(value), option=orjson.OPT_NON_STR_KEYS)
    except TypeError as error:
        raise TypeError(f"The value of the item '{key:.200}' is no JSON: {error}") from None
