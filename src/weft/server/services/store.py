"""Items of the store."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from langgraph.store.base import NOT_PROVIDED, Item, SearchItem

from weft.server.authz.users import Caller
from weft.server.domain.items import Namespace, check_filter, check_labels, check_place
from weft.server.ports.graphs import GraphCalls
from weft.server.ports.storage import Storage
from weft.server.services.store_requests import (
    ItemDeleteRequest,
    ItemPutRequest,
    ItemSearchRequest,
    NamespaceSearchRequest,
)

T = TypeVar("T")


class StoreService:
    """``indexed``: the store calls code of users, who made its embeddings."""

    def __init__(self, storage: Storage, calls: GraphCalls, *, indexed: bool) -> None:
        self._storage = storage
        self._calls = calls
        self._indexed = indexed

    async def put(self, caller: Caller, body: ItemPutRequest) -> None:
        """Store an item, or replace what is at its place."""
        namespace = _namespace(body["namespace"])
        check_place(namespace)
        ttl = body.get("ttl")

        async def work() -> None:
            await self._storage.store.aput(
                namespace,
                body["key"],
                body["value"],
                body.get("index"),
                ttl=NOT_PROVIDED if ttl is None else ttl,
            )

        # Without a field to embed no code of users is called.
        await (work() if body.get("index") is False else self._apart("put", work))

    async def get(
        self, caller: Caller, namespace: list[str], key: str, *, refresh_ttl: bool | None
    ) -> Item | None:
        store = self._storage.store
        return await store.aget(_namespace(namespace), key, refresh_ttl=refresh_ttl)

    async def delete(self, caller: Caller, body: ItemDeleteRequest) -> None:
        await self._storage.store.adelete(_namespace(body.get("namespace", [])), body["key"])

    async def search(self, caller: Caller, body: ItemSearchRequest) -> list[SearchItem]:
        """Return items below a namespace, by meaning where a query says one."""
        prefix = _namespace(body.get("namespace_prefix") or [])
        check_filter(body.get("filter"))

        async def work() -> list[SearchItem]:
            return await self._storage.store.asearch(
                prefix,
                query=body.get("query"),
                filter=body.get("filter"),
                limit=body.get("limit", 10),
                offset=body.get("offset", 0),
                refresh_ttl=body.get("refresh_ttl"),
            )

        return await (self._apart("search", work) if body.get("query") else work())

    async def namespaces(self, caller: Caller, body: NamespaceSearchRequest) -> list[Namespace]:
        return await self._storage.store.alist_namespaces(
            prefix=_namespace(body.get("prefix") or []),
            suffix=_namespace(body.get("suffix") or []),
            max_depth=body.get("max_depth"),
            limit=body.get("limit", 100),
            offset=body.get("offset", 0),
        )

    async def _apart(self, what: str, work: Callable[[], Awaitable[T]]) -> T:
        """Do what may call code of users, where it cannot block the server."""
        if not self._indexed:
            return await work()
        return await self._calls.call(f"store {what}", work)


def _namespace(labels: list[str]) -> Namespace:
    """Return the labels as a namespace.

    Raises:
        InvalidInput: one of them is empty or contains a period.
    """
    check_labels(labels)
    return tuple(labels)
