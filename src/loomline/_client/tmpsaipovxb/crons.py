# Generated from crons.py by tools/unasync.py. Do not edit.
"""Crons: runs that are started again and again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, tzinfo
from typing import Any, cast

from loomline._client._core.options import (
    NOT_GIVEN,
    NotGiven,
    TimeoutTypes,
    warn_of_checkpoint_during,
)
from loomline._client._core.paging import PAGE, Pages
from loomline._client._core.requests import filled, moment, path, present, zone
from loomline._client._sync.http import SyncHttpClient
from loomline.schema import (
    All,
    Config,
    Context,
    Cron,
    CronSelectField,
    CronSortBy,
    Durability,
    Input,
    Json,
    OnCompletionBehavior,
    QueryParamTypes,
    SortOrder,
    StreamMode,
)

_ONE = "/runs/crons/{cron_id}"


class SyncCronClient:
    """Creates, changes, finds and deletes crons."""

    def __init__(self, http_client: SyncHttpClient) -> None:
        self.http = http_client

    def create_for_thread(
        self,
        thread_id: str,
        assistant_id: str,
        *,
        schedule: str,
        input: Input | None = None,
        metadata: Mapping[str, Any] | None = None,
        config: Config | None = None,
        context: Context | None = None,
        checkpoint_during: bool | None = None,
        interrupt_before: All | list[str] | None = None,
        interrupt_after: All | list[str] | None = None,
        webhook: str | None = None,
        multitask_strategy: str | None = None,
        end_time: datetime | None = None,
        enabled: bool | None = None,
        timezone: str | tzinfo | None = None,
        stream_mode: StreamMode | Sequence[StreamMode] | None = None,
        stream_subgraphs: bool | None = None,
        stream_resumable: bool | None = None,
        durability: Durability | None = None,
        headers: Mapping[str, str] | None = None,
        params: QueryParamTypes | None = None,
        timeout: TimeoutTypes = None,
    ) -> Cron:
        """Run on one thread again and again (`POST /threads/{thread_id}/runs/crons`).

        Args:
            thread_id: The thread to run on.
            assistant_id: The assistant, by id or by the name of its graph.
            schedule: When, as a cron expression of five fields, or six with seconds.
            input: What the graph takes.
            metadata: What to keep beside the cron and its runs.
            config: How the graph is executed.
            context: Static context for the graph.
            checkpoint_during: Deprecated: use `durability`.
            interrupt_before: Nodes to stop before.
            interrupt_after: Nodes to stop after.
            webhook: An address that is told when a run has ended.
            multitask_strategy: What to do when the thread is busy.
            end_time: When it ends.
            enabled: Whether it runs; it does unless told.
            timezone: Where the schedule holds, by its name; UTC unless given.
            stream_mode: Which events the runs send.
            stream_subgraphs: Whether subgraphs send theirs too.
            stream_resumable: Whether events are kept.
            durability: When checkpoints are stored: `sync`, `async` or `exit`.
            headers: Headers for this request.
            params: Query parameters for this request.
            timeout: Seconds for this request.

        Returns:
            The cron.

        Raises:
            NotFoundError: there is no such thread or assistant.
            UnprocessableEntityError: the schedule or the time zone is not valid.

        Example:
            >>> cron = client.crons.create_for_thread(
            ...     thread_id, "agent", schedule="0 8 * * 1-5", timezone="Europe/Berlin"
            ... )
            >>> cron["schedule"]
            '0 8 * * 1-5'
        """
        warn_of_checkpoint_during(checkpoint_during)
        fields = {
            "schedule": schedule,
            "input": input,
            "metadata": metadata,
            "config": config,
            "context": context,
            "checkpoint_during": checkpoint_during,
            "interrupt_before": interrupt_before,
            "interrupt_after": interrupt_after,
            "webhook": webhook,
            "multitask_strategy": multitask_strategy or None,
            "end_time": moment(end_time),
            "enabled": enabled,
            "timezone": zone(timezone),
            "stream_mode": stream_mode,
            "stream_subgraphs": stream_subgraphs,
            "stream_resumable": stream_resumable,
            "durability": durability,
        }
        made = self.http.post(
            path("/threads/{thread_id}/runs/crons", thread_id=thread_id),
            json={"assistant_id": assistant_id, **present(fields)},
            params=params,
            headers=headers,
            timeout=timeout,
        )
        return cast("Cron", made)

    def create(
        self,
        assistant_id: str,
        *,
        schedule: str,
        input: Input | None = None,
        metadata: Mapping[str, Any] | None = None,
        config: Config | None = None,
        context: Context | None = None,
        checkpoint_during: bool | None = None,
        interrupt_before: All | list[str] | None = None,
        interrupt_after: All | list[str] | None = None,
        webhook: str | None = None,
        on_run_completed: OnCompletionBehavior | None = None,
        multitask_strategy: str | None = None,
        end_time: datetime | None = None,
        enabled: bool | None = None,
        timezone: str | tzinfo | None = None,
        stream_mode: StreamMode | Sequence[StreamMode] | None = None,
        stream_subgraphs: bool | None = None,
        stream_resumable: bool | None = None,
        durability: Durability | None = None,
        headers: Mapping[str, str] | None = None,
        params: QueryParamTypes | None = None,
        timeout: TimeoutTypes = None,
    ) -> Cron:
        """Run again and again, each time on a thread of its own (`POST /runs/crons`).

        Args:
            assistant_id: The assistant, by id or by the name of its graph.
            schedule: When, as a cron expression of five fields, or six with seconds.
            input: What the graph takes.
            metadata: What to keep beside the cron and its runs.
            config: How the graph is executed.
            context: Static context for the graph.
            checkpoint_during: Deprecated: use `durability`.
            interrupt_before: Nodes to stop before.
            interrupt_after: Nodes to stop after.
            webhook: An address that is told when a run has ended.
            on_run_completed: Whether the thread of a run is kept; it is deleted unless told.
            multitask_strategy: What to do when the thread is busy.
            end_time: When it ends.
            enabled: Whether it runs; it does unless told.
            timezone: Where the schedule holds, by its name; UTC unless given.
            stream_mode: Which events the runs send.
            stream_subgraphs: Whether subgraphs send theirs too.
            stream_resumable: Whether events are kept.
            durability: When checkpoints are stored: `sync`, `async` or `exit`.
            headers: Headers for this request.
            params: Query parameters for this request.
            timeout: Seconds for this request.

        Returns:
            The cron.

        Raises:
            NotFoundError: there is no such assistant.
            UnprocessableEntityError: the schedule or the time zone is not valid.

        Example:
            >>> cron = client.crons.create("agent", schedule="0 8 * * *")
            >>> cron["enabled"]
            True
        """
        warn_of_checkpoint_during(checkpoint_during)
        fields = {
            "schedule": schedule,
            "input": input,
            "metadata": metadata,
            "config": config,
            "context": context,
            "checkpoint_during": checkpoint_during,
            "interrupt_before": interrupt_before,
            "interrupt_after": interrupt_after,
            "webhook": webhook,
            "on_run_completed": on_run_completed,
            "multitask_strategy": multitask_strategy or None,
            "end_time": moment(end_time),
            "enabled": enabled,
            "timezone": zone(timezone),
            "stream_mode": stream_mode,
            "stream_subgraphs": stream_subgraphs,
            "stream_resumable": stream_resumable,
            "durability": durability,
        }
        made = self.http.post(
            "/runs/crons",
            json={"assistant_id": assistant_id, **present(fields)},
            params=params,
            headers=headers,
            timeout=timeout,
        )
        return cast("Cron", made)

    def delete(
        self,
        cron_id: str,
        *,
        headers: Mapping[str, str] | None = None,
        params: QueryParamTypes | None = None,
        timeout: TimeoutTypes = None,
    ) -> None:
        """Delete a cron; runs that it has started go on (`DELETE /runs/crons/{cron_id}`).

        Args:
            cron_id: The id of the cron.
            headers: Headers for this request.
            params: Query parameters for this request.
            timeout: Seconds for this request.

        Raises:
            NotFoundError: there is no such cron.

        Example:
            >>> client.crons.delete(cron_id)
        """
        place = path(_ONE, cron_id=cron_id)
        self.http.delete(place, params=params, headers=headers, timeout=timeout)

    def update(
        self,
        cron_id: str,
        *,
        schedule: str | None = None,
        end_time: datetime | NotGiven | None = NOT_GIVEN,
        input: Input | None = None,
        metadata: Mapping[str, Any] | None = None,
        config: Config | None = None,
        context: Context | None = None,
        webhook: str | None = None,
        interrupt_before: All | list[str] | None = None,
        interrupt_after: All | list[str] | None = None,
        on_run_completed: OnCompletionBehavior | None = None,
        enabled: bool | None = None,
        timezone: str | tzinfo | None = None,
        stream_mode: StreamMode | Sequence[StreamMode] | None = None,
        stream_subgraphs: bool | None = None,
        stream_resumable: bool | None = None,
        durability: Durability | None = None,
        headers: Mapping[str, str] | None = None,
        params: QueryParamTypes | None = None,
        timeout: TimeoutTypes = None,
    ) -> Cron:
        """Change a cron; what is not given stays (`PATCH /runs/crons/{cron_id}`).

        Args:
            cron_id: The id of the cron.
            schedule: When, as a cron expression.
            end_time: When it ends; None: never.
            input: What the graph takes.
            metadata: What to merge into its metadata.
            config: How the graph is executed.
            context: Static context for the graph.
            webhook: An address that is told when a run has ended.
            interrupt_before: Nodes to stop before.
            interrupt_after: Nodes to stop after.
            on_run_completed: Whether the thread of a run is kept.
            enabled: Whether it runs.
            timezone: Where the schedule holds, by its name.
            stream_mode: Which events the runs send.
            stream_subgraphs: Whether subgraphs send theirs too.
            stream_resumable: Whether events are kept.
            durability: When checkpoints are stored: `sync`, `async` or `exit`.
            headers: Headers for this request.
            params: Query parameters for this request.
            timeout: Seconds for this request.

        Returns:
            The cron as it is now.

        Raises:
            NotFoundError: there is no such cron.

        Example:
            >>> cron = client.crons.update(cron_id, enabled=False)
            >>> cron["enabled"]
            False
        """
        body = present(
            {
                "schedule": schedule,
                "input": input,
                "metadata": metadata,
                "config": config,
                "context": context,
                "webhook": webhook,
                "interrupt_before": interrupt_before,
                "interrupt_after": interrupt_after,
                "on_run_completed": on_run_completed,
                "enabled": enabled,
                "timezone": zone(timezone),
                "stream_mode": stream_mode,
                "stream_subgraphs": stream_subgraphs,
                "stream_resumable": stream_resumable,
                "durability": durability,
            }
        )
        if not isinstance(end_time, NotGiven):
            body["end_time"] = moment(end_time)
        place = path(_ONE, cron_id=cron_id)
        changed = self.http.patch(
            place, json=body, params=params, headers=headers, timeout=timeout
        )
        return cast("Cron", changed)

    def search(
        self,
        *,
        assistant_id: str | None = None,
        thread_id: str | None = None,
        enabled: bool | None = None,
        metadata: Json = None,
        limit: int = 10,
        offset: int = 0,
        sort_by: CronSortBy | None = None,
        sort_order: SortOrder | None = None,
        select: list[CronSelectField] | None = None,
        headers: Mapping[str, str] | None = None,
        params: QueryParamTypes | None = None,
        timeout: TimeoutTypes = None,
    ) -> list[Cron]:
        """Find crons (`POST /runs/crons/search`).

        Args:
            assistant_id: Only those of this assistant.
            thread_id: Only those of this thread.
            enabled: Only those that run, or that do not.
            metadata: Only those whose metadata contain this.
            limit: How many at most, 1 to 1000.
            offset: How many to skip.
            sort_by: The field to sort by; the time of creation unless given.
            sort_order: `desc` unless given.
            select: Only these fields.
            headers: Headers for this request.
            params: Query parameters for this request.
            timeout: Seconds for this request.

        Returns:
            The crons.

        Example:
            >>> found = client.crons.search(enabled=True)
            >>> [cron["schedule"] for cron in found]
            ['0 8 * * *']
        """
        body = _search(
            assistant_id=assistant_id,
            thread_id=thread_id,
            enabled=enabled,
            metadata=metadata,
            sort_by=sort_by,
            sort_order=sort_order,
            select=select,
        )
        found = self.http.post(
            "/runs/crons/search",
            json={"limit": limit, "offset": offset, **body},
            params=params,
            headers=headers,
            timeout=timeout,
        )
        return cast("list[Cron]", found)

    def search_all(
        self,
        *,
        assistant_id: str | None = None,
        thread_id: str | None = None,
        enabled: bool | None = None,
        metadata: Json = None,
        sort_by: CronSortBy | None = None,
        sort_order: SortOrder | None = None,
        select: list[CronSelectField] | None = None,
        page_size: int = PAGE,
        headers: Mapping[str, str] | None = None,
        params: QueryParamTypes | None = None,
        timeout: TimeoutTypes = None,
    ) -> Iterator[Cron]:
        """Find all crons, one page after the other (`POST /runs/crons/search`).

        Args:
            assistant_id: As for `search`.
            thread_id: As for `search`.
            enabled: As for `search`.
            metadata: As for `search`.
            sort_by: As for `search`.
            sort_order: As for `search`.
            select: As for `search`.
            page_size: How many to ask for at once, 1 to 1000.
            headers: Headers for each request.
            params: Query parameters for each request.
            timeout: Seconds for each request.

        Returns:
            An iterator of crons. A page is asked for when the iteration gets there.

        Example:
            >>> for cron in client.crons.search_all():
            ...     print(cron["schedule"])
            0 8 * * *
        """
        body = _search(
            assistant_id=assistant_id,
            thread_id=thread_id,
            enabled=enabled,
            metadata=metadata,
            sort_by=sort_by,
            sort_order=sort_order,
            select=select,
        )
        pages = Pages()
        while pages.offset is not None:
            page = self.http.post(
                "/runs/crons/search",
                json={"limit": page_size, "offset": pages.offset, **body},
                params=params,
                headers=headers,
                on_response=pages.note,
                timeout=timeout,
            )
            for cron in page:
                yield cron

    def count(
        self,
        *,
        assistant_id: str | None = None,
        thread_id: str | None = None,
        metadata: Json = None,
        headers: Mapping[str, str] | None = None,
        params: QueryParamTypes | None = None,
        timeout: TimeoutTypes = None,
    ) -> int:
        """Count crons (`POST /runs/crons/count`).

        Args:
            assistant_id: Only those of this assistant.
            thread_id: Only those of this thread.
            metadata: Only those whose metadata contain this.
            headers: Headers for this request.
            params: Query parameters for this request.
            timeout: Seconds for this request.

        Returns:
            How many there are.

        Example:
            >>> client.crons.count()
            1
        """
        body = filled({"assistant_id": assistant_id, "thread_id": thread_id, "metadata": metadata})
        found = self.http.post(
            "/runs/crons/count", json=body, params=params, headers=headers, timeout=timeout
        )
        return cast("int", found)


def _search(
    *,
    assistant_id: str | None,
    thread_id: str | None,
    enabled: bool | None,
    metadata: Json,
    sort_by: CronSortBy | None,
    sort_order: SortOrder | None,
    select: list[CronSelectField] | None,
) -> dict[str, Any]:
    named = {"assistant_id": assistant_id, "thread_id": thread_id, "enabled": enabled}
    rest = {"metadata": metadata, "sort_by": sort_by, "sort_order": sort_order, "select": select}
    return {**present(named), **filled(rest)}
