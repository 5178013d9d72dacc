# Generated from assistants.py by tools/unasync.py. Do not edit.
"""Assistants."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal, cast, overload

import httpx

from loomline._client._core.options import TimeoutTypes
from loomline._client._core.paging import PAGE, Pages
from loomline._client._core.requests import filled, path, present, query
from loomline._client._sync.assistant_graphs import SyncAssistantGraphs
from loomline.schema import (
    Assistant,
    AssistantSelectField,
    AssistantSortBy,
    AssistantsSearchResponse,
    AssistantVersion,
    Config,
    Context,
    Json,
    OnConflictBehavior,
    QueryParamTypes,
    SortOrder,
)

_ONE = "/assistants/{assistant_id}"


class SyncAssistantsClient(SyncAssistantGraphs):
    """Creates, reads, changes and finds assistants: graphs with a configuration of their own."""

    def get(
        self,
        assistant_id: str,
        *,
        headers: Mapping[str, str] | None = None,
        params: QueryParamTypes | None = None,
        timeout: TimeoutTypes = None,
    ) -> Assistant:
        """Get an assistant (`GET /assistants/{assistant_id}`).

        Args:
            assistant_id: The id of the assistant.
            headers: Headers for this request.
            params: Query parameters for this request.
            timeout: Seconds for this request.

        Returns:
            The assistant.

        Raises:
            NotFoundError: there is no such assistant.

        Example:
            >>> assistant = client.assistants.get(assistant_id)
            >>> assistant["graph_id"]
            'agent'
        """
        place = path(_ONE, assistant_id=assistant_id)
        found = self.http.get(place, params=params, headers=headers, timeout=timeout)
        return cast("Assistant", found)

    def create(
        self,
        graph_id: str | None,
        config: Config | None = None,
        *,
        context: Context | None = None,
        metadata: Json = None,
        assistant_id: str | None = None,
        if_exists: OnConflictBehavior | None = None,
        name: str | None = None,
        headers: Mapping[str, str] | None = None,
        description: str | None = None,
        params: QueryParamTypes | None = None,
        timeout: TimeoutTypes = None,
    ) -> Assistant:
        """Create an assistant (`POST /assistants`).

        Args:
            graph_id: The graph, by its name in the server's configuration.
            config: How the graph is executed.
            context: Static context for the graph.
            metadata: What to keep beside the assistant, to find it by.
            assistant_id: The id to give it, a UUID; one is made otherwise.
            if_exists: Whether an existing assistant of that id is an error (`raise`) or is
                returned as it is (`do_nothing`).
            name: What people call it.
            headers: Headers for this request.
            description: What it is for.
            params: Query parameters for this request.
            timeout: Seconds for this request.

        Returns:
            The assistant, in its first version.

        Raises:
            NotFoundError: there is no such graph.
            ConflictError: the id is taken.

        Example:
            >>> made = client.assistants.create(
            ...     "agent", context={"model": "small"}, name="Small agent"
            ... )
            >>> made["version"]
            1
        """
        optional = filled(
            {
                "config": config,
                "context": context,
                "metadata": metadata,
                "assistant_id": assistant_id,
                "if_exists": if_exists,
                "name": name,
                "description": description,
            }
        )
        made = self.http.post(
            "/assistants",
            json={"graph_id": graph_id, **optional},
            params=params,
            headers=headers,
            timeout=timeout,
        )
        return cast("Assistant", made)

    def update(
        self,
        assistant_id: str,
        *,
        graph_id: str | None = None,
        config: Config | None = None,
        context: Context | None = None,
        metadata: Json = None,
        name: str | None = None,
        headers: Mapping[str, str] | None = None,
        description: str | None = None,
        params: QueryParamTypes | None = None,
        timeout: TimeoutTypes = None,
    ) -> Assistant:
        """Give an assistant a new version (`PATCH /assistants/{assistant_id}`).

        Args:
            assistant_id: The id of the assistant.
            graph_id: Another graph.
            config: How the graph is executed; replaces the former one, `{}` resets it.
            context: Static context; replaces the former one, `{}` resets it.
            metadata: What to merge into its metadata.
            name: What people call it.
            headers: Headers for this request.
            description: What it is for.
            params: Query parameters for this request.
            timeout: Seconds for this request.

        Returns:
            The assistant as it is now.

        Raises:
            NotFoundError: there is no such assistant or graph.

        Example:
            >>> changed = client.assistants.update(assistant_id, name="Helper")
            >>> changed["name"]
            'Helper'
        """
        body = {
            **present({"config": config, "context": context}),
            **filled(
                {
                    "graph_id": graph_id,
                    "metadata": metadata,
                    "name": name,
                    "description": description,
                }
            ),
        }
        place = path(_ONE, assistant_id=assistant_id)
        changed = self.http.patch(
            place, json=body, params=params, headers=headers, timeout=timeout
        )
        return cast("Assistant", changed)

    def delete(
        self,
        assistant_id: str,
        *,
        delete_threads: bool = False,
        headers: Mapping[str, str] | None = None,
        params: QueryParamTypes | None = None,
        timeout: TimeoutTypes = None,
    ) -> None:
        """Delete an assistant with all its versions (`DELETE /assistants/{assistant_id}`).

        Args:
            assistant_id: The id of the assistant.
            delete_threads: Whether the threads that were created for it go too.
            headers: Headers for this request.
            params: Query parameters for this request.
            timeout: Seconds for this request.

        Raises:
            NotFoundError: there is no such assistant.

        Example:
            >>> client.assistants.delete(assistant_id)
        """
        place = path(_ONE, assistant_id=assistant_id)
        own = {"delete_threads": True} if delete_threads else {}
        self.http.delete(place, params=query(own, params), headers=headers, timeout=timeout)

    @overload
    def search(
        self,
        *,
        metadata: Json = None,
        graph_id: str | None = None,
        name: str | None = None,
        limit: int = 10,
        offset: int = 0,
        sort_by: AssistantSortBy | None = None,
        sort_order: SortOrder | None = None,
        select: list[AssistantSelectField] | None = None,
        response_format: Literal["object"],
        headers: Mapping[str, str] | None = None,
        params: QueryParamTypes | None = None,
        timeout: TimeoutTypes = None,
    ) -> AssistantsSearchResponse: ...

    @overload
    def search(
        self,
        *,
        metadata: Json = None,
        graph_id: str | None = None,
        name: str | None = None,
        limit: int = 10,
        offset: int = 0,
        sort_by: AssistantSortBy | None = None,
        sort_order: SortOrder | None = None,
        select: list[AssistantSelectField] | None = None,
        response_format: Literal["array"] = "array",
        headers: Mapping[str, str] | None = None,
        params: QueryParamTypes | None = None,
        timeout: TimeoutTypes = None,
    ) -> list[Assistant]: ...

    def search(
        self,
        *,
        metadata: Json = None,
        graph_id: str | None = None,
        name: str | None = None,
        limit: int = 10,
        offset: int = 0,
        sort_by: AssistantSortBy | None = None,
        sort_order: SortOrder | None = None,
        select: list[AssistantSelectField] | None = None,
        response_format: Literal["array", "object"] = "array",
        headers: Mapping[str, str] | None = None,
        params: QueryParamTypes | None = None,
        timeout: TimeoutTypes = None,
    ) -> AssistantsSearchResponse | list[Assistant]:
        """Find assistants (`POST /assistants/search`).

        Args:
            metadata: Only those whose metadata contain this.
            graph_id: Only those of this graph.
            name: Only those whose names contain this, in any case.
            limit: How many at most, 1 to 1000.
            offset: How many to skip.
            sort_by: The field to sort by; the time of creation unless given.
            sort_order: `desc` unless given.
            select: Only these fields.
            response_format: `object` returns also where the next page begins.
            headers: Headers for this request.
            params: Query parameters for this request.
            timeout: Seconds for this request.

        Returns:
            A list, or `{"assistants": ..., "next": ...}` with `response_format="object"`, where
            `next` is the offset of the next page, None on the last one.

        Raises:
            ValueError: `response_format` is neither.
            NotFoundError: there is no such graph.

        Example:
            >>> found = client.assistants.search(graph_id="agent", limit=5)
            >>> [assistant["name"] for assistant in found]
            ['agent']
        """
        if response_format not in {"array", "object"}:
            raise ValueError(
                f"response_format must be 'array' or 'object', not '{response_format}'"
            )
        following: list[str | None] = []

        def note(response: httpx.Response) -> None:
            following.append(response.headers.get("X-Pagination-Next"))

        found = self.http.post(
            "/assistants/search",
            json={
                "limit": limit,
                "offset": offset,
                **filled(
                    {
                        "metadata": metadata,
                        "graph_id": graph_id,
                        "name": name,
                        "sort_by": sort_by,
                        "sort_order": sort_order,
                        "select": select,
                    }
                ),
            },
            params=params,
            headers=headers,
            on_response=note,
            timeout=timeout,
        )
        if response_format == "object":
            return {"assistants": found, "next": following[0]}
        return cast("list[Assistant]", found)

    def search_all(
        self,
        *,
        metadata: Json = None,
        graph_id: str | None = None,
        name: str | None = None,
        sort_by: AssistantSortBy | None = None,
        sort_order: SortOrder | None = None,
        select: list[AssistantSelectField] | None = None,
        page_size: int = PAGE,
        headers: Mapping[str, str] | None = None,
        params: QueryParamTypes | None = None,
        timeout: TimeoutTypes = None,
    ) -> Iterator[Assistant]:
        """Find all assistants, one page after the other (`POST /assistants/search`).

        Args:
            metadata: As for `search`.
            graph_id: As for `search`.
            name: As for `search`.
            sort_by: As for `search`.
            sort_order: As for `search`.
            select: As for `search`.
            page_size: How many to ask for at once, 1 to 1000.
            headers: Headers for each request.
            params: Query parameters for each request.
            timeout: Seconds for each request.

        Returns:
            An iterator of assistants. A page is asked for when the iteration gets there.

        Example:
            >>> for assistant in client.assistants.search_all(graph_id="agent"):
            ...     print(assistant["name"])
            agent
        """
        pages = Pages()
        while pages.offset is not None:
            page = self.search(
                metadata=metadata,
                graph_id=graph_id,
                name=name,
                limit=page_size,
                offset=pages.offset,
                sort_by=sort_by,
                sort_order=sort_order,
                select=select,
                response_format="object",
                headers=headers,
                params=params,
                timeout=timeout,
            )
            for assistant in page["assistants"]:
                yield assistant
            pages.follow(page["next"])

    def count(
        self,
        *,
        metadata: Json = None,
        graph_id: str | None = None,
        name: str | None = None,
        headers: Mapping[str, str] | None = None,
        params: QueryParamTypes | None = None,
        timeout: TimeoutTypes = None,
    ) -> int:
        """Count assistants (`POST /assistants/count`).

        Args:
            metadata: Only those whose metadata contain this.
            graph_id: Only those of this graph.
            name: Only those whose names contain this, in any case.
            headers: Headers for this request.
            params: Query parameters for this request.
            timeout: Seconds for this request.

        Returns:
            How many there are.

        Example:
            >>> client.assistants.count(graph_id="agent")
            1
        """
        body = filled({"metadata": metadata, "graph_id": graph_id, "name": name})
        found = self.http.post(
            "/assistants/count", json=body, params=params, headers=headers, timeout=timeout
        )
        return cast("int", found)

    def get_versions(
        self,
        assistant_id: str,
        metadata: Json = None,
        limit: int = 10,
        offset: int = 0,
        *,
        headers: Mapping[str, str] | None = None,
        params: QueryParamTypes | None = None,
        timeout: TimeoutTypes = None,
    ) -> list[AssistantVersion]:
        """List the versions of an assistant (`POST /assistants/{assistant_id}/versions`).

        Args:
            assistant_id: The id of the assistant.
            metadata: Only versions whose metadata contain this.
            limit: How many at most, 1 to 1000.
            offset: How many of the newest to skip.
            headers: Headers for this request.
            params: Query parameters for this request.
            timeout: Seconds for this request.

        Returns:
            The versions, newest first.

        Raises:
            NotFoundError: there is no such assistant.

        Example:
            >>> versions = client.assistants.get_versions(assistant_id)
            >>> [version["version"] for version in versions]
            [1]
        """
        body = {"limit": limit, "offset": offset, **filled({"metadata": metadata})}
        found = self.http.post(
            path(f"{_ONE}/versions", assistant_id=assistant_id),
            json=body,
            params=params,
            headers=headers,
            timeout=timeout,
        )
        return cast("list[AssistantVersion]", found)

    def set_latest(
        self,
        assistant_id: str,
        version: int,
        *,
        headers: Mapping[str, str] | None = None,
        params: QueryParamTypes | None = None,
        timeout: TimeoutTypes = None,
    ) -> Assistant:
        """Go back to a version of an assistant (`POST /assistants/{assistant_id}/latest`).

        Args:
            assistant_id: The id of the assistant.
            version: The number of the version.
            headers: Headers for this request.
            params: Query parameters for this request.
            timeout: Seconds for this request.

        Returns:
            The assistant, with the content and the number of that version.

        Raises:
            NotFoundError: there is no such assistant or version.

        Example:
            >>> assistant = client.assistants.set_latest(assistant_id, 1)
            >>> assistant["version"]
            1
        """
        changed = self.http.post(
            path(f"{_ONE}/latest", assistant_id=assistant_id),
            json={"version": version},
            params=params,
            headers=headers,
            timeout=timeout,
        )
        return cast("Assistant", changed)
