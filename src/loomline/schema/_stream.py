"""What a stream of events consists of, in both forms."""

from typing import Any, Literal, NamedTuple, NotRequired, TypeAlias

from typing_extensions import TypedDict


class StreamPart(NamedTuple):
    """One event of a stream.

    ``data`` is the decoded payload (any JSON value, None where there is none), ``id`` the last
    event id that the server has sent.
    """

    event: str
    data: Any
    id: str | None = None


class RunMetadataPayload(TypedDict):
    """The first event of a run."""

    run_id: str
    attempt: NotRequired[int]


class CheckpointTaskPayload(TypedDict):
    """A task, as a checkpoint tells of it."""

    id: str
    name: str
    error: NotRequired[str]
    result: NotRequired[Any]
    interrupts: NotRequired[list[dict[str, Any]]]
    state: dict[str, Any] | None


class CheckpointPayload(TypedDict):
    """A state that has been stored."""

    config: dict[str, Any] | None
    metadata: dict[str, Any]
    values: dict[str, Any]
    next: list[str]
    parent_config: dict[str, Any] | None
    tasks: list[CheckpointTaskPayload]


class TaskPayload(TypedDict):
    """A task that begins."""

    id: str
    name: str
    input: Any
    triggers: list[str]


class TaskResultPayload(TypedDict):
    """A task that has ended."""

    id: str
    name: str
    error: str | None
    interrupts: list[dict[str, Any]]
    result: dict[str, Any]


class ErrorPayload(TypedDict):
    """Why a run has failed: the class of the exception and its text."""

    error: str
    message: str


class _DebugCheckpointPayload(TypedDict):
    step: int
    timestamp: str
    type: Literal["checkpoint"]
    payload: CheckpointPayload


class _DebugTaskPayload(TypedDict):
    step: int
    timestamp: str
    type: Literal["task"]
    payload: TaskPayload


class _DebugTaskResultPayload(TypedDict):
    step: int
    timestamp: str
    type: Literal["task_result"]
    payload: TaskResultPayload


DebugPayload: TypeAlias = _DebugCheckpointPayload | _DebugTaskPayload | _DebugTaskResultPayload
"""An event of the mode `debug`."""


class _Part(TypedDict):
    """What every event of the second form has."""

    ns: list[str]
    interrupts: list[dict[str, Any]]


class ValuesStreamPart(_Part):
    """The whole state after a step; `interrupts` are the questions that it waits for."""

    type: Literal["values"]
    data: dict[str, Any]


class UpdatesStreamPart(_Part):
    """What nodes have returned."""

    type: Literal["updates"]
    data: dict[str, Any]


class MessagesPartialStreamPart(_Part):
    """Messages so far."""

    type: Literal["messages/partial"]
    data: list[dict[str, Any]]


class MessagesCompleteStreamPart(_Part):
    """Messages that are complete."""

    type: Literal["messages/complete"]
    data: list[dict[str, Any]]


class MessagesMetadataStreamPart(_Part):
    """Where messages come from."""

    type: Literal["messages/metadata"]
    data: dict[str, Any]


class MessagesTupleStreamPart(_Part):
    """A piece of a message, and where it comes from."""

    type: Literal["messages"]
    data: list[dict[str, Any]]


class CustomStreamPart(_Part):
    """What a node has written to its stream."""

    type: Literal["custom"]
    data: Any


class EventsStreamPart(_Part):
    """An event of langchain's callbacks."""

    type: Literal["events"]
    data: dict[str, Any]


class ToolsStreamPart(_Part):
    """What a tool does."""

    type: Literal["tools"]
    data: dict[str, Any]


class LifecycleStreamPart(_Part):
    """The beginning or the end of a run or of a subgraph."""

    type: Literal["lifecycle"]
    data: dict[str, Any]


class CheckpointsStreamPart(_Part):
    """A state that has been stored."""

    type: Literal["checkpoints"]
    data: CheckpointPayload


class TasksStreamPart(_Part):
    """A task that begins or has ended."""

    type: Literal["tasks"]
    data: TaskPayload | TaskResultPayload


class DebugStreamPart(_Part):
    """A checkpoint or a task, with its step."""

    type: Literal["debug"]
    data: DebugPayload


class MetadataStreamPart(_Part):
    """The ids of the run, first of all."""

    type: Literal["metadata"]
    data: RunMetadataPayload


class ErrorStreamPart(_Part):
    """The run has failed."""

    type: Literal["error"]
    data: ErrorPayload


StreamPartV2: TypeAlias = (
    ValuesStreamPart
    | UpdatesStreamPart
    | MessagesPartialStreamPart
    | MessagesCompleteStreamPart
    | MessagesMetadataStreamPart
    | MessagesTupleStreamPart
    | CustomStreamPart
    | EventsStreamPart
    | ToolsStreamPart
    | LifecycleStreamPart
    | CheckpointsStreamPart
    | TasksStreamPart
    | DebugStreamPart
    | MetadataStreamPart
    | ErrorStreamPart
)
"""One event of a stream in the second form: its namespace apart from its type."""
