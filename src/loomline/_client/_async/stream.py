"""A thread, streamed: start runs on it, answer its questions, read it in many forms."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Mapping
from types import TracebackType
from typing import Any, Literal, Self, cast

from loomline._client._async.http import HttpClient
from loomline._client._async.stream_handles import ScopedStreamHandle, ToolCallHandle
from loomline._client._async.stream_projections import (
    ExtensionsProjection,
    Interleaving,
    MessagesProjection,
    SubgraphsProjection,
    ToolCallsProjection,
    ValuesProjection,
)
from loomline._client._async.stream_session import Cursor, Session
from loomline._client._async.stream_transports import (
    ProtocolSseTransport,
    ProtocolWebSocketTransport,
)
from loomline._client._core.options import TimeoutTypes
from loomline._client._core.requests import path, present, query
from loomline._client.concurrency import AsyncLater, async_later
from loomline.schema import LangSmithTracing, QueryParamTypes
from loomline.stream.types import (
    CHANNELS,
    Event,
    InterruptPayload,
    SubgraphStatus,
    SubscribeParams,
)

__all__ = [
    "AsyncThreadStream",
    "InterruptPayload",
    "RunModule",
    "ScopedStreamHandle",
    "SubgraphStatus",
    "ToolCallHandle",
]

_logger = logging.getLogger("loomline.client")


class AsyncThreadStream:
    """A thread that is streamed; made by `client.threads.stream(...)`, used with `async with`.

    Whatever is read follows one run: from its beginning, or from where the same projection was
    read before, to its end or its next question. Reading again goes on from there.

    Attributes:
        thread_id: The thread.
        assistant_id: The assistant that its runs use.
        run: Starts runs, and answers questions.
        agent: Shows the graph.
        values: The values of the state, as they change; awaited: those at the end.
        messages: The messages of models, while they are written.
        tool_calls: The calls of tools, while they are executed.
        subgraphs: The subgraphs, and what happens in them.
        subagents: The same.
        extensions: What the graph writes to streams of its own, by name.
    """

    def __init__(
        self,
        *,
        http: HttpClient,
        thread_id: str,
        assistant_id: str,
        headers: Mapping[str, str] | None = None,
        max_queue_size: int = 1024,
        run_start_timeout: float | None = None,
        explicit_thread_id: bool = False,
        transport_kind: Literal["sse", "websocket"] = "sse",
        timeout: TimeoutTypes = None,
    ) -> None:
        self.thread_id: str = thread_id
        self.assistant_id: str = assistant_id
        websocket = transport_kind == "websocket"
        transport = (ProtocolWebSocketTransport if websocket else ProtocolSseTransport)(
            client=http.client,
            thread_id=thread_id,
            headers=headers,
            timeout=timeout,
            credentials=http.credentials,
        )
        self._session = session = Session(
            http,
            transport,
            thread_id,
            headers=headers,
            timeout=timeout,
            named=explicit_thread_id,
            gate_seconds=run_start_timeout,
            queue_size=max_queue_size,
            title=type(self).__name__,
        )
        self.run: RunModule = RunModule(self)
        self.agent: AgentModule = AgentModule(self)
        self.values: ValuesProjection = ValuesProjection(session)
        self.messages: MessagesProjection = MessagesProjection(session)
        self.tool_calls: ToolCallsProjection = ToolCallsProjection(session)
        self.subgraphs: SubgraphsProjection = SubgraphsProjection(session)
        self.subagents: SubgraphsProjection = self.subgraphs
        self.extensions: ExtensionsProjection = ExtensionsProjection(session)

    @property
    def interrupted(self) -> bool:
        """Whether a run waits for an answer."""
        return self._session.hub.core.interrupted

    @interrupted.setter
    def interrupted(self, value: bool) -> None:
        self._session.hub.core.interrupted = value

    @property
    def interrupts(self) -> list[InterruptPayload]:
        """The questions that wait for an answer, in a list that is kept up to date.

        The end of the run puts an empty list in its place.
        """
        return self._session.hub.core.interrupts

    @interrupts.setter
    def interrupts(self, value: list[InterruptPayload]) -> None:
        self._session.hub.core.interrupts = value

    @property
    def output(self) -> AsyncLater[Any]:
        """The values that the run leaves, once it has ended.

        While a question is open it waits: for the answer, and for the rest of the run. It works
        outside the context too, when the end of the run was seen inside.

        Raises:
            RuntimeError: no run was started, or it failed, or it was cut short, or the context was
                left before the end of the run.
        """
        return async_later(self._session.output)

    async def get_output(self, *, timeout: float | None = None) -> Any:
        """Wait for the end of the run; return the values that it has left.

        Args:
            timeout: Seconds to wait at most.

        Raises:
            RuntimeError: no run was started, or it failed, or it was cut short.
            TimeoutError: it took longer.
        """
        return await self._session.output(timeout)

    @property
    def events(self) -> AsyncIterator[Event]:
        """All events of the thread, on a stream of their own: those that are stored, then live.

        Raises:
            RuntimeError: the context was not entered.
        """
        self._session.check_entered()
        return self._session.everything({"channels": list(CHANNELS)})

    def subscribe(
        self,
        channels: list[str],
        *,
        namespaces: list[list[str]] | None = None,
        depth: int | None = None,
    ) -> AsyncIterator[Event]:
        """Read the events of a run as they are.

        Args:
            channels: What they are about, for example `values` or `custom:progress`.
            namespaces: Prefixes of where they come from; None: from anywhere.
            depth: How many segments longer than the prefix their namespace may be.

        Returns:
            An iterator. Nothing is sent before the first iteration.

        Raises:
            RuntimeError: the context was not entered.
        """
        self._session.check_entered()
        given = {"channels": list(channels), "namespaces": namespaces, "depth": depth}
        params = cast("SubscribeParams", present(given))
        return self._session.read(params, lambda event: (event,), Cursor(), quiet=True)

    def interleave_projections(self, channels: list[str]) -> AsyncIterator[tuple[str, Any]]:
        """Read several projections in one, in the order of the events.

        Args:
            channels: Of `values`, `messages`, `tool_calls`, `subgraphs`, `updates`, `checkpoints`,
                `tasks`, and names of extensions.

        Returns:
            An iterator of names and items.

        Raises:
            ValueError: one of the names is no projection.
        """
        return aiter(Interleaving(self._session, channels))

    def observe_applied_through_seq(self, seq: Any) -> None:
        """Take notice that the server has applied a command after this event."""
        self._session.hub.core.observe(seq)

    async def close(self) -> None:
        """End all reading, and close the connections. Does nothing the second time."""
        await self._session.close()

    async def __aenter__(self) -> Self:
        """Begin to follow the thread, where one was named.

        Raises:
            RuntimeError: it has been closed.
        """
        if self._session.closed:
            raise RuntimeError(
                f"This {type(self).__name__} is closed and cannot be re-entered. "
                "Call `client.threads.stream` again."
            )
        self._session.entered = True
        if self._session.named:
            await self._session.hub.watch()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        """Close it. An error of the block is raised rather than one of closing."""
        try:
            await self.close()
        except Exception as error:
            if exc is None:
                raise
            _logger.warning("A thread stream was not closed cleanly: %s", type(error).__name__)


class RunModule:
    """Starts runs on a thread, and answers their questions."""

    def __init__(self, owner: AsyncThreadStream) -> None:
        self._owner = owner
        self._session = owner._session

    async def start(
        self,
        *,
        input: Any = None,
        config: dict[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
        langsmith_tracing: LangSmithTracing | None = None,
    ) -> dict[str, Any]:
        """Start a run. On a thread that waits for an answer the input is the answer.

        Args:
            input: The input of the graph; None: go on from the last checkpoint.
            config: The configuration of the run.
            metadata: What to remember with the run.
            langsmith_tracing: Where traces go.

        Returns:
            What the server answers: the `run_id`.

        Raises:
            RuntimeError: the server refused the command.
            APIStatusError: the server refused the request.
            APIConnectionError: the server could not be reached.
        """
        optional = {
            "input": input,
            "config": config,
            "metadata": metadata,
            "langsmith_tracer": langsmith_tracing,
        }
        params = {"assistant_id": self._owner.assistant_id, **present(optional)}
        session = self._session
        session.check()
        with session.hub.guard:
            run = session.hub.core.begin()
        try:
            result, applied = await session.command("run.start", params)
        except BaseException as error:
            with session.hub.guard:
                session.hub.core.refused(run, _told(error))
            session.hub.notify()
            raise
        with session.hub.guard:
            session.hub.core.began(run, result.get("run_id"), applied)
        session.hub.notify()
        await session.hub.watch()
        return result

    async def respond(self, response: Any, *, interrupt_id: str | None = None) -> dict[str, Any]:
        """Answer a question of the run, which then goes on.

        Args:
            response: What `interrupt()` returns in the graph.
            interrupt_id: Which question; None: the only one.

        Returns:
            What the server answers.

        Raises:
            RuntimeError: there is no such question, or it is not clear which is meant, or the
                server refused the command.
            APIStatusError: the server refused the request.
            APIConnectionError: the server could not be reached.
        """
        session = self._session
        session.check()
        core = session.hub.core
        with session.hub.guard:
            before = core.run
            interrupt = core.choose(interrupt_id)
            core.answered(interrupt)
            run = core.begin(resumes=True)
        try:
            result, applied = await session.command(
                "input.respond", {**_place(interrupt), "response": response}
            )
        except BaseException:
            with session.hub.guard:
                core.unanswered(interrupt)
                core.withdraw(run, before)
            session.hub.notify()
            raise
        with session.hub.guard:
            core.began(run, result.get("run_id"), applied)
        session.hub.notify()
        await session.hub.watch()
        return result


class AgentModule:
    """Shows the graph of the assistant."""

    def __init__(self, owner: AsyncThreadStream) -> None:
        self._owner = owner
        self._session = owner._session

    async def get_tree(
        self,
        *,
        xray: int | bool = False,
        headers: Mapping[str, str] | None = None,
        params: QueryParamTypes | None = None,
    ) -> dict[str, list[dict[str, Any]]]:
        """Get the graph (`GET /assistants/{assistant_id}/graph`).

        Args:
            xray: Whether to show subgraphs, or how many levels of them.
            headers: Headers for this request.
            params: Query parameters for this request.

        Returns:
            Its nodes and edges.

        Raises:
            RuntimeError: the thread stream is closed.
            APIStatusError: the server refused.
        """
        self._session.check()
        place = path("/assistants/{assistant_id}/graph", assistant_id=self._owner.assistant_id)
        found: dict[str, list[dict[str, Any]]] = await self._session.http.get(
            place,
            params=query({"xray": xray} if xray else {}, params),
            headers={**self._session.headers, **(headers or {})},
            timeout=self._session.timeout,
        )
        return found


def _told(error: BaseException) -> BaseException:
    """Return what to raise where others have waited for a run that was not started."""
    if isinstance(error, Exception):
        return error
    return RuntimeError("The start of the run was cancelled.")


def _place(interrupt: InterruptPayload) -> dict[str, Any]:
    return {"interrupt_id": interrupt["interrupt_id"], "namespace": interrupt["namespace"]}
