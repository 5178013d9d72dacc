# Generated from stream_handles.py by tools/unasync.py. Do not edit.
"""What grows while a run goes on: messages, tool calls, subgraphs."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic, TypeVar

from loomline._client.concurrency import (
    SyncGuard,
    SyncLater,
    SyncResult,
    SyncSignal,
    sync_later,
)
from loomline._client.messages import AIMessage, ai_message
from loomline.stream.decoders import MessagesDecoder, SubgraphsDecoder, ToolCallsDecoder
from loomline.stream.messages import MessageBuild
from loomline.stream.types import SubgraphStatus

T = TypeVar("T")

_UNFINISHED = "The stream ended before the message did."


class Pieces(SyncResult[T], Generic[T]):
    """The pieces of something, as they come; and the whole of it, which takes until its end.

    Every iteration begins with the first piece.
    """

    def __init__(self, owner: ChatModelStream, pieces: list[Any], whole: Callable[[], T]) -> None:
        self._owner = owner
        self._pieces = pieces
        self._whole = whole
        self._completed = False

    @property
    def done(self) -> bool:
        """Whether no more pieces come."""
        return self._completed or self._owner.done

    @property
    def error(self) -> BaseException | None:
        """Why the message has failed, if it has."""
        return None if self._completed else self._owner.error

    def complete(self, final_value: T) -> None:
        """End the pieces early, with this value as the whole."""
        self._whole = lambda: final_value
        self._completed = True
        self._owner.wake()

    def __iter__(self) -> Iterator[Any]:
        """Iterate the pieces."""
        return self._owner.follow(self._pieces, lambda: self._completed)

    def get(self) -> T:
        """Wait for the whole of it.

        Raises:
            RuntimeError: the model has failed, or the stream has ended before.
        """
        self._owner.finished(early=lambda: self._completed)
        return self._whole()


class ChatModelStream(SyncResult[AIMessage]):
    """A message of a model, while it is written.

    Awaiting it gives the whole message; iterating it gives the protocol's events.

    Attributes:
        namespace: The graph that called the model.
        node: The node that called it, where the server tells.
        message_id: The id of the message.
        text: Its text: iterate it for the pieces, it for the whole.
        reasoning: Its reasoning, likewise.
        tool_calls: Its tool calls: iterate for the pieces, for the list.
    """

    def __init__(
        self,
        *,
        namespace: list[str] | None = None,
        node: str | None = None,
        message_id: str | None = None,
        guard: SyncGuard | None = None,
    ) -> None:
        self.namespace: list[str] = list(namespace or [])
        self.node: str | None = node
        self.message_id: str | None = message_id
        self._guard = guard or SyncGuard()
        self._signal = SyncSignal(self._guard)
        self._build = build = MessageBuild()
        self.text: Pieces[str] = Pieces(self, build.text, build.whole_text)
        self.reasoning: Pieces[str] = Pieces(self, build.reasoning, build.whole_reasoning)
        self.tool_calls: Pieces[list[dict[str, Any]]] = Pieces(self, build.call_chunks, build.calls)

    def dispatch(self, data: Mapping[str, Any]) -> None:
        """Take an event of this message."""
        with self._guard:
            self._build.feed(data)
            self._signal.notify()

    def fail(self, error: BaseException) -> None:
        """End it without its rest."""
        with self._guard:
            self._build.fail(error)
            self._signal.notify()

    def close(self) -> None:
        """End it without its rest, unless it has ended."""
        self.fail(RuntimeError("The message was closed before its end."))

    def wake(self) -> None:
        """Let all readers of this message look again."""
        with self._guard:
            self._signal.notify()

    @property
    def has_events(self) -> bool:
        """Whether the message has begun."""
        return bool(self._build.events)

    @property
    def done(self) -> bool:
        """Whether nothing more comes."""
        return self._build.finished

    @property
    def error(self) -> BaseException | None:
        """Why the message has failed, if it has."""
        return self._build.error

    @property
    def output(self) -> SyncLater[AIMessage]:
        """The whole message; needs langchain-core.

        Raises:
            RuntimeError: the model has failed, or the stream has ended before.
        """
        return sync_later(self._message)

    @property
    def output_message(self) -> AIMessage | None:
        """The whole message, if it is there yet."""
        if not self.done or self._build.error is not None:
            return None
        return ai_message(self._build.message())

    def get(self) -> AIMessage:
        """Wait for the whole message; needs langchain-core.

        Raises:
            RuntimeError: the model has failed, or the stream has ended before.
        """
        return self._message(None)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Iterate the events of the protocol that made it."""
        return self.follow(self._build.events)

    def follow(self, pieces: list[Any], early: Callable[[], bool] = bool) -> Iterator[Any]:
        """Yield the items of a list and those added later, until the message ends, or early."""
        place = 0

        def more() -> bool:
            return self.done or len(pieces) > place or early()

        while not (self.done or early()) or len(pieces) > place:
            self._signal.until(more)
            while place < len(pieces):
                yield pieces[place]
                place += 1
        if self._build.error is not None and not early():
            raise self._build.error

    def finished(self, timeout: float | None = None, early: Callable[[], bool] = bool) -> None:
        """Wait until nothing more comes, or early.

        Raises:
            RuntimeError: the model has failed, or the stream has ended before.
            TimeoutError: it took longer.
        """
        if not self._signal.until(lambda: self._build.finished or early(), timeout):
            raise TimeoutError("The message was not finished in time.")
        if self._build.error is not None and not early():
            raise self._build.error

    def _message(self, timeout: float | None) -> AIMessage:
        self.finished(timeout)
        return ai_message(self._build.message())


class SyncToolCallHandle:
    """A call of a tool, while it is executed.

    Attributes:
        tool_call_id: The id of the call.
        name: The name of the tool.
        input: What it was called with.
        namespace: The graph that called it.
        done: Whether it has ended.
        error: Why it has failed, if it has.
    """

    def __init__(
        self,
        *,
        tool_call_id: str,
        name: str,
        input: Any = None,
        namespace: list[str] | None = None,
        max_queue_size: int = 1024,  # noqa: ARG002 - nothing is dropped, so nothing is limited
        guard: SyncGuard | None = None,
    ) -> None:
        self.tool_call_id: str = tool_call_id
        self.name: str = name
        self.input: Any = input
        self.namespace: list[str] = list(namespace or [])
        self.done: bool = False
        self.error: BaseException | None = None
        self._guard = guard or SyncGuard()
        self._signal = SyncSignal(self._guard)
        self._deltas: deque[Any] = deque()
        self._taken = False
        self._output: Any = None

    @property
    def output(self) -> SyncLater[Any]:
        """What the tool returned, once it has.

        Raises:
            RuntimeError: it has failed, or the stream has ended before.
        """
        return sync_later(self._result)

    @property
    def deltas(self) -> Iterator[str]:
        """What the tool tells while it works, for one reader.

        The iteration ends with the tool, also when the tool fails: the error is in `output`.

        Raises:
            RuntimeError: there is a reader already.
        """
        if self._taken:
            raise RuntimeError("The deltas of a tool call have a single consumer, which is there.")
        self._taken = True
        return self._follow()

    def push(self, delta: Any) -> None:
        """Take a piece of its output."""
        with self._guard:
            self._deltas.append(delta)
            self._signal.notify()

    def finish(self, output: Any) -> None:
        """Take its output."""
        with self._guard:
            if not self.done:
                self._output, self.done = output, True
                self._signal.notify()

    def fail(self, error: BaseException) -> None:
        """End it without an output."""
        with self._guard:
            if not self.done:
                self.error, self.done = error, True
                self._signal.notify()

    def _follow(self) -> Iterator[str]:
        while True:
            while self._deltas:
                yield self._deltas.popleft()
            if self.done and not self._deltas:
                break
            self._signal.until(lambda: self._deltas or self.done)

    def _result(self, timeout: float | None) -> Any:
        if not self._signal.until(lambda: self.done, timeout):
            raise TimeoutError("The tool did not end in time.")
        if self.error is not None:
            raise self.error
        return self._output


class Queue(Generic[T]):
    """What waits in a subgraph for whoever asks, from its beginning on."""

    def __init__(self, guard: SyncGuard) -> None:
        self._items: deque[T] = deque()
        self._guard = guard
        self._signal = SyncSignal(guard)
        self._over = False

    def put(self, item: T) -> None:
        """Add an item."""
        self._items.append(item)
        self._signal.notify()

    def end(self) -> None:
        """Take notice that nothing more comes."""
        self._over = True
        self._signal.notify()

    def __iter__(self) -> Iterator[T]:
        """Take the items, as they come, to the end."""
        while True:
            while self._items:
                yield self._items.popleft()
            if self._over and not self._items:
                return
            self._signal.until(lambda: self._items or self._over)


class ScopedExtensions:
    """What a subgraph writes to its own streams, by name."""

    def __init__(self, guard: SyncGuard) -> None:
        self._guard = guard
        self._queues: dict[str, Queue[dict[str, Any]]] = {}
        self._over = False

    def __getitem__(self, name: str) -> Queue[dict[str, Any]]:
        """Return the stream of a name.

        Raises:
            ValueError: the name is empty.
        """
        if not name:
            raise ValueError("The name of an extension must be a non-empty string")
        with self._guard:
            if name not in self._queues:
                self._queues[name] = Queue(self._guard)
                if self._over:
                    self._queues[name].end()
            return self._queues[name]

    def push(self, data: Any) -> None:
        """Take the data of a custom event."""
        name = data.get("name") if isinstance(data, dict) else None
        if isinstance(name, str) and name:
            self[name].put(data)

    def end(self) -> None:
        """Take notice that nothing more comes."""
        self._over = True
        for queue in self._queues.values():
            queue.end()


class SyncScopedStreamHandle:
    """A subgraph that runs, and what happens in it.

    What happens waits here from its beginning on, so it can be read at any time, once.

    Attributes:
        path: Its namespace, as a tuple.
        namespace: Its namespace.
        graph_name: The node that runs it: the last segment of its namespace up to the colon.
        agent_name: The name of its agent, where the server reports another name than the node's.
        trigger_call_id: The task or the tool call that runs it.
        status: How far it is.
        error: Why it has failed, if it has.
        messages: The messages of its models.
        tool_calls: Its tool calls.
        subgraphs: Its own subgraphs.
        subagents: The same.
        extensions: What it writes to streams of its own, by name.
    """

    def __init__(
        self,
        *,
        thread: object,  # noqa: ARG002 - part of the interface; the guard is enough here
        path: tuple[str, ...],
        graph_name: str | None,
        trigger_call_id: str | None,
        max_queue_size: int = 0,  # noqa: ARG002 - nothing is dropped, so nothing is limited
        guard: SyncGuard | None = None,
    ) -> None:
        self.path: tuple[str, ...] = tuple(path)
        self.namespace: list[str] = list(path)
        self.graph_name: str | None = graph_name
        self.trigger_call_id: str | None = trigger_call_id
        self.agent_name: str | None = None
        self.status: SubgraphStatus = "started"
        self.error: str | None = None
        self._guard = guard = guard or SyncGuard()
        self.messages: Queue[ChatModelStream] = Queue(guard)
        self.tool_calls: Queue[SyncToolCallHandle] = Queue(guard)
        self.subgraphs: Queue[SyncScopedStreamHandle] = Queue(guard)
        self.subagents: Queue[SyncScopedStreamHandle] = self.subgraphs
        self.extensions: ScopedExtensions = ScopedExtensions(guard)
        self._makers = Makers(guard)
        self._messages = MessagesDecoder(self.namespace, self._makers.message)
        self._tools = ToolCallsDecoder(self.namespace, self._makers.tool_call)
        self._children = SubgraphsDecoder(self.path, self._makers.subgraph)

    def push(self, event: Mapping[str, Any]) -> None:
        """Take an event of it or of what is below."""
        with self._guard:
            method = event.get("method")
            if method == "lifecycle":
                self._learn(event["params"])
            elif method == "custom":
                self.extensions.push(event["params"].get("data"))
            for message in self._messages.feed(event):
                self.messages.put(message)
            for call in self._tools.feed(event):
                self.tool_calls.put(call)
            for child in self._children.feed(event):
                self.subgraphs.put(child)

    def _learn(self, params: Mapping[str, Any]) -> None:
        """Take the name of the agent from the event that begins it."""
        data = params.get("data")
        if not isinstance(data, dict) or params.get("namespace") != self.namespace:
            return
        name = data.get("graph_name")
        if data.get("event") == "started" and isinstance(name, str) and name != self.graph_name:
            self.agent_name = name

    def finish(self, status: SubgraphStatus, error: str | None = None) -> None:
        """Take notice of its end."""
        with self._guard:
            if self.status != "started":
                return
            self.status, self.error = status, error
            reason = RuntimeError(error or _UNFINISHED)
            self._messages.fail(reason)
            self._tools.fail(RuntimeError(error) if error else None)
            self._children.finish(status, error)
            for queue in (self.messages, self.tool_calls, self.subgraphs):
                queue.end()
            self.extensions.end()


class Makers:
    """Make the objects that decoders feed."""

    def __init__(self, guard: SyncGuard) -> None:
        self._guard = guard

    def message(
        self, *, namespace: list[str], node: str | None, message_id: str | None
    ) -> ChatModelStream:
        """Return a message that has begun."""
        return ChatModelStream(
            namespace=namespace, node=node, message_id=message_id, guard=self._guard
        )

    def tool_call(
        self,
        *,
        tool_call_id: str,
        name: str,
        input: Any,
        namespace: list[str],
    ) -> SyncToolCallHandle:
        """Return a tool call that has begun."""
        return SyncToolCallHandle(
            tool_call_id=tool_call_id,
            name=name,
            input=input,
            namespace=namespace,
            guard=self._guard,
        )

    def subgraph(
        self, *, path: tuple[str, ...], graph_name: str | None, trigger_call_id: str | None
    ) -> SyncScopedStreamHandle:
        """Return a subgraph that has begun."""
        return SyncScopedStreamHandle(
            thread=None,
            path=path,
            graph_name=graph_name,
            trigger_call_id=trigger_call_id,
            guard=self._guard,
        )
