"""The words of the thread protocol."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, TypeAlias, get_args

from typing_extensions import TypedDict

__all__ = [
    "Channel",
    "Event",
    "EventParams",
    "InterruptPayload",
    "Namespace",
    "SubgraphStatus",
    "SubscribeParams",
]

_Channel: TypeAlias = Literal[
    "values",
    "updates",
    "messages",
    "tools",
    "lifecycle",
    "input",
    "checkpoints",
    "tasks",
    "custom",
]

CHANNELS: Final[tuple[_Channel, ...]] = get_args(_Channel)

Channel: TypeAlias = _Channel | Annotated[str, "custom:.+"]
"""The subjects of events; `custom:<name>` is one stream of a graph's own."""

Namespace: TypeAlias = list[str]
"""Where in the graph an event comes from: a segment per subgraph; empty: the graph itself."""

SubgraphStatus: TypeAlias = Literal["started", "completed", "failed", "interrupted"]


# Optional keys are in a class of their own: where annotations are strings, `NotRequired` is
# invisible to programs that read the keys at run time.


class _EventParams(TypedDict, total=False):
    timestamp: int
    data: Any
    node: str


class EventParams(_EventParams):
    """The content of an event.

    Attributes:
        namespace: Where it comes from.
        timestamp: Milliseconds of the server's clock.
        data: Its content; the form depends on the method.
        node: The node it comes from, where the server says so.
    """

    namespace: Namespace


class _Event(TypedDict, total=False):
    event_id: str
    seq: int


class Event(_Event):
    """One event of a thread.

    Attributes:
        type: Always `event`.
        event_id: Its identity, the same on every connection.
        seq: Its place in the sequence of the thread's events.
        method: Its subject, for example `values` or `input.requested`.
        params: Its content.
    """

    type: Literal["event"]
    method: str
    params: EventParams


class _SubscribeParams(TypedDict, total=False):
    namespaces: list[Namespace]
    depth: int


class SubscribeParams(_SubscribeParams):
    """Which events are wanted.

    Attributes:
        channels: Their subjects.
        namespaces: Prefixes of where they come from; absent: from anywhere.
        depth: How many segments longer than the prefix their namespace may be.
    """

    channels: list[Channel]


class InterruptPayload(TypedDict):
    """A question that a run waits with.

    Attributes:
        interrupt_id: The id that an answer names.
        value: What the graph gave to `interrupt()`.
        namespace: Where in the graph it was asked.
    """

    interrupt_id: str
    value: Any
    namespace: list[str]
