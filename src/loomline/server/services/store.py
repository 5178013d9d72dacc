"""Items of the store."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from langgraph.store.base import NOT_PROVIDED, Item, SearchItem

from loomline.server.authz.authorizer import Authorizer, Value
from loomline.server.authz.users import Caller
from loomline.server.domain.items import Namespace, check_filter, check_labels, check_place
from loomline.server.ports.graphs import GraphCalls
from loomline.server.ports.storage import Storage
from loomline.server.services.store_requests import (
    ItemDeleteRequest,
    ItemPutRequest,
    ItemSearchRequest,
    NamespaceSearchRequest,
)

T = TypeVar("T")


class StoreService:
    """``indexed``: the store calls code of users, who made its embeddings."""

    def __init__(
        self, storage: Storage, calls: GraphCalls, authz: Authorizer, *, indexed: bool
    ) -> None:
        self._storage = storage
        self._calls = calls
        self._authz = authz
        self._indexed = indexed

    async def put(self, caller: Caller, body: ItemPutRequest) -> None:
        """Store an item, or replace what is at its place."""
        value: Value = {
            "namespace": _namespace(body["namespace"]),
            "key": body["key"],
            "value": body["value"],
            "index": body.get("index"),
            "ttl": body.get("ttl"),
        }
        check_place(value["namespace"])
        await self._authz.check(caller, "store", "put", value)
        namespace, index, ttl = _namespace(value["namespace"]), value["index"], value["ttl"]
        check_place(namespace)

        async def work() -> None:
            await self._storage.store.aput(
                namespace,
                value["key"],
                value["value"],
                index,
                ttl=NOT_PROVIDED if ttl is None else ttl,
            )

        # Without a field to embed no code of users is called.
        await (work() if index is False else self._apart("put", work))

    async def get(
        self, caller: Caller, namespace: list[str], key: str, *, refresh_ttl: bool | None
    ) -> Item | None:
        value: Value = {
            "namespace": _namespace(namespace),
            "key": key,
            "refresh_ttl": refresh_ttl,
        }
        await self._authz.check(caller, "store", "get", value)
        place = _namespace(value["namespace"])
        store = self._storage.store
        return await store.aget(place, value["key"], refresh_ttl=value["refresh_ttl"])

    async def delete(self, caller: Caller, body: ItemDeleteRequest) -> None:
        value: Value = {"namespace": _namespace(body.get("namespace", [])), "key": body["key"]}
        await self._authz.check(caller, "store", "delete", value)
        await self._storage.store.adelete(_namespace(value["namespace"]), value["key"])

    async def search(self, caller: Caller, body: ItemSearchRequest) -> list[SearchItem]:
        """Return items below a namespace, by meaning where a query says one."""
        value: Value = {
            "namespace": _namespace(body.get("namespace_prefix") or []),
            "filter": body.get("filter"),
            "limit": body.get("limit", 10),
            "offset": body.get("offset", 0),
            "query": body.get("query"),
            "refresh_ttl": body.get("refresh_ttl"),
        }
        await self._authz.check(caller, "store", "search", value)
        prefix = _namespace(value.pop("namespace"))
        check_filter(value["filter"])
        known = ("filter", "limit", "offset", "query", "refresh_ttl")
        asked: Value = {name: value.get(name) for name in known}

        async def work() -> list[SearchItem]:
            return await self._storage.store.asearch(prefix, **asked)

        return await (self._apart("search", work) if value["query"] else work())

    async def namespaces(self, caller: Caller, body: NamespaceSearchRequest) -> list[Namespace]:
        value: Value = {
            "namespace": _namespace(body.get("prefix") or []) or None,
            "suffix": _namespace(body.get("suffix") or []) or None,
            "max_depth": body.get("max_depth"),
            "limit": body.get("limit", 100),
            "offset": body.get("offset", 0),
        }
        await self._authz.check(caller, "store", "list_namespaces", value)
        return await self._storage.store.alist_namespaces(
            prefix=_namespace(value["namespace"] or []),
            suffix=_namespace(value["suffix"] or []),
            max_depth=value["max_depth"],
            limit=value["limit"],
            offset=value["offset"],
        )

    async def _apart(self, what: str, work: Callable[[], Awaitable[T]]) -> T:
        """Do what may call code of users, where it cannot block the server."""
        if not self._indexed:
            return await work()
        return await self._calls.call(f"store {what}", work)


def _namespace(labels: Sequence[str]) -> Namespace:
    """Return the labels as a namespace.

    Raises:
        InvalidInput: one of them is empty or contains a period.
    """
    check_labels(list(labels))
    return tuple(labels)
