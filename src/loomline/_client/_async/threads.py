"""Threads."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, cast
from uuid import uuid4

from loomline._client._async.thread_states import ThreadStates
from loomline._client._compat import AwaitableStream, async_stream
from loomline._client._core.options import TimeoutTypes
from loomline._client._core.paging import PAGE, Pages
from loomline._client._core.requests import (
    filled,
    path,
    query,
    supersteps as wire_steps,
    thread_ttl,
)
from loomline.schema import (
    Json,
    OnConflictBehavior,
    PruneStrategy,
    QueryParamTypes,
    SortOrder,
    StreamPart,
    Thread,
    ThreadSelectField,
    ThreadSortBy,
    ThreadStatus,
    ThreadStreamMode,
)

if TYPE_CHECKING:
    from loomline._client._async.stream import AsyncThreadStream

_ONE = "/threads/{thread_id}"


class ThreadsClient(ThreadStates):
    """Creates, reads, finds and deletes threads, and reads and changes their states."""

    async def get(
        self,
        thread_id: str,
        *,
        include: Sequence[str] | None = None,
        headers: Mapping[str, str] | None = None,
        params: QueryParamTypes | None = None,
        timeout: TimeoutTypes = None,
    ) -> Thread:
        """Get a thread (`GET /threads/{thread_id}`).

        Args:
            thread_id: The id of the thread.
            include: Further fields to return, for example `ttl`.
            headers: Headers for this request.
            params: Query parameters for this request.
            timeout: Seconds for this request.

        Returns:
            The thread, with the values of its state.

        Raises:
            NotFoundError: there is no such thread.

        Example:
            >>> thread = await client.threads.get(thread_id)
            >>> thread["status"]
            'idle'
        """
        own = {"include": ",".join(include)} if include else {}
        found = await self.http.get(
            path(_ONE, thread_id=thread_id),
            params=query(own, params),
            headers=headers,
            timeout=timeout,
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
        timeout: TimeoutTypes = None,
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
            timeout: Seconds for this request.

        Returns:
            The new thread.

        Raises:
            ConflictError: the id is taken.

        Example:
            >>> thread = await client.threads.create(metadata={"user": "ada"})
            >>> thread["metadata"]
            {'user': 'ada'}
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
        made = await self.http.post(
            "/threads", json=body, params=params, headers=headers, timeout=timeout
        )
        return cast("Thread", made)

    async def update(
        self,
        thread_id: str,
        *,
        metadata: Mapping[str, Any],
        ttl: float | Mapping[str, Any] | None = None,
        return_minimal: bool = False,
        headers: Mapping[str, str] | None = None,
        params: QueryParamTypes | None = None,
        timeout: TimeoutTypes = None,
    ) -> Thread | None:
        """Change what is kept beside a thread (`PATCH /threads/{thread_id}`).

        Args:
            thread_id: The id of the thread.
            metadata: What to merge into its metadata.
            ttl: Minutes until it is deleted, or an object with `ttl` and `strategy`.
            return_minimal: Whether the answer may be left out.
            headers: Headers for this request.
            params: Query parameters for this request.
            timeout: Seconds for this request.

        Returns:
            The thread as it is now; None with `return_minimal`.

        Raises:
            NotFoundError: there is no such thread.

        Example:
            >>> thread = await client.threads.update(thread_id, metadata={"topic": "tea"})
            >>> thread["metadata"]["topic"]
            'tea'
        """
        body: dict[str, Any] = {"metadata": metadata}
        if ttl is not None:
            body["ttl"] = thread_ttl(ttl)
        minimal = {"Prefer": "return=minimal"} if return_minimal else {}
        changed = await self.http.patch(
            path(_ONE, thread_id=thread_id),
            json=body,
            params=params,
            headers={**minimal, **(headers or {})},
            timeout=timeout,
        )
        return cast("Thread | None", changed)

    async def delete(
        self,
        thread_id: str,
        *,
        headers: Mapping[str, str] | None = None,
        params: QueryParamTypes | None = None,
        timeout: TimeoutTypes = None,
    ) -> None:
        """Delete a thread with all its runs and states (`DELETE /threads/{thread_id}`).

        Args:
            thread_id: The id of the thread.
            headers: Headers for this request.
            params: Query parameters for this request.
            timeout: Seconds for this request.

        Raises:
            NotFoundError: there is no such thread.

        Example:
            >>> await client.threads.delete(thread_id)
        """
        place = path(_ONE, thread_id=thread_id)
        await self.http.delete(place, params=params, headers=headers, timeout=timeout)

    async def search(
        self,
        *,
        metadata: Json = None,
        values: Json = None,
        ids: Sequence[str] | None = None,
        status: ThreadStatus | None = None,
        limit: int = 10,
        offset: int = 0,
        sort_by: ThreadSortBy | None = None,
        sort_order: SortOrder | None = None,
        select: list[ThreadSelectField] | None = None,
        extract: dict[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        params: QueryParamTypes | None = None,
        timeout: TimeoutTypes = None,
    ) -> list[Thread]:
        """Find threads (`POST /threads/search`).

        Args:
            metadata: Only those whose metadata contain this.
            values: Only those whose state contains this.
            ids: Only these.
            status: Only those with this status.
            limit: How many at most, 1 to 1000.
            offset: How many to skip.
            sort_by: The field to sort by; the time of the last change unless given.
            sort_order: `desc` unless given.
            select: Only these fields.
            extract: Single values to return under `extracted`: their names there, and paths
                such as `values.messages[-1].content`. 10 at most.
            headers: Headers for this request.
            params: Query parameters for this request.
            timeout: Seconds for this request.

        Returns:
            The threads.

        Raises:
            UnprocessableEntityError: a part of the search is not valid.

        Example:
            >>> found = await client.threads.search(metadata={"user": "ada"}, limit=5)
            >>> [thread["status"] for thread in found]
            ['idle']
        """
        body = _search(
            metadata=metadata,
            values=values,
            ids=ids,
            status=status,
            sort_by=sort_by,
            sort_order=sort_order,
            select=select,
            extract=extract,
        )
        found = await self.http.post(
            "/threads/search",
            json={"limit": limit, "offset": offset, **body},
            params=params,
            headers=headers,
            timeout=timeout,
        )
        return cast("list[Thread]", found)

    async def search_all(
        self,
        *,
        metadata: Json = None,
        values: Json = None,
        ids: Sequence[str] | None = None,
        status: ThreadStatus | None = None,
        sort_by: ThreadSortBy | None = None,
        sort_order: SortOrder | None = None,
        select: list[ThreadSelectField] | None = None,
        extract: dict[str, str] | None = None,
        page_size: int = PAGE,
        headers: Mapping[str, str] | None = None,
        params: QueryParamTypes | None = None,
        timeout: TimeoutTypes = None,
    ) -> AsyncIterator[Thread]:
        """Find all threads, one page after the other (`POST /threads/search`).

        Args:
            metadata: As for `search`.
            values: As for `search`.
            ids: As for `search`.
            status: As for `search`.
            sort_by: As for `search`. A field that changes while pages are read may make threads
                appear twice or not at all; `created_at` does not.
            sort_order: As for `search`.
            select: As for `search`.
            extract: As for `search`.
            page_size: How many to ask for at once, 1 to 1000.
            headers: Headers for each request.
            params: Query parameters for each request.
            timeout: Seconds for each request.

        Returns:
            An iterator of threads. A page is asked for when the iteration gets there.

        Example:
            >>> async for thread in client.threads.search_all(sort_by="created_at"):
            ...     print(thread["status"])
            idle
        """
        body = _search(
            metadata=metadata,
            values=values,
            ids=ids,
            status=status,
            sort_by=sort_by,
            sort_order=sort_order,
            select=select,
            extract=extract,
        )
        pages = Pages()
        while pages.offset is not None:
            page = await self.http.post(
                "/threads/search",
                json={"limit": page_size, "offset": pages.offset, **body},
                params=params,
                headers=headers,
                on_response=pages.note,
                timeout=timeout,
            )
            for thread in page:
                yield thread

    async def count(
        self,
        *,
        metadata: Json = None,
        values: Json = None,
        status: ThreadStatus | None = None,
        headers: Mapping[str, str] | None = None,
        params: QueryParamTypes | None = None,
        timeout: TimeoutTypes = None,
    ) -> int:
        """Count threads (`POST /threads/count`).

        Args:
            metadata: Only those whose metadata contain this.
            values: Only those whose state contains this.
            status: Only those with this status.
            headers: Headers for this request.
            params: Query parameters for this request.
            timeout: Seconds for this request.

        Returns:
            How many there are.

        Example:
            >>> await client.threads.count(status="idle")
            1
        """
        body = filled({"metadata": metadata, "values": values, "status": status})
        found = await self.http.post(
            "/threads/count", json=body, params=params, headers=headers, timeout=timeout
        )
        return cast("int", found)

    async def copy(
        self,
        thread_id: str,
        *,
        headers: Mapping[str, str] | None = None,
        params: QueryParamTypes | None = None,
        timeout: TimeoutTypes = None,
    ) -> Thread:
        """Copy a thread with all its states (`POST /threads/{thread_id}/copy`).

        Args:
            thread_id: The id of the thread.
            headers: Headers for this request.
            params: Query parameters for this request.
            timeout: Seconds for this request.

        Returns:
            The copy.

        Raises:
            NotFoundError: there is no such thread.

        Example:
            >>> copy = await client.threads.copy(thread_id)
            >>> copy["thread_id"] == thread_id
            False
        """
        place = path(f"{_ONE}/copy", thread_id=thread_id)
        made = await self.http.post(
            place, json=None, params=params, headers=headers, timeout=timeout
        )
        return cast("Thread", made)

    async def prune(
        self,
        thread_ids: Sequence[str],
        *,
        strategy: PruneStrategy = "delete",
        headers: Mapping[str, str] | None = None,
        params: QueryParamTypes | None = None,
        timeout: TimeoutTypes = None,
    ) -> dict[str, Any]:
        """Delete threads, or all but their latest states (`POST /threads/prune`).

        Args:
            thread_ids: The ids of the threads; those that do not exist are passed over.
            strategy: `delete`, or `keep_latest` to keep what they need to go on.
            headers: Headers for this request.
            params: Query parameters for this request.
            timeout: Seconds for this request.

        Returns:
            How many were pruned, under `pruned_count`.

        Example:
            >>> await client.threads.prune([thread_id], strategy="keep_latest")
            {'pruned_count': 1}
        """
        chosen = {} if strategy == "delete" else {"strategy": strategy}
        done = await self.http.post(
            "/threads/prune",
            json={"thread_ids": thread_ids, **chosen},
            params=params,
            headers=headers,
            timeout=timeout,
        )
        return cast("dict[str, Any]", done)

    def join_stream(
        self,
        thread_id: str,
        *,
        last_event_id: str | None = None,
        stream_mode: ThreadStreamMode | Sequence[ThreadStreamMode] = "run_modes",
        headers: Mapping[str, str] | None = None,
        params: QueryParamTypes | None = None,
        timeout: TimeoutTypes = None,
    ) -> AwaitableStream[StreamPart]:
        """Follow the events of all runs of a thread (`GET /threads/{thread_id}/stream`).

        Args:
            thread_id: The id of the thread.
            last_event_id: The event to go on after; `-1`: from the start.
            stream_mode: Which events: those of the runs, of their beginnings and ends, or of new
                states.
            headers: Headers for this request.
            params: Query parameters for this request.
            timeout: Seconds for this request.

        Returns:
            An iterator of events. Nothing is sent before the first iteration.

        Example:
            >>> async for part in client.threads.join_stream(thread_id, last_event_id="-1"):
            ...     print(part.event)
            metadata
            values
        """
        last = {"Last-Event-ID": last_event_id} if last_event_id else {}
        parts = self.http.stream(
            path(f"{_ONE}/stream", thread_id=thread_id),
            "GET",
            params=query({"stream_mode": stream_mode}, params),
            headers={**last, **(headers or {})},
            timeout=timeout,
        )
        return async_stream(parts)

    def stream(
        self,
        thread_id: str | None = None,
        *,
        assistant_id: str,
        headers: Mapping[str, str] | None = None,
        run_start_timeout: float | None = None,
        transport: Literal["sse", "websocket"] = "sse",
        timeout: TimeoutTypes = None,
    ) -> AsyncThreadStream:
        """Start runs on a thread and read them (`POST /threads/{thread_id}/stream/events`).

        Args:
            thread_id: The id of the thread; None: a new one, which the first run makes.
            assistant_id: The assistant that its runs use, or the name of a graph.
            headers: Headers for all requests.
            run_start_timeout: Seconds that readers wait for a run to be started.
            transport: How events travel. `websocket` needs the extra `loomline[websocket]`.
            timeout: Seconds for each request.

        Returns:
            The thread, to be used with `async with`. Nothing is sent before.

        Raises:
            ValueError: there is no such transport.
            RuntimeError: WebSockets cannot work here.

        Example:
            >>> async with client.threads.stream(assistant_id="agent") as thread:
            ...     started = await thread.run.start(input={"question": "tea?"})
            ...     print((await thread.output)["answer"])
            Yes.
        """
        # Not at the top: most programs stream no threads, and asyncio takes long to load.
        from loomline._client._async.stream import AsyncThreadStream  # noqa: PLC0415

        if transport not in {"sse", "websocket"}:
            raise ValueError(f"transport must be 'sse' or 'websocket', not '{transport}'")
        return AsyncThreadStream(
            http=self.http,
            thread_id=thread_id or str(uuid4()),
            assistant_id=assistant_id,
            headers=headers,
            run_start_timeout=run_start_timeout,
            explicit_thread_id=thread_id is not None,
            transport_kind=transport,
            timeout=timeout,
        )


def _search(
    *,
    metadata: Json,
    values: Json,
    ids: Sequence[str] | None,
    status: ThreadStatus | None,
    sort_by: ThreadSortBy | None,
    sort_order: SortOrder | None,
    select: list[ThreadSelectField] | None,
    extract: dict[str, str] | None,
) -> dict[str, Any]:
    return filled(
        {
            "metadata": metadata,
            "values": values,
            "ids": ids,
            "status": status,
            "sort_by": sort_by,
            "sort_order": sort_order,
            "select": select,
            "extract": extract,
        }
    )
