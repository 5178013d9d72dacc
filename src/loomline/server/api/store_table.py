"""The routes of ``/store``."""

from __future__ import annotations

from loomline.server.api.entries import Entry, Query
from loomline.server.api.store import StoreRoutes
from loomline.server.services.store_requests import (
    ItemDeleteRequest,
    ItemPutRequest,
    ItemSearchRequest,
    NamespaceSearchRequest,
)


def store_table(store: StoreRoutes) -> list[Entry]:
    return [
        Entry(
            "PUT", "/store/items", store.put, "store",
            "Store an item, or replace what is at its place", "empty", body=ItemPutRequest,
            errors=(400, 413, 422, 503), status=204,
        ),
        Entry(
            "GET", "/store/items", store.get, "store", "Get an item; null if there is none", "item",
            query=(
                Query("key", "string", "The key of the item.", required=True),
                Query("namespace", "string", "The labels of its namespace, joined by periods."),
                Query("refresh_ttl", "boolean", "Whether its time to live begins anew."),
            ),
            errors=(400, 422, 503),
        ),
        Entry(
            "DELETE", "/store/items", store.delete, "store", "Delete an item, if it is there",
            "empty", body=ItemDeleteRequest, errors=(400, 413, 422, 503), status=204,
        ),
        Entry(
            "POST", "/store/items/search", store.search, "store",
            "Search items below a namespace by content or by meaning", "items",
            body=ItemSearchRequest, errors=(400, 413, 422, 503),
        ),
        Entry(
            "POST", "/store/namespaces", store.namespaces, "store",
            "List namespaces that have items",
            "namespaces", body=NamespaceSearchRequest, errors=(400, 413, 422, 503),
        ),
    ]  # fmt: skip
