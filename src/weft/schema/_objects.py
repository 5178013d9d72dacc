"""Objects on the wire."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

from typing_extensions import TypedDict

from weft.schema._literals import MultitaskStrategy, RunStatus, ThreadStatus

Json: TypeAlias = Mapping[str, Any] | None
"""A JSON object, or none."""

Input: TypeAlias = Mapping[str, Any] | Sequence[Any] | object
"""What a graph takes: an object, or a model or dataclass that encodes as one."""

Context: TypeAlias = Mapping[str, Any] | object
"""Static context of a run, in the same forms as input."""

All: TypeAlias = Literal["*"]
"""Every node."""

QueryParamTypes: TypeAlias = Mapping[str, Any] | Sequence[tuple[str, Any]] | str
"""Extra query parameters: by name, as pairs, or as the text of a query."""


class Config(TypedDict, total=False):
    """How a run is executed."""

    tags: list[str]
    recursion_limit: int
    configurable: dict[str, Any]


class Checkpoint(TypedDict, total=False):
    """Where a run starts, or where a state was stored."""

    thread_id: str
    checkpoint_ns: str
    checkpoint_id: str | None
    checkpoint_map: dict[str, Any] | None


class Command(TypedDict, total=False):
    """What a run is told instead of an input."""

    goto: Any
    update: dict[str, Any] | Sequence[tuple[str, Any]]
    resume: Any


class LangSmithTracing(TypedDict, total=False):
    """Where the traces of a run go."""

    project_name: str
    example_id: str


class Thread(TypedDict):
    """A conversation and its state. Times are ISO 8601."""

    thread_id: str
    created_at: str
    updated_at: str
    state_updated_at: str
    metadata: dict[str, Any]
    status: ThreadStatus
    config: dict[str, Any]
    values: Any
    interrupts: dict[str, list[dict[str, Any]]]
    error: dict[str, str] | None


class Run(TypedDict):
    """An execution of a graph on a thread. Times are ISO 8601."""

    run_id: str
    thread_id: str
    assistant_id: str
    created_at: str
    updated_at: str
    status: RunStatus
    metadata: dict[str, Any]
    multitask_strategy: MultitaskStrategy
    kwargs: dict[str, Any]


class RunCreateMetadata(TypedDict):
    """What the server says of a run as soon as it exists."""

    run_id: str
    thread_id: str | None


class StreamPartV2(TypedDict):
    """One event of a stream in the second form: the namespace apart from the type."""

    type: str
    ns: list[str]
    data: Any
    interrupts: list[dict[str, Any]]


RunSelectField: TypeAlias = Literal[
    "run_id",
    "thread_id",
    "assistant_id",
    "created_at",
    "updated_at",
    "status",
    "metadata",
    "kwargs",
    "multitask_strategy",
]
"""A field of a run that a listing can be limited to."""

StreamVersion: TypeAlias = Literal["v1", "v2"]
"""The form in which events are handed out."""
