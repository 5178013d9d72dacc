# Generated from thread_states.py by tools/unasync.py. Do not edit.
"""The states of threads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from loomline._client._sync.http import SyncHttpClient
from loomline._client._core.options import TimeoutTypes
from loomline._client._core.requests import filled, path, query
from loomline.schema import (
    Checkpoint,
    QueryParamTypes,
    ThreadState,
    ThreadStateSelectField,
    ThreadUpdateStateResponse,
)

if TYPE_CHECKING:
    pass

_ONE = "/threads/{thread_id}"


class SyncThreadStates:
    """Reads and changes the states of threads."""

    def __init__(self, http: SyncHttpClient) -> None:
        self.http = http

    def get_state(
        self,
        thread_id: str,
        checkpoint: Checkpoint | None = None,
        checkpoint_id: str | None = None,
        *,
        subgraphs: bool = False,
        select: list[ThreadStateSelectField] | None = None,
        headers: Mapping[str, str] | None = None,
        params: QueryParamTypes | None = None,
        timeout: TimeoutTypes = None,
    ) -> ThreadState:
        """Get the state of a thread (`GET /threads/{thread_id}/state`).

        Args:
            thread_id: The id of the thread.
            checkpoint: The checkpoint to read; the latest unless given.
            checkpoint_id: Its id alone.
            subgraphs: Whether tasks that are subgraphs carry their own states.
            select: Only these fields; `values.<key>` for one value.
            headers: Headers for this request.
            params: Query parameters for this request.
            timeout: Seconds for this request.

        Returns:
            The state.

        Raises:
            NotFoundError: there is no such thread.

        Example:
            >>> state = client.threads.get_state(thread_id)
            >>> state["values"]
            {'question': 'tea?', 'answer': 'Yes.'}
        """
        chosen = filled({"select": select})
        if checkpoint:
            found = self.http.post(
                path(f"{_ONE}/state/checkpoint", thread_id=thread_id),
                json={"checkpoint": checkpoint, "subgraphs": subgraphs, **chosen},
                params=params,
                headers=headers,
                timeout=timeout,
            )
            return cast("ThreadState", found)
        place = path(f"{_ONE}/state", thread_id=thread_id)
        if checkpoint_id:
            place += path("/{checkpoint_id}", checkpoint_id=checkpoint_id)
        merged = query({"subgraphs": subgraphs, **chosen}, params)
        found = self.http.get(place, params=merged, headers=headers, timeout=timeout)
        return cast("ThreadState", found)

    def update_state(
        self,
        thread_id: str,
        values: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None,
        *,
        as_node: str | None = None,
        checkpoint: Checkpoint | None = None,
        checkpoint_id: str | None = None,
        headers: Mapping[str, str] | None = None,
        params: QueryParamTypes | None = None,
        timeout: TimeoutTypes = None,
    ) -> ThreadUpdateStateResponse:
        """Write to the state of a thread (`POST /threads/{thread_id}/state`).

        Args:
            thread_id: The id of the thread.
            values: What to write, as a node would return it.
            as_node: The node to write as; the one that ran last unless given.
            checkpoint: The checkpoint to go on from; the latest unless given.
            checkpoint_id: Its id alone.
            headers: Headers for this request.
            params: Query parameters for this request.
            timeout: Seconds for this request.

        Returns:
            Where the new state was stored.

        Raises:
            NotFoundError: there is no such thread.
            BadRequestError: the graph does not take these values, or has no such node.
            ConflictError: a run is active on the thread.

        Example:
            >>> stored = client.threads.update_state(thread_id, {"answer": "No."})
            >>> sorted(stored["checkpoint"])
            ['checkpoint_id', 'checkpoint_ns', 'thread_id']
        """
        optional = {"as_node": as_node, "checkpoint": checkpoint, "checkpoint_id": checkpoint_id}
        stored = self.http.post(
            path(f"{_ONE}/state", thread_id=thread_id),
            json={"values": values, **filled(optional)},
            params=params,
            headers=headers,
            timeout=timeout,
        )
        return cast("ThreadUpdateStateResponse", stored)

    def get_history(
        self,
        thread_id: str,
        *,
        limit: int = 10,
        before: str | Checkpoint | None = None,
        metadata: Mapping[str, Any] | None = None,
        checkpoint: Checkpoint | None = None,
        select: list[ThreadStateSelectField] | None = None,
        headers: Mapping[str, str] | None = None,
        params: QueryParamTypes | None = None,
        timeout: TimeoutTypes = None,
    ) -> list[ThreadState]:
        """List the states of a thread (`POST /threads/{thread_id}/history`).

        Args:
            thread_id: The id of the thread.
            limit: How many at most, 1 to 1000.
            before: Only states older than this checkpoint.
            metadata: Only states whose metadata contain this.
            checkpoint: Only this checkpoint, or only those of its namespace.
            select: Only these fields; `values.<key>` for one value.
            headers: Headers for this request.
            params: Query parameters for this request.
            timeout: Seconds for this request.

        Returns:
            The states, newest first.

        Raises:
            NotFoundError: there is no such thread.

        Example:
            >>> history = client.threads.get_history(thread_id, limit=1)
            >>> history[0]["values"]["answer"]
            'Yes.'
        """
        optional = {
            "before": before,
            "metadata": metadata,
            "checkpoint": checkpoint,
            "select": select,
        }
        found = self.http.post(
            path(f"{_ONE}/history", thread_id=thread_id),
            json={"limit": limit, **filled(optional)},
            params=params,
            headers=headers,
            timeout=timeout,
        )
        return cast("list[ThreadState]", found)
