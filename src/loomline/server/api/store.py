"""``/store``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final

from langgraph.store.base import Item, SearchItem
from starlette.requests import Request
from starlette.responses import Response

from loomline.server.api.authentication import caller_of
from loomline.server.api.body import Body
from loomline.server.api.entries import Entry, Resource
from loomline.server.api.queries import OptionalFlagQuery, StringQuery
from loomline.server.api.schemas import OBJECT, STRING, TIME, Named, array, fields, maybe
from loomline.server.api.wire import Wire, json_response
from loomline.server.domain.json import JsonObject
from loomline.server.services.store import StoreService
from loomline.server.services.store_requests import (
    ItemDeleteRequest,
    ItemPutRequest,
    ItemSearchRequest,
    NamespaceSearchRequest,
)

KEY: Final = StringQuery("key", help="The key of the item.", required=True)
NAMESPACE: Final = StringQuery(
    "namespace",
    help="The labels of its namespace, joined by periods.",
    pattern=r"^([^.]+(\.[^.]+)*)?$",
)
REFRESH_TTL: Final = OptionalFlagQuery("refresh_ttl", help="Whether its time to live begins anew.")

_FIELDS: Final[JsonObject] = {
    "namespace": array(STRING),
    "key": STRING,
    "value": OBJECT,
    "created_at": TIME,
    "updated_at": TIME,
}
ITEM: Final[Named] = Named("Item", fields(_FIELDS))
FOUND_ITEM: Final[Named] = Named(
    "SearchItem", fields({**_FIELDS, "score": {"type": ["number", "null"]}})
)


class StoreRoutes(Resource):
    """Items of the store, and their namespaces."""

    tag = "store"
    group: ClassVar[str | None] = "store"

    def __init__(self, store: StoreService, body_limit: int) -> None:
        self._store = store
        self._put = Body(ItemPutRequest, body_limit)
        self._delete = Body(ItemDeleteRequest, body_limit)
        self._search = Body(ItemSearchRequest, body_limit)
        self._namespaces = Body(NamespaceSearchRequest, body_limit)

    async def put(self, request: Request) -> Response:
        await self._store.put(caller_of(request), await self._put.read(request))
        return Response(status_code=204)

    async def get(self, request: Request) -> Response:
        key = KEY.read(request)
        if key is None:
            # The second field is where clients of the reference have found it.
            wire = {"detail": "Key is required", "error": "Key is required"}
            return json_response(wire, status=400)
        namespace = NAMESPACE.read(request)
        refresh = REFRESH_TTL.read(request)
        labels = namespace.split(".") if namespace else []
        item = await self._store.get(caller_of(request), labels, key, refresh_ttl=refresh)
        return json_response(None if item is None else _item_wire(item))

    async def delete(self, request: Request) -> Response:
        await self._store.delete(caller_of(request), await self._delete.read(request))
        return Response(status_code=204)

    async def search(self, request: Request) -> Response:
        items = await self._store.search(caller_of(request), await self._search.read(request))
        return json_response({"items": [_found_wire(item) for item in items]})

    async def namespaces(self, request: Request) -> Response:
        found = await self._store.namespaces(
            caller_of(request), await self._namespaces.read(request)
        )
        return json_response({"namespaces": found})

    def table(self) -> Sequence[Entry]:
        errors = (400, 413, 422, 503)
        return [
            Entry(
                "PUT", "/store/items", self.put,
                "Store an item, or replace what is at its place", None,
                body=ItemPutRequest, errors=errors, status=204,
            ),
            Entry(
                "GET", "/store/items", self.get, "Get an item; null if there is none", maybe(ITEM),
                query=(KEY, NAMESPACE, REFRESH_TTL), errors=(400, 422, 503),
            ),
            Entry(
                "DELETE", "/store/items", self.delete, "Delete an item, if it is there", None,
                body=ItemDeleteRequest, errors=errors, status=204,
            ),
            Entry(
                "POST", "/store/items/search", self.search,
                "Search items below a namespace by content or by meaning",
                fields({"items": array(FOUND_ITEM)}), body=ItemSearchRequest, errors=errors,
            ),
            Entry(
                "POST", "/store/namespaces", self.namespaces, "List namespaces that have items",
                fields({"namespaces": array(array(STRING))}),
                body=NamespaceSearchRequest, errors=errors,
            ),
        ]  # fmt: skip


def _item_wire(item: Item) -> Wire:
    return {
        "namespace": item.namespace,
        "key": item.key,
        "value": item.value,
        "created_at": item.created_at,
        "updated_at": item.updated_at,
    }


def _found_wire(item: SearchItem) -> Wire:
    return {**_item_wire(item), "score": item.score}
