"""Threads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from weft._client._async.http import HttpClient
from weft._client._core.requests import filled, path, query, supersteps as wire_steps, thread_ttl
from weft.schema import Json, OnConflictBehavior, QueryParamTypes, Thread


class ThreadsClient:
    """Creates, reads and deletes threads."""

    def __init__(self, http: HttpClient) -> None:
        self.http = http

    async def get(
        self,
        thread_id: str,
        *,
        include: Sequence[str] | None = None,
        headers: Mapping[str, str] | None = None,
        params: QueryParamTypes | None = None,
    ) -> Thread:
        """Get a thread (`GET /threads/{thread_id}`).

        Args:
            thread_id: The id of the thread.
            include: Further fields to return, for example `ttl`.
            headers: Headers for this request.
            params: Query parameters for this request.

        Returns:
            The thread, with the values of its state.

        Raises:
            NotFoundError: there is no such thread.
        """
        own = {"include": ",".join(include)} if include else {}
        found = await self.http.get(
            path("/threads/{thread_id}", thread_id=thread_id),
            params=query(own, params),
            headers=headers,
        )
        return cast("Thread", found)

    async def create(
        self,
        *,
        metadata: Json = None,
        thread_id: str | None = None,
        if_exists: OnConflictBehavior | None = None,
        supersteps: Sequence[dict[str, Sequence[dict[str, Any]]]] | None = None,
        graph_id: str | None = None,
        ttl: float | Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        params: QueryParamTypes | None = None,
    ) -> Thread:
        """Create a thread (`POST /threads`).

        Args:
            metadata: What to keep beside the thread, to find it by.
            thread_id: The id to give it, a UUID; one is made otherwise.
            if_exists: Whether an existing thread of that id is an error (`raise`) or is returned
                as it is (`do_nothing`).
            supersteps: Updates to build its state from.
            graph_id: The graph it is meant for, kept in its metadata.
            ttl: Minutes until it is deleted, or an object with `ttl` and `strategy`.
            headers: Headers for this request.
            params: Query parameters for this request.

        Returns:
            The new thread.

        Raises:
            ConflictError: the id is taken.
        """
        tagged = {**(metadata or {}), **({"graph_id": graph_id} if graph_id else {})}
        body = filled(
            {
                "thread_id": thread_id,
                "metadata": tagged,
                "if_exists": if_exists,
                "supersteps": wire_steps(supersteps) if supersteps else None,
            }
        )
        if ttl is not None:
            body["ttl"] = thread_ttl(ttl)
        made = await self.http.post("/threads", json=body, params=params, headers=headers)
        return cast("Thread", made)

    async def delete(
        self,
        thread_id: str,
        *,
        headers: Mapping[str, str] | None = None,
        params: QueryParamTypes | None = None,
    ) -> None:
        """Delete a thread with all its runs and states (`DELETE /threads/{thread_id}`).

        Args:
            thread_id: The id of the thread.
            headers: Headers for this request.
            params: Query parameters for this request.

        Raises:
            NotFoundError: there is no such thread.
        """
        place = path("/threads/{thread_id}", thread_id=thread_id)
        await self.http.delete(place, params=params, headers=headers)
