# Generated from runs.py by tools/unasync.py. Do not edit.
"""Runs."""

from __future__ import annotations

import builtins
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from loomline._client._sync.run_starts import SyncRunStarts
from loomline._client._core.options import TimeoutTypes
from loomline._client._core.requests import filled, path, query
from loomline.schema import (
    BulkCancelRunsStatus,
    CancelAction,
    QueryParamTypes,
    Run,
    RunSelectField,
    RunStatus,
    StreamMode,
    StreamPart,
)

_RUN = "/threads/{thread_id}/runs/{run_id}"


class SyncRunsClient(SyncRunStarts):
    """Starts runs, watches them and stops them."""

    def list(
        self,
        thread_id: str,
        *,
        limit: int = 10,
        offset: int = 0,
        status: RunStatus | None = None,
        select: builtins.list[RunSelectField] | None = None,
        headers: Mapping[str, str] | None = None,
        params: QueryParamTypes | None = None,
        timeout: TimeoutTypes = None,
    ) -> builtins.list[Run]:
        """List the runs of a thread, newest first (`GET /threads/{thread_id}/runs`).

        Args:
            thread_id: The id of the thread.
            limit: How many runs at most.
            offset: How many of the newest to skip.
            status: Only runs with this status.
            select: Only these fields of each run.
            headers: Headers for this request.
            params: Query parameters for this request.
            timeout: Seconds for this request.

        Raises:
            NotFoundError: there is no such thread.

        Example:
            >>> runs = client.runs.list(thread_id, status="success")
            >>> [run["run_id"] == run_id for run in runs]
            [True]
        """
        own: dict[str, Any] = {"limit": limit, "offset": offset}
        own |= {"status": status} if status is not None else {}
        own |= {"select": select} if select else {}
        found = self.http.get(
            path("/threads/{thread_id}/runs", thread_id=thread_id),
            params=query(own, params),
            headers=headers,
            timeout=timeout,
        )
        return cast("builtins.list[Run]", found)

    def get(
        self,
        thread_id: str,
        run_id: str,
        *,
        headers: Mapping[str, str] | None = None,
        params: QueryParamTypes | None = None,
        timeout: TimeoutTypes = None,
    ) -> Run:
        """Get a run (`GET /threads/{thread_id}/runs/{run_id}`).

        Args:
            thread_id: The id of its thread.
            run_id: Its id.
            headers: Headers for this request.
            params: Query parameters for this request.
            timeout: Seconds for this request.

        Raises:
            NotFoundError: there is no such run.

        Example:
            >>> run = client.runs.get(thread_id, run_id)
            >>> run["status"]
            'success'
        """
        place = path(_RUN, thread_id=thread_id, run_id=run_id)
        return cast(
            "Run", self.http.get(place, params=params, headers=headers, timeout=timeout)
        )

    def cancel(
        self,
        thread_id: str,
        run_id: str,
        *,
        wait: bool = False,
        action: CancelAction = "interrupt",
        headers: Mapping[str, str] | None = None,
        params: QueryParamTypes | None = None,
        timeout: TimeoutTypes = None,
    ) -> None:
        """Stop a run (`POST /threads/{thread_id}/runs/{run_id}/cancel`).

        Args:
            thread_id: The id of its thread.
            run_id: Its id.
            wait: Whether to return only when it has really ended.
            action: `interrupt` keeps what it has done, `rollback` undoes it.
            headers: Headers for this request.
            params: Query parameters for this request.
            timeout: Seconds for this request.

        Raises:
            NotFoundError: there is no such run, or it is over.

        Example:
            >>> run = client.runs.create(thread_id, "slow", input={"question": "tea?"})
            >>> client.runs.cancel(thread_id, run["run_id"], wait=True)
        """
        place = path(f"{_RUN}/cancel", thread_id=thread_id, run_id=run_id)
        merged = query({"wait": 1 if wait else 0, "action": action}, params)
        if wait:
            self.http.request_reconnect(
                place, "POST", params=merged, headers=headers, timeout=timeout
            )
        else:
            self.http.post(place, json=None, params=merged, headers=headers, timeout=timeout)

    def cancel_many(
        self,
        *,
        thread_id: str | None = None,
        run_ids: Sequence[str] | None = None,
        status: BulkCancelRunsStatus | None = None,
        action: CancelAction = "interrupt",
        headers: Mapping[str, str] | None = None,
        params: QueryParamTypes | None = None,
        timeout: TimeoutTypes = None,
    ) -> None:
        """Stop several runs (`POST /runs/cancel`).

        Args:
            thread_id: The id of their thread; with `run_ids`.
            run_ids: Their ids.
            status: Instead of ids: all runs of the server with this status.
            action: `interrupt` keeps what they have done, `rollback` undoes it.
            headers: Headers for this request.
            params: Query parameters for this request.
            timeout: Seconds for this request.

        Raises:
            NotFoundError: there is nothing to stop.

        Example:
            >>> run = client.runs.create(thread_id, "slow", input={"question": "tea?"})
            >>> client.runs.cancel_many(thread_id=thread_id, run_ids=[run["run_id"]])
        """
        body = filled({"thread_id": thread_id, "run_ids": run_ids, "status": status})
        self.http.post(
            "/runs/cancel",
            json=body,
            params=query({"action": action}, params),
            headers=headers,
            timeout=timeout,
        )

    def join(
        self,
        thread_id: str,
        run_id: str,
        *,
        headers: Mapping[str, str] | None = None,
        params: QueryParamTypes | None = None,
        timeout: TimeoutTypes = None,
    ) -> Any:
        """Wait for a run to end (`GET /threads/{thread_id}/runs/{run_id}/join`).

        Args:
            thread_id: The id of its thread.
            run_id: Its id.
            headers: Headers for this request.
            params: Query parameters for this request.
            timeout: Seconds for this request.

        Returns:
            The values of the thread's state, or the error of the run under `__error__`.

        Example:
            >>> client.runs.join(thread_id, run_id)
            {'question': 'tea?', 'answer': 'Yes.'}
        """
        place = path(f"{_RUN}/join", thread_id=thread_id, run_id=run_id)
        return self.http.request_reconnect(
            place, "GET", params=params, headers=headers, timeout=timeout
        )

    def join_stream(
        self,
        thread_id: str,
        run_id: str,
        *,
        cancel_on_disconnect: bool = False,
        stream_mode: StreamMode | Sequence[StreamMode] | None = None,
        headers: Mapping[str, str] | None = None,
        params: QueryParamTypes | None = None,
        timeout: TimeoutTypes = None,
        last_event_id: str | None = None,
    ) -> Iterator[StreamPart]:
        """Follow the events of a run (`GET /threads/{thread_id}/runs/{run_id}/stream`).

        Args:
            thread_id: The id of its thread.
            run_id: Its id.
            cancel_on_disconnect: Whether the run is stopped when this client goes away.
            stream_mode: Only events of these modes.
            headers: Headers for this request.
            params: Query parameters for this request.
            timeout: Seconds for this request.
            last_event_id: The event to go on after, for a resumable run; `-1`: from the start.

        Returns:
            An iterator of events. Nothing is sent before the first iteration.

        Example:
            >>> for part in client.runs.join_stream(thread_id, run_id):
            ...     print(part.event)
        """
        own = {"cancel_on_disconnect": cancel_on_disconnect, "stream_mode": stream_mode}
        last = {"Last-Event-ID": last_event_id} if last_event_id else {}
        return self.http.stream(
            path(f"{_RUN}/stream", thread_id=thread_id, run_id=run_id),
            "GET",
            params=query(own, params),
            headers={**last, **(headers or {})},
            timeout=timeout,
        )

    def delete(
        self,
        thread_id: str,
        run_id: str,
        *,
        headers: Mapping[str, str] | None = None,
        params: QueryParamTypes | None = None,
        timeout: TimeoutTypes = None,
    ) -> None:
        """Delete a run and its checkpoints (`DELETE /threads/{thread_id}/runs/{run_id}`).

        Args:
            thread_id: The id of its thread.
            run_id: Its id.
            headers: Headers for this request.
            params: Query parameters for this request.
            timeout: Seconds for this request.

        Raises:
            NotFoundError: there is no such run.

        Example:
            >>> client.runs.delete(thread_id, run_id)
        """
        place = path(_RUN, thread_id=thread_id, run_id=run_id)
        self.http.delete(place, params=params, headers=headers, timeout=timeout)
