"""Objects on the wire. Times are ISO 8601 strings, as the server sends them."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NotRequired, TypeAlias

from typing_extensions import TypedDict

from loomline.schema._inputs import Context, Input
from loomline.schema._literals import (
    All,
    Durability,
    MultitaskStrategy,
    OnCompletionBehavior,
    RunStatus,
    StreamMode,
    ThreadStatus,
)


class Config(TypedDict, total=False):
    """How a run is executed."""

    tags: list[str]
    recursion_limit: int
    configurable: dict[str, Any]


class Checkpoint(TypedDict):
    """Where a run starts, or where a state was stored."""

    thread_id: str
    checkpoint_ns: str
    checkpoint_id: str | None
    checkpoint_map: dict[str, Any] | None


class Send(TypedDict):
    """A node to go to, with an input of its own."""

    node: str
    input: dict[str, Any] | None


class Command(TypedDict, total=False):
    """What a run is told instead of an input."""

    goto: Send | str | Sequence[Send | str]
    update: Mapping[str, Any] | Sequence[tuple[str, Any]]
    resume: Any


class LangSmithTracing(TypedDict, total=False):
    """Where the traces of a run go."""

    project_name: str
    example_id: str


class AssistantBase(TypedDict):
    """What an assistant and each of its versions have in common."""

    assistant_id: str
    graph_id: str
    config: Config
    context: dict[str, Any]
    created_at: str
    metadata: dict[str, Any]
    version: int
    name: str
    description: str | None


class AssistantVersion(AssistantBase):
    """An earlier or the present content of an assistant."""


class Assistant(AssistantBase):
    """A graph with a configuration of its own."""

    updated_at: str


class AssistantsSearchResponse(TypedDict):
    """A page of assistants, and where the next one begins."""

    assistants: list[Assistant]
    next: str | None


class GraphSchema(TypedDict):
    """JSON schemas of a graph; None where one cannot be made."""

    graph_id: str
    input_schema: dict[str, Any] | None
    output_schema: dict[str, Any] | None
    state_schema: dict[str, Any] | None
    config_schema: dict[str, Any] | None
    context_schema: dict[str, Any] | None


Subgraphs: TypeAlias = dict[str, GraphSchema]
"""The schemas of subgraphs, by namespace."""


class Interrupt(TypedDict):
    """A question that a graph waits for the answer to."""

    value: Any
    id: str
    response_schema: NotRequired[dict[str, Any]]


class Thread(TypedDict):
    """A conversation and its state."""

    thread_id: str
    created_at: str
    updated_at: str
    state_updated_at: NotRequired[str]
    metadata: dict[str, Any]
    status: ThreadStatus
    config: NotRequired[Config]
    values: dict[str, Any] | None
    interrupts: dict[str, list[Interrupt]]
    error: NotRequired[dict[str, str] | None]
    ttl: NotRequired[dict[str, Any]]
    extracted: NotRequired[dict[str, Any]]


class ThreadTask(TypedDict):
    """A step of a graph that is due, or was when the state was stored."""

    id: str
    name: str
    error: str | None
    interrupts: list[Interrupt]
    checkpoint: Checkpoint | None
    state: "ThreadState | None"
    result: dict[str, Any] | None


class ThreadState(TypedDict):
    """The state of a thread at one checkpoint."""

    values: list[dict[str, Any]] | dict[str, Any]
    next: Sequence[str]
    checkpoint: Checkpoint
    metadata: dict[str, Any]
    created_at: str | None
    parent_checkpoint: Checkpoint | None
    tasks: Sequence[ThreadTask]
    interrupts: list[Interrupt]


class ThreadUpdateStateResponse(TypedDict):
    """Where an update of a state was stored."""

    checkpoint: Checkpoint


class Run(TypedDict):
    """An execution of a graph on a thread."""

    run_id: str
    thread_id: str
    assistant_id: str
    created_at: str
    updated_at: str
    status: RunStatus
    metadata: dict[str, Any]
    multitask_strategy: MultitaskStrategy
    kwargs: NotRequired[dict[str, Any]]
    cancel_reason: NotRequired[str | None]


class RunCreate(TypedDict):
    """One run of a batch."""

    thread_id: str | None
    assistant_id: str
    input: NotRequired[Input | None]
    metadata: NotRequired[Mapping[str, Any] | None]
    config: NotRequired[Config | None]
    context: NotRequired[Context | None]
    checkpoint_id: NotRequired[str | None]
    interrupt_before: NotRequired[list[str] | None]
    interrupt_after: NotRequired[list[str] | None]
    webhook: NotRequired[str | None]
    multitask_strategy: NotRequired[MultitaskStrategy | None]


class RunCreateMetadata(TypedDict):
    """What the server says of a run as soon as it exists."""

    run_id: str
    thread_id: str | None


class Cron(TypedDict):
    """A run that is started again and again."""

    cron_id: str
    assistant_id: str
    thread_id: str | None
    on_run_completed: OnCompletionBehavior | None
    end_time: str | None
    schedule: str
    timezone: str | None
    created_at: str
    updated_at: str
    payload: dict[str, Any]
    user_id: str | None
    next_run_date: str | None
    metadata: dict[str, Any]
    enabled: bool


class CronUpdate(TypedDict, total=False):
    """What of a cron can be changed."""

    schedule: str
    timezone: str
    end_time: datetime
    input: Input
    metadata: dict[str, Any]
    config: Config
    context: Context
    webhook: str
    interrupt_before: All | list[str]
    interrupt_after: All | list[str]
    on_run_completed: OnCompletionBehavior
    enabled: bool
    stream_mode: StreamMode | list[StreamMode]
    stream_subgraphs: bool
    stream_resumable: bool
    durability: Durability


class Item(TypedDict):
    """A value of the store, with its place."""

    namespace: list[str]
    key: str
    value: dict[str, Any]
    created_at: str
    updated_at: str


class SearchItem(Item):
    """A value that a search has found; `score` is its similarity to the query, in -1 to 1."""

    score: NotRequired[float | None]


class SearchItemsResponse(TypedDict):
    """What a search of the store has found."""

    items: list[SearchItem]


class ListNamespaceResponse(TypedDict):
    """Namespaces of the store."""

    namespaces: list[list[str]]


class ServerInfo(TypedDict, total=False):
    """What a server says of itself."""

    version: str
    langgraph_py_version: str
    flags: dict[str, bool]
    host: dict[str, Any]
    metadata: dict[str, Any]
