"""``/store``."""

from __future__ import annotations

from langgraph.store.base import Item, SearchItem
from starlette.requests import Request
from starlette.responses import Response

from loomline.server.api.authentication import caller_of
from loomline.server.api.body import Body, query_flag, query_text
from loomline.server.api.wire import Wire, json_response
from loomline.server.services.store import StoreService
from loomline.server.services.store_requests import (
    ItemDeleteRequest,
    ItemPutRequest,
    ItemSearchRequest,
    NamespaceSearchRequest,
)


class StoreRoutes:
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
        key = query_text(request, "key")
        if key is None:
            # The second field is where clients of the reference have found it.
            wire = {"detail": "Key is required", "error": "Key is required"}
            return json_response(wire, status=400)
        place = query_text(request, "namespace")
        refresh = query_flag(request, "refresh_ttl") if _given(request, "refresh_ttl") else None
        labels = place.split(".") if place else []
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


def _given(request: Request, name: str) -> bool:
    return bool(request.query_params.get(name))


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
