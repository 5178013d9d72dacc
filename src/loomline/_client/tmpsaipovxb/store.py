# Generated from store.py by tools/unasync.py. Do not edit.
"""The store: values that outlive threads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, cast

from loomline._client._sync.http import SyncHttpClient
from loomline._client._core.options import TimeoutTypes
from loomline._client._core.paging import PAGE, Pages
from loomline._client._core.requests import labels, present, query as merged_query
from loomline.schema import (
    Item,
    ListNamespaceResponse,
    QueryParamTypes,
    SearchItem,
    SearchItemsResponse,
)


class SyncStoreClient:
    """Keeps, reads and finds JSON objects, each under a namespace and a key."""

    def __init__(self, http: SyncHttpClient) -> None:
        self.http = http

    def put_item(
        self,
        namespace: Sequence[str],
        /,
        key: str,
        value: Mapping[str, Any],
        index: Literal[False] | list[str] | None = None,
        ttl: float | None = None,
        headers: Mapping[str, str] | None = None,
        params: QueryParamTypes | None = None,
        timeout: TimeoutTypes = None,
    ) -> None:
        """Store a value, in place of a former one (`PUT /store/items`).

        Args:
            namespace: The labels of its place, without periods.
            key: Its key there.
            value: The value.
            index: The fields to make findable by meaning; False: none. The server's choice
                unless given.
            ttl: Minutes until it expires.
            headers: Headers for this request.
            params: Query parameters for this request.
            timeout: Seconds for this request.

        Raises:
            ValueError: a label has a period.

        Example:
            >>> client.store.put_item(["users", "ada"], "tea", {"likes": "green"})
        """
        body = {
            "namespace": labels(namespace),
            "key": key,
            "value": value,
            **present({"index": index, "ttl": ttl}),
        }
        self.http.put(
            "/store/items", json=body, params=params, headers=headers, timeout=timeout
        )

    def get_item(
        self,
        namespace: Sequence[str],
        /,
        key: str,
        *,
        refresh_ttl: bool | None = None,
        headers: Mapping[str, str] | None = None,
        params: QueryParamTypes | None = None,
        timeout: TimeoutTypes = None,
    ) -> Item:
        """Get a value (`GET /store/items`).

        Args:
            namespace: The labels of its place.
            key: Its key there.
            refresh_ttl: Whether reading it puts off its expiry. The server's choice unless given.
            headers: Headers for this request.
            params: Query parameters for this request.
            timeout: Seconds for this request.

        Returns:
            The value with its place and times; None where there is none.

        Raises:
            ValueError: a label has a period.

        Example:
            >>> item = client.store.get_item(["users", "ada"], "tea")
            >>> item["value"]
            {'likes': 'green'}
        """
        own = {
            "namespace": ".".join(labels(namespace)),
            "key": key,
            **present({"refresh_ttl": refresh_ttl}),
        }
        found = self.http.get(
            "/store/items", params=merged_query(own, params), headers=headers, timeout=timeout
        )
        return cast("Item", found)

    def delete_item(
        self,
        namespace: Sequence[str],
        /,
        key: str,
        headers: Mapping[str, str] | None = None,
        params: QueryParamTypes | None = None,
        timeout: TimeoutTypes = None,
    ) -> None:
        """Delete a value; one that is not there is no error (`DELETE /store/items`).

        Args:
            namespace: The labels of its place.
            key: Its key there.
            headers: Headers for this request.
            params: Query parameters for this request.
            timeout: Seconds for this request.

        Example:
            >>> client.store.delete_item(["users", "ada"], "tea")
        """
        self.http.delete(
            "/store/items",
            json={"namespace": list(namespace), "key": key},
            params=params,
            headers=headers,
            timeout=timeout,
        )

    def search_items(
        self,
        namespace_prefix: Sequence[str],
        /,
        filter: Mapping[str, Any] | None = None,
        limit: int = 10,
        offset: int = 0,
        query: str | None = None,
        refresh_ttl: bool | None = None,
        headers: Mapping[str, str] | None = None,
        params: QueryParamTypes | None = None,
        timeout: TimeoutTypes = None,
    ) -> SearchItemsResponse:
        """Find values (`POST /store/items/search`).

        Args:
            namespace_prefix: The labels that their namespaces begin with; empty: everywhere.
            filter: What their fields must be: values, or operators such as `{"$gt": 3}`.
            limit: How many at most, 1 to 1000.
            offset: How many to skip.
            query: What they should mean, where the server has an index.
            refresh_ttl: Whether finding them puts off their expiry.
            headers: Headers for this request.
            params: Query parameters for this request.
            timeout: Seconds for this request.

        Returns:
            The values under `items`, nearest in meaning or newest first.

        Example:
            >>> found = client.store.search_items(["users"], filter={"likes": "green"})
            >>> [item["key"] for item in found["items"]]
            ['tea']
        """
        body = {
            "namespace_prefix": list(namespace_prefix),
            "filter": filter,
            "limit": limit,
            "offset": offset,
            "query": query,
            "refresh_ttl": refresh_ttl,
        }
        found = self.http.post(
            "/store/items/search",
            json=present(body),
            params=params,
            headers=headers,
            timeout=timeout,
        )
        return cast("SearchItemsResponse", found)

    def search_all(
        self,
        namespace_prefix: Sequence[str],
        /,
        filter: Mapping[str, Any] | None = None,
        query: str | None = None,
        refresh_ttl: bool | None = None,
        page_size: int = PAGE,
        headers: Mapping[str, str] | None = None,
        params: QueryParamTypes | None = None,
        timeout: TimeoutTypes = None,
    ) -> Iterator[SearchItem]:
        """Find all values, one page after the other (`POST /store/items/search`).

        Args:
            namespace_prefix: As for `search_items`.
            filter: As for `search_items`.
            query: As for `search_items`.
            refresh_ttl: As for `search_items`.
            page_size: How many to ask for at once, 1 to 1000.
            headers: Headers for each request.
            params: Query parameters for each request.
            timeout: Seconds for each request.

        Returns:
            An iterator of values. A page is asked for when the iteration gets there.

        Example:
            >>> for item in client.store.search_all(["users"]):
            ...     print(item["key"])
            tea
        """
        pages = Pages()
        while pages.offset is not None:
            page = self.search_items(
                namespace_prefix,
                filter,
                page_size,
                pages.offset,
                query,
                refresh_ttl,
                headers,
                params,
                timeout,
            )
            for item in page["items"]:
                yield item
            pages.counted(len(page["items"]), page_size)

    def list_namespaces(
        self,
        prefix: list[str] | None = None,
        suffix: list[str] | None = None,
        max_depth: int | None = None,
        limit: int = 100,
        offset: int = 0,
        headers: Mapping[str, str] | None = None,
        params: QueryParamTypes | None = None,
        timeout: TimeoutTypes = None,
    ) -> ListNamespaceResponse:
        """List the namespaces that hold values (`POST /store/namespaces`).

        Args:
            prefix: The labels they begin with; `*` stands for any one.
            suffix: The labels they end with; `*` stands for any one.
            max_depth: After how many labels to cut them.
            limit: How many at most.
            offset: How many to skip.
            headers: Headers for this request.
            params: Query parameters for this request.
            timeout: Seconds for this request.

        Returns:
            The namespaces, in the order of their labels, under `namespaces`.

        Example:
            >>> client.store.list_namespaces(prefix=["users"])
            {'namespaces': [['users', 'ada']]}
        """
        body = {
            "prefix": prefix,
            "suffix": suffix,
            "max_depth": max_depth,
            "limit": limit,
            "offset": offset,
        }
        found = self.http.post(
            "/store/namespaces",
            json=present(body),
            params=params,
            headers=headers,
            timeout=timeout,
        )
        return cast("ListNamespaceResponse", found)
