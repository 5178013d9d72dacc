# Generated from run_starts.py by tools/unasync.py. Do not edit.
"""Starting runs."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Callable, Mapping, Sequence
from contextlib import closing
from typing import Any, Literal, cast, overload

import httpx

from loomline._client._sync.http import SyncHttpClient
from loomline._client._core.options import TimeoutTypes, warn_of_checkpoint_during
from loomline._client._core.requests import path, present, run_payload
from loomline._client._core.responses import run_created, second_form, values_of
from loomline.schema import (
    All,
    Checkpoint,
    Command,
    Config,
    Context,
    DisconnectMode,
    Durability,
    IfNotExists,
    Input,
    LangSmithTracing,
    MultitaskStrategy,
    OnCompletionBehavior,
    QueryParamTypes,
    Run,
    RunCreate,
    RunCreateMetadata,
    StreamMode,
    StreamPart,
    StreamPartV2,
    StreamVersion,
)


class SyncRunStarts:
    """Starts runs: in the background, waiting for their result, or streaming their events."""

    def __init__(self, http: SyncHttpClient) -> None:
        self.http = http

    @overload
    def stream(
        self,
        thread_id: str | None,
        assistant_id: str,
        *,
        input: Input | None = None,
        command: Command | None = None,
        stream_mode: StreamMode | Sequence[StreamMode] = "values",
        stream_subgraphs: bool = False,
        stream_resumable: bool = False,
        metadata: Mapping[str, Any] | None = None,
        config: Config | None = None,
        context: Context | None = None,
        checkpoint: Checkpoint | None = None,
        checkpoint_id: str | None = None,
        checkpoint_during: bool | None = None,
        interrupt_before: All | Sequence[str] | None = None,
        interrupt_after: All | Sequence[str] | None = None,
        feedback_keys: Sequence[str] | None = None,
        on_disconnect: DisconnectMode | None = None,
        on_completion: OnCompletionBehavior | None = None,
        webhook: str | None = None,
        multitask_strategy: MultitaskStrategy | None = None,
        if_not_exists: IfNotExists | None = None,
        after_seconds: float | None = None,
        langsmith_tracing: LangSmithTracing | None = None,
        headers: Mapping[str, str] | None = None,
        params: QueryParamTypes | None = None,
        timeout: TimeoutTypes = None,
        on_run_created: Callable[[RunCreateMetadata], None] | None = None,
        durability: Durability | None = None,
        strict_resume: bool | None = None,
        version: Literal["v1"] = "v1",
    ) -> Iterator[StreamPart]: ...

    @overload
    def stream(
        self,
        thread_id: str | None,
        assistant_id: str,
        *,
        input: Input | None = None,
        command: Command | None = None,
        stream_mode: StreamMode | Sequence[StreamMode] = "values",
        stream_subgraphs: bool = False,
        stream_resumable: bool = False,
        metadata: Mapping[str, Any] | None = None,
        config: Config | None = None,
        context: Context | None = None,
        checkpoint: Checkpoint | None = None,
        checkpoint_id: str | None = None,
        checkpoint_during: bool | None = None,
        interrupt_before: All | Sequence[str] | None = None,
        interrupt_after: All | Sequence[str] | None = None,
        feedback_keys: Sequence[str] | None = None,
        on_disconnect: DisconnectMode | None = None,
        on_completion: OnCompletionBehavior | None = None,
        webhook: str | None = None,
        multitask_strategy: MultitaskStrategy | None = None,
        if_not_exists: IfNotExists | None = None,
        after_seconds: float | None = None,
        langsmith_tracing: LangSmithTracing | None = None,
        headers: Mapping[str, str] | None = None,
        params: QueryParamTypes | None = None,
        timeout: TimeoutTypes = None,
        on_run_created: Callable[[RunCreateMetadata], None] | None = None,
        durability: Durability | None = None,
        strict_resume: bool | None = None,
        version: Literal["v2"],
    ) -> Iterator[StreamPartV2]: ...

    @overload
    def stream(
        self,
        thread_id: str | None,
        assistant_id: str,
        *,
        input: Input | None = None,
        command: Command | None = None,
        stream_mode: StreamMode | Sequence[StreamMode] = "values",
        stream_subgraphs: bool = False,
        stream_resumable: bool = False,
        metadata: Mapping[str, Any] | None = None,
        config: Config | None = None,
        context: Context | None = None,
        checkpoint: Checkpoint | None = None,
        checkpoint_id: str | None = None,
        checkpoint_during: bool | None = None,
        interrupt_before: All | Sequence[str] | None = None,
        interrupt_after: All | Sequence[str] | None = None,
        feedback_keys: Sequence[str] | None = None,
        on_disconnect: DisconnectMode | None = None,
        on_completion: OnCompletionBehavior | None = None,
        webhook: str | None = None,
        multitask_strategy: MultitaskStrategy | None = None,
        if_not_exists: IfNotExists | None = None,
        after_seconds: float | None = None,
        langsmith_tracing: LangSmithTracing | None = None,
        headers: Mapping[str, str] | None = None,
        params: QueryParamTypes | None = None,
        timeout: TimeoutTypes = None,
        on_run_created: Callable[[RunCreateMetadata], None] | None = None,
        durability: Durability | None = None,
        strict_resume: bool | None = None,
        version: StreamVersion,
    ) -> Iterator[StreamPart | StreamPartV2]: ...

    def stream(
        self,
        thread_id: str | None,
        assistant_id: str,
        *,
        input: Input | None = None,
        command: Command | None = None,
        stream_mode: StreamMode | Sequence[StreamMode] = "values",
        stream_subgraphs: bool = False,
        stream_resumable: bool = False,
        metadata: Mapping[str, Any] | None = None,
        config: Config | None = None,
        context: Context | None = None,
        checkpoint: Checkpoint | None = None,
        checkpoint_id: str | None = None,
        checkpoint_during: bool | None = None,
        interrupt_before: All | Sequence[str] | None = None,
        interrupt_after: All | Sequence[str] | None = None,
        feedback_keys: Sequence[str] | None = None,
        on_disconnect: DisconnectMode | None = None,
        on_completion: OnCompletionBehavior | None = None,
        webhook: str | None = None,
        multitask_strategy: MultitaskStrategy | None = None,
        if_not_exists: IfNotExists | None = None,
        after_seconds: float | None = None,
        langsmith_tracing: LangSmithTracing | None = None,
        headers: Mapping[str, str] | None = None,
        params: QueryParamTypes | None = None,
        timeout: TimeoutTypes = None,
        on_run_created: Callable[[RunCreateMetadata], None] | None = None,
        durability: Durability | None = None,
        strict_resume: bool | None = None,
        version: StreamVersion = "v1",
    ) -> Iterator[StreamPart] | Iterator[StreamPartV2]:
        """Start a run and stream its events (`POST /threads/{thread_id}/runs/stream`).

        Nothing is sent before the first iteration.

        Args:
            thread_id: The thread to run on; None: one of the run's own.
            assistant_id: The assistant, by id or by the name of its graph.
            input: What the graph takes; None goes on from the last checkpoint.
            command: What the graph is told instead: `resume`, `update`, `goto`.
            stream_mode: Which events the run sends.
            stream_subgraphs: Whether subgraphs send theirs too.
            stream_resumable: Whether events are kept, so that a stream can be taken up again.
            metadata: What to keep beside the run.
            config: How the graph is executed.
            context: Static context for the graph.
            checkpoint: The checkpoint to start from.
            checkpoint_id: Its id alone.
            checkpoint_during: Deprecated: use `durability`.
            interrupt_before: Nodes to stop before.
            interrupt_after: Nodes to stop after.
            feedback_keys: Keys to collect feedback for.
            on_disconnect: Whether the run is stopped (`cancel`) when this client goes away.
            on_completion: Whether the thread of a run without one is kept.
            webhook: An address that is told when the run has ended.
            multitask_strategy: What to do when the thread is busy.
            if_not_exists: Whether an unknown thread is created.
            after_seconds: Seconds to wait before the run starts.
            langsmith_tracing: Where the traces of the run go.
            headers: Headers for this request.
            params: Query parameters for this request.
            timeout: Seconds for this request.
            on_run_created: Called with the ids of the run as soon as the server names them.
            durability: When checkpoints are stored: `sync`, `async` or `exit`.
            strict_resume: Whether resuming an interrupt that does not wait is an error.
            version: The form of the events: `v1` tuples, `v2` dictionaries.

        Returns:
            An iterator of `StreamPart`, or of `StreamPartV2` with `version="v2"`. A failure of the
            graph is an event `error`.

        Raises:
            APIStatusError: the server refused.
            APIConnectionError: the connection broke and could not be taken up again.

        Example:
            >>> for part in client.runs.stream(
            ...     thread_id, "agent", input={"question": "tea?"}, stream_mode="updates"
            ... ):
            ...     print(part.event, part.data)
            metadata {'run_id': '...', 'attempt': 1}
            updates {'answer': {'answer': 'Yes.'}}
        """
        warn_of_checkpoint_during(checkpoint_during)
        fields = {
            "assistant_id": assistant_id,
            "input": input,
            "command": command,
            "stream_mode": stream_mode,
            "stream_subgraphs": stream_subgraphs,
            "stream_resumable": stream_resumable,
            "metadata": metadata,
            "config": config,
            "context": context,
            "checkpoint": checkpoint,
            "checkpoint_id": checkpoint_id,
            "checkpoint_during": checkpoint_during,
            "interrupt_before": interrupt_before,
            "interrupt_after": interrupt_after,
            "feedback_keys": feedback_keys,
            "on_disconnect": on_disconnect,
            "on_completion": on_completion,
            "webhook": webhook,
            "multitask_strategy": multitask_strategy,
            "if_not_exists": if_not_exists,
            "after_seconds": after_seconds,
            "langsmith_tracer": langsmith_tracing,
            "durability": durability,
            "strict_resume": strict_resume,
        }
        parts = self.http.stream(
            _place(thread_id, "/runs/stream"),
            "POST",
            json=run_payload(fields),
            params=params,
            headers=headers,
            timeout=timeout,
            on_response=_reporting(on_run_created),
        )
        return parts if version != "v2" else _in_second_form(parts)

    def create(
        self,
        thread_id: str | None,
        assistant_id: str,
        *,
        input: Input | None = None,
        command: Command | None = None,
        stream_mode: StreamMode | Sequence[StreamMode] = "values",
        stream_subgraphs: bool = False,
        stream_resumable: bool = False,
        metadata: Mapping[str, Any] | None = None,
        config: Config | None = None,
        context: Context | None = None,
        checkpoint: Checkpoint | None = None,
        checkpoint_id: str | None = None,
        checkpoint_during: bool | None = None,
        interrupt_before: All | Sequence[str] | None = None,
        interrupt_after: All | Sequence[str] | None = None,
        webhook: str | None = None,
        multitask_strategy: MultitaskStrategy | None = None,
        if_not_exists: IfNotExists | None = None,
        on_completion: OnCompletionBehavior | None = None,
        after_seconds: float | None = None,
        langsmith_tracing: LangSmithTracing | None = None,
        headers: Mapping[str, str] | None = None,
        params: QueryParamTypes | None = None,
        timeout: TimeoutTypes = None,
        on_run_created: Callable[[RunCreateMetadata], None] | None = None,
        durability: Durability | None = None,
        strict_resume: bool | None = None,
    ) -> Run:
        """Start a run in the background (`POST /threads/{thread_id}/runs`).

        Args:
            thread_id: The thread to run on; None: one of the run's own.
            assistant_id: The assistant, by id or by the name of its graph.
            input: What the graph takes; None goes on from the last checkpoint.
            command: What the graph is told instead: `resume`, `update`, `goto`.
            stream_mode: Which events the run sends.
            stream_subgraphs: Whether subgraphs send theirs too.
            stream_resumable: Whether events are kept, so that a stream can be taken up again.
            metadata: What to keep beside the run.
            config: How the graph is executed.
            context: Static context for the graph.
            checkpoint: The checkpoint to start from.
            checkpoint_id: Its id alone.
            checkpoint_during: Deprecated: use `durability`.
            interrupt_before: Nodes to stop before.
            interrupt_after: Nodes to stop after.
            webhook: An address that is told when the run has ended.
            multitask_strategy: What to do when the thread is busy.
            if_not_exists: Whether an unknown thread is created.
            on_completion: Whether the thread of a run without one is kept.
            after_seconds: Seconds to wait before the run starts.
            langsmith_tracing: Where the traces of the run go.
            headers: Headers for this request.
            params: Query parameters for this request.
            timeout: Seconds for this request.
            on_run_created: Called with the ids of the run as soon as the server names them.
            durability: When checkpoints are stored: `sync`, `async` or `exit`.
            strict_resume: Whether resuming an interrupt that does not wait is an error.

        Returns:
            The run, which is pending.

        Raises:
            NotFoundError: there is no such thread or assistant.
            ConflictError: the thread is busy and the strategy is `reject`.

        Example:
            >>> run = client.runs.create(thread_id, "agent", input={"question": "tea?"})
            >>> run["status"]
            'pending'
        """
        warn_of_checkpoint_during(checkpoint_during)
        fields = {
            "assistant_id": assistant_id,
            "input": input,
            "command": command,
            "stream_mode": stream_mode,
            "stream_subgraphs": stream_subgraphs,
            "stream_resumable": stream_resumable,
            "metadata": metadata,
            "config": config,
            "context": context,
            "checkpoint": checkpoint,
            "checkpoint_id": checkpoint_id,
            "checkpoint_during": checkpoint_during,
            "interrupt_before": interrupt_before,
            "interrupt_after": interrupt_after,
            "webhook": webhook,
            "multitask_strategy": multitask_strategy,
            "if_not_exists": if_not_exists,
            "on_completion": on_completion,
            "after_seconds": after_seconds,
            "langsmith_tracer": langsmith_tracing,
            "durability": durability,
            "strict_resume": strict_resume,
        }
        made = self.http.post(
            _place(thread_id or None, "/runs"),
            json=run_payload(fields),
            params=params,
            headers=headers,
            timeout=timeout,
            on_response=_reporting(on_run_created),
        )
        return cast("Run", made)

    def create_batch(
        self,
        payloads: list[RunCreate],
        *,
        headers: Mapping[str, str] | None = None,
        params: QueryParamTypes | None = None,
        timeout: TimeoutTypes = None,
    ) -> list[Run]:
        """Start several runs in the background (`POST /runs/batch`).

        Args:
            payloads: What each run is created from, in the fields of `create`.
            headers: Headers for this request.
            params: Query parameters for this request.
            timeout: Seconds for this request.

        Returns:
            The runs, in the order of the payloads.

        Example:
            >>> batch = [{"assistant_id": "agent", "input": {"question": q}} for q in "ab"]
            >>> runs = client.runs.create_batch(batch)
            >>> [run["status"] for run in runs]
            ['pending', 'pending']
        """
        made = self.http.post(
            "/runs/batch",
            json=[present(payload) for payload in payloads],
            params=params,
            headers=headers,
            timeout=timeout,
        )
        return cast("list[Run]", made)

    def wait(
        self,
        thread_id: str | None,
        assistant_id: str,
        *,
        input: Input | None = None,
        command: Command | None = None,
        metadata: Mapping[str, Any] | None = None,
        config: Config | None = None,
        context: Context | None = None,
        checkpoint: Checkpoint | None = None,
        checkpoint_id: str | None = None,
        checkpoint_during: bool | None = None,
        interrupt_before: All | Sequence[str] | None = None,
        interrupt_after: All | Sequence[str] | None = None,
        webhook: str | None = None,
        on_disconnect: DisconnectMode | None = None,
        on_completion: OnCompletionBehavior | None = None,
        multitask_strategy: MultitaskStrategy | None = None,
        if_not_exists: IfNotExists | None = None,
        after_seconds: float | None = None,
        langsmith_tracing: LangSmithTracing | None = None,
        raise_error: bool = True,
        headers: Mapping[str, str] | None = None,
        params: QueryParamTypes | None = None,
        timeout: TimeoutTypes = None,
        on_run_created: Callable[[RunCreateMetadata], None] | None = None,
        durability: Durability | None = None,
        strict_resume: bool | None = None,
    ) -> Any:
        """Start a run and wait for its result (`POST /threads/{thread_id}/runs/wait`).

        Args:
            thread_id: The thread to run on; None: one of the run's own.
            assistant_id: The assistant, by id or by the name of its graph.
            input: What the graph takes; None goes on from the last checkpoint.
            command: What the graph is told instead: `resume`, `update`, `goto`.
            metadata: What to keep beside the run.
            config: How the graph is executed.
            context: Static context for the graph.
            checkpoint: The checkpoint to start from.
            checkpoint_id: Its id alone.
            checkpoint_during: Deprecated: use `durability`.
            interrupt_before: Nodes to stop before.
            interrupt_after: Nodes to stop after.
            webhook: An address that is told when the run has ended.
            on_disconnect: Whether the run is stopped (`cancel`) when this client goes away.
            on_completion: Whether the thread of a run without one is kept.
            multitask_strategy: What to do when the thread is busy.
            if_not_exists: Whether an unknown thread is created.
            after_seconds: Seconds to wait before the run starts.
            langsmith_tracing: Where the traces of the run go.
            raise_error: Whether a failed run raises; its error is returned otherwise.
            headers: Headers for this request.
            params: Query parameters for this request.
            timeout: Seconds for this request.
            on_run_created: Called with the ids of the run as soon as the server names them.
            durability: When checkpoints are stored: `sync`, `async` or `exit`.
            strict_resume: Whether resuming an interrupt that does not wait is an error.

        Returns:
            The values of the thread's state at the end.

        Raises:
            RunError: the graph failed.
            NotFoundError: there is no such thread or assistant.
            ConflictError: the thread is busy and the strategy is `reject`.

        Example:
            >>> client.runs.wait(None, "agent", input={"question": "tea?"})
            {'question': 'tea?', 'answer': 'Yes.'}
        """
        warn_of_checkpoint_during(checkpoint_during)
        fields = {
            "assistant_id": assistant_id,
            "input": input,
            "command": command,
            "metadata": metadata,
            "config": config,
            "context": context,
            "checkpoint": checkpoint,
            "checkpoint_id": checkpoint_id,
            "checkpoint_during": checkpoint_during,
            "interrupt_before": interrupt_before,
            "interrupt_after": interrupt_after,
            "webhook": webhook,
            "on_disconnect": on_disconnect,
            "on_completion": on_completion,
            "multitask_strategy": multitask_strategy,
            "if_not_exists": if_not_exists,
            "after_seconds": after_seconds,
            "langsmith_tracer": langsmith_tracing,
            "durability": durability,
            "strict_resume": strict_resume,
        }
        result = self.http.request_reconnect(
            _place(thread_id, "/runs/wait"),
            "POST",
            json=run_payload(fields),
            params=params,
            headers=headers,
            timeout=timeout,
            on_response=_reporting(on_run_created),
        )
        return values_of(result) if raise_error else result


def _place(thread_id: str | None, route: str) -> str:
    return route if thread_id is None else path("/threads/{id}", id=thread_id) + route


def _reporting(
    callback: Callable[[RunCreateMetadata], None] | None,
) -> Callable[[httpx.Response], None] | None:
    if callback is None:
        return None

    def report(response: httpx.Response) -> None:
        created = run_created(response)
        if created is not None:
            callback(created)

    return report


def _in_second_form(parts: Generator[StreamPart]) -> Iterator[StreamPartV2]:
    with closing(parts):
        for part in parts:
            second = second_form(part)
            if second is not None:
                yield second
