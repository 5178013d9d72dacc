"""The thread protocol: numbered events of a thread, and which of them a reader wants.

Every event has a number that increases along the thread, whichever runs it comes from. Who reads
names the last number it has and gets what follows.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias, cast

import orjson

from loomline.schema import RunStatus
from loomline.server.domain.errors import InvalidInput
from loomline.server.domain.events import Event
from loomline.server.domain.json import Encoded, Json, JsonObject, dump, load_object

Namespace: TypeAlias = tuple[str, ...]
"""The way from the root graph to a subgraph, a segment ``node:task`` for each step."""

ROOT: Namespace = ()

PROTOCOL = "loomline:protocol"
"""The mode of the events of this protocol among the events of a run."""

CHANNELS = (
    "values", "updates", "messages", "tools", "custom", "lifecycle", "input", "checkpoints",
    "tasks",
)  # fmt: skip
"""The channels, in the order of the error that lists them."""

_NAMED = "custom:"
_CHANNEL_OF = {"input.requested": "input", "input.answered": "input"}

# Hardly ever in names. Where they are, two characters stand for one.
_SEPARATOR = "\x1f"
_ESCAPE = "\x1e"
_ESCAPED = {_ESCAPE: _ESCAPE + "0", _SEPARATOR: _ESCAPE + "1"}
_ESCAPING = str.maketrans(_ESCAPED)

REFUSAL = ("reason", "interrupt_ids", "pending_ids")
"""The fields of the error when a graph refuses a run's answers."""

END = "end"
"""The name of the lifecycle event of the root graph that ends a run."""


PLAIN_STEP = 4
"""Numbers that an event of a run without this protocol takes up: it may become several."""

PLAIN_END = 16 * PLAIN_STEP
"""Numbers for how such a run ends, and for what it asks."""


class Numbered(NamedTuple):
    """An event as readers get it. ``key`` is all that decides who wants it."""

    number: int
    key: str
    data: Encoded


class Topic(NamedTuple):
    """What an event is about. ``name`` is that of a custom event, or ``END``."""

    method: str
    namespace: Namespace = ROOT
    name: str = ""

    @property
    def key(self) -> str:
        parts = (self.method, self.name, *self.namespace)
        key = _SEPARATOR.join(parts)
        if key.count(_SEPARATOR) == len(parts) - 1 and _ESCAPE not in key:
            return key
        return _SEPARATOR.join(part.translate(_ESCAPING) for part in parts)

    @classmethod
    def of(cls, key: str) -> Topic:
        method, name, *namespace = map(_unescaped, key.split(_SEPARATOR))
        return cls(method, tuple(namespace), name)


def _unescaped(part: str) -> str:
    if _ESCAPE not in part:
        return part
    return part.replace(_ESCAPED[_SEPARATOR], _SEPARATOR).replace(_ESCAPED[_ESCAPE], _ESCAPE)


RUN_ENDS: str = Topic("lifecycle", name=END).key

ANSWERED = Topic("input.answered")
"""The event that a run begins with that answers questions by their ids."""

_QUESTION_ID = re.compile(r"[0-9a-f]{32}")


def logged(event: Numbered) -> Event:
    """Return an event as the log of its run keeps it."""
    return Event(f"{event.number}{_SEPARATOR}{event.key}", event.data, PROTOCOL)


def numbered(event: Event) -> Numbered:
    """Return an event that was logged."""
    number, _, key = event.name.partition(_SEPARATOR)
    return Numbered(int(number), key, event.data)


def dump_events(events: Iterable[Numbered]) -> Encoded:
    """Return events in the form that is stored."""
    rows = [b"[%d,%b,%b]" % (each.number, dump(each.key), each.data) for each in events]
    return Encoded(b"[%b]" % b",".join(rows))


def load_events(stored: Encoded) -> list[Numbered]:
    """Return events that were stored."""
    rows = cast("list[tuple[int, str, JsonObject]]", orjson.loads(stored))
    return [Numbered(number, key, dump(data)) for number, key, data in rows]


def make_event(
    run: str,
    number: int,
    topic: Topic,
    data: Encoded,
    *,
    milliseconds: int,
    node: str = "",
    identity: str = "",
) -> Numbered:
    """Return an event, encoded as clients get it.

    Args:
        run: The id of its run.
        number: Its number.
        topic: What it is about.
        data: Its payload.
        milliseconds: When it happened, since 1970.
        node: The node it comes from, if one is to be told.
        identity: What tells it from the other events of its run; its number does unless given.
    """
    # The JavaScript SDK reads the run of an event from identities of this form, and of no other.
    content = b'{"type":"event","event_id":"synth:%b:%b","seq":%d,"method":"%b","params":%b}' % (
        run.encode(),
        (identity or str(number)).encode(),
        number,
        topic.method.encode(),
        _params(topic.namespace, data, milliseconds, node),
    )
    return Numbered(number, topic.key, Encoded(content))


def _params(namespace: Namespace, data: Encoded, milliseconds: int, node: str) -> bytes:
    return b'{"namespace":%b,"timestamp":%d,"data":%b%b}' % (
        b"[]" if not namespace else dump(namespace),
        milliseconds,
        data,
        b"" if not node else b',"node":' + dump(node),
    )


def run_of(event: Mapping[str, Json]) -> str:
    """Return the id of the run that an event of the protocol belongs to."""
    return str(event["event_id"]).split(":")[1]


def answered(resume: object) -> list[str]:
    """Return the ids of the questions that a resuming run answers by id.

    Args:
        resume: The answers. They are by id if they are an object with nothing but ids as keys.
    """
    if not isinstance(resume, Mapping):
        return []
    ids = [key for key in resume if isinstance(key, str) and _QUESTION_ID.fullmatch(key)]
    return ids if len(ids) == len(resume) else []


def run_end(
    status: RunStatus, error: Encoded | None, *, waits: bool
) -> tuple[str, JsonObject | None]:
    """Return how a run ended, and the fields of the error that clients are shown.

    Args:
        status: The status of the run.
        error: What is stored of its error.
        waits: Whether its thread is interrupted.
    """
    if status in {"error", "timeout"}:
        shown = {} if error is None else load_object(error)
        message = str(shown.get("message") or shown.get("error") or status)
        refusal = {key: shown[key] for key in REFUSAL if key in shown}
        return "failed", {"error": message, **refusal}
    return "interrupted" if waits or status == "interrupted" else "completed", None


def ending(status: str, graph_name: str, error: JsonObject | None) -> JsonObject:
    """Return the payload of the event that ends a run."""
    return {"event": status, "graph_name": graph_name, **(error or {})}


@dataclass(frozen=True, slots=True)
class Filter:
    """Which events a reader wants.

    ``names`` are those of the custom events it wants, where it does not want all of them. Without
    ``prefixes`` it wants all namespaces; ``depth`` bounds how far below a prefix.
    """

    channels: frozenset[str]
    names: frozenset[str] = frozenset()
    prefixes: tuple[Namespace, ...] = ()
    depth: int | None = None

    def wants(self, topic: Topic) -> bool:
        channel = _CHANNEL_OF.get(topic.method, topic.method)
        named = channel == "custom" and topic.name in self.names
        if channel not in self.channels and not named:
            return False
        return not self.prefixes or any(self._covers(each, topic) for each in self.prefixes)

    def _covers(self, prefix: Namespace, topic: Topic) -> bool:
        below = len(topic.namespace) - len(prefix)
        if below < 0 or (self.depth is not None and below > self.depth):
            return False
        return all(
            wanted == segment or (":" not in wanted and wanted == segment.partition(":")[0])
            for wanted, segment in zip(prefix, topic.namespace, strict=False)
        )


_REMEMBERED = 1024


@dataclass(slots=True)
class Selection:
    """The filters of one reader: an event that several of them want is wanted once."""

    filters: Sequence[Filter]
    _known: dict[str, bool] = field(default_factory=dict)

    def wants(self, key: str) -> bool:
        found = self._known.get(key)
        return self._look(key) if found is None else found

    def _look(self, key: str) -> bool:
        topic = Topic.of(key)
        wanted = any(each.wants(topic) for each in self.filters)
        if len(self._known) >= _REMEMBERED:  # every task of a subgraph has a namespace of its own
            self._known.clear()
        self._known[key] = wanted
        return wanted


def make_filter(given: JsonObject) -> Filter:
    """Return the filter that a request describes; what else it says is left alone.

    Raises:
        InvalidInput: its channels are missing or unknown.
    """
    channels = given.get("channels")
    if not isinstance(channels, list) or not channels:
        raise NoChannels
    unknown = [str(each)[:200] for each in channels if not _known(each)]
    if unknown:
        raise UnknownChannels(unknown)
    asked = cast("list[str]", channels)
    prefixes = _prefixes(given.get("namespaces"))
    depth = given.get("depth")
    bounded = isinstance(depth, int) and not isinstance(depth, bool) and depth >= 0
    return Filter(
        channels=frozenset(each for each in asked if not each.startswith(_NAMED)),
        names=frozenset(each.removeprefix(_NAMED) for each in asked if each.startswith(_NAMED)),
        prefixes=prefixes,
        depth=cast("int", depth) if prefixes and bounded else None,
    )


def since(given: JsonObject) -> int:
    """Return the number after which events are wanted."""
    value = given.get("since")
    whole = isinstance(value, int) and not isinstance(value, bool)
    return max(cast("int", value), 0) if whole else 0


class NoChannels(InvalidInput):
    def __init__(self) -> None:
        super().__init__("channels is required and must be a non-empty array")


class UnknownChannels(InvalidInput):
    def __init__(self, unknown: Iterable[str]) -> None:
        super().__init__(
            f"channels contains unsupported entries: {', '.join(unknown)}. Allowed:"
            f" {', '.join(CHANNELS)}, custom:<name>"
        )


def _known(channel: Json) -> bool:
    if not isinstance(channel, str):
        return False
    return channel in CHANNELS or (channel.startswith(_NAMED) and len(channel) > len(_NAMED))


def _prefixes(given: Json) -> tuple[Namespace, ...]:
    if not isinstance(given, list):
        return ()
    lists = [each for each in given if isinstance(each, list)]
    texts = [each for each in lists if all(isinstance(part, str) for part in each)]
    return tuple(tuple(cast("list[str]", each)) for each in texts)
