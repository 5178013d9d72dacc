"""The request of a run: the only reader and writer of its JSON, the column ``kwargs``."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final, Literal, TypeAlias, cast

from loomline.schema import Durability, StreamMode
from loomline.server.domain.json import Encoded, Json, JsonObject, dump, load_object
from loomline.server.domain.reserved import THREAD_EVENTS
from loomline.server.domain.secrets import MASK

THREAD_MODES: Final = (
    "values", "updates", "messages", "tools", "lifecycle", "custom", "tasks", "checkpoints",
)  # fmt: skip
"""The stream modes of a run with events of the thread protocol, in the order that clients know.

Every channel of the protocol except ``input`` is a stream mode; the events of ``input`` come from
the state.
"""

Nodes: TypeAlias = Literal["*"] | list[str] | None

EventKind: TypeAlias = Literal["plain", "thread"]
"""``thread``: the run reports itself in the events of the thread protocol."""

_SECRETS: Final = "secret_headers"
_LISTED: Final = f'"{_SECRETS}":'.encode()
_MARKED: Final = f'"{THREAD_EVENTS}":true'.encode()


@dataclass(frozen=True, slots=True)
class RunSpec:
    """A run's request, after the server has completed it.

    Attributes:
        command: The command as the client has sent it; None: the graph starts with ``input``.
        config: The config of assistant and request. Neither clients nor handlers decide the kind of
            events, so the marker of the thread protocol is not part of it.
        context: The values of ``configurable`` that the user has set.
        modes: The stream modes of the request.
        events: The kind of events that the run has.
        secrets: The names of the values in ``configurable`` that clients may not see.
        more: Every other member, such as members that a handler of ``auth`` has added.
    """

    input: Json = None
    command: JsonObject | None = None
    config: JsonObject = field(default_factory=dict)
    context: JsonObject = field(default_factory=dict)
    modes: tuple[StreamMode, ...] = ()
    subgraphs: bool = False
    durability: Durability = "async"
    interrupt_before: Nodes = None
    interrupt_after: Nodes = None
    events: EventKind = "plain"
    temporary: bool = False
    resumable: bool = False
    webhook: str | None = None
    feedback_keys: Json = None
    timeout_seconds: float | None = None
    strict_resume: bool | None = None
    tracer: JsonObject | None = None
    secrets: tuple[str, ...] = ()
    more: JsonObject = field(default_factory=dict)

    @classmethod
    def load(cls, encoded: Encoded) -> RunSpec:
        return cls.of(load_object(encoded))

    @classmethod
    def of(cls, document: JsonObject) -> RunSpec:
        """Return the request that a decoded object describes; absent members have defaults."""
        given = dict(document)
        given.pop("checkpoint_during", None)  # follows from the durability
        config, events = _unmarked(cast("JsonObject", given.pop("config", None) or {}))
        return cls(
            input=given.pop("input", None),
            command=cast("JsonObject | None", given.pop("command", None)),
            config=config,
            context=cast("JsonObject", given.pop("context", None) or {}),
            modes=tuple(cast("list[StreamMode]", given.pop("stream_mode", ()))),
            subgraphs=cast("bool", given.pop("subgraphs", False)),
            durability=cast("Durability", given.pop("durability", "async")),
            interrupt_before=cast("Nodes", given.pop("interrupt_before", None)),
            interrupt_after=cast("Nodes", given.pop("interrupt_after", None)),
            events=events,
            temporary=cast("bool", given.pop("temporary", False)),
            resumable=cast("bool", given.pop("resumable", False)),
            webhook=cast("str | None", given.pop("webhook", None)),
            feedback_keys=given.pop("feedback_keys", None),
            timeout_seconds=cast("float | None", given.pop("timeout_seconds", None)),
            strict_resume=cast("bool | None", given.pop("strict_resume", None)),
            tracer=cast("JsonObject | None", given.pop("langsmith_tracer", None)),
            secrets=tuple(cast("list[str]", given.pop(_SECRETS, ()))),
            more=given,
        )

    def document(self) -> JsonObject:
        """Return the object for the stored JSON; it shares the values of the request."""
        made: JsonObject = {
            **self.more,
            **self._options(),
            "input": self.input,
            "command": self.command,
            "stream_mode": list(self.modes),
            "interrupt_before": cast("Json", self.interrupt_before),
            "interrupt_after": cast("Json", self.interrupt_after),
            "webhook": self.webhook,
            "feedback_keys": self.feedback_keys,
            "temporary": self.temporary,
            "subgraphs": self.subgraphs,
            "resumable": self.resumable,
            "checkpoint_during": self.durability != "exit",
            "durability": self.durability,
            "config": {**self.config, "configurable": self.configurable},
            "context": self.context,
        }
        if self.secrets:
            made[_SECRETS] = list(self.secrets)
        return made

    def dump(self) -> Encoded:
        """Return the JSON of the request.

        Raises:
            TooDeep: the request is nested deeper than JSON can be stored.
        """
        return dump(self.document())

    def _options(self) -> JsonObject:
        """Return the members that the reference does not know, as far as the client set them."""
        given: JsonObject = {
            "strict_resume": self.strict_resume,
            "langsmith_tracer": self.tracer,
            "timeout_seconds": self.timeout_seconds,
        }
        return {name: value for name, value in given.items() if value is not None}

    @property
    def configurable(self) -> JsonObject:
        """The ``configurable`` that graphs get, with the marker of the thread protocol."""
        given = cast("JsonObject", self.config.get("configurable") or {})
        return {**given, THREAD_EVENTS: True} if self.events == "thread" else given

    @property
    def resume(self) -> Json:
        """The answers of a run that resumes; None: the run answers nothing."""
        return None if self.command is None else self.command.get("resume")

    def with_thread_events(self) -> RunSpec:
        """Return the request of a run that has events of the thread protocol."""
        modes = cast("tuple[StreamMode, ...]", THREAD_MODES)
        return replace(self, modes=modes, subgraphs=True, resumable=True, events="thread")

    def changed(self, document: JsonObject) -> RunSpec:
        """Return the request as a handler of ``auth`` has changed its object.

        The server alone decides the kind of events and the lifetime of the run's log and thread.
        """
        made = RunSpec.of(document)
        return replace(made, events=self.events, temporary=self.temporary, resumable=self.resumable)


class StoredSpec:
    """A run's request and its JSON. Each is made from the other on first use, and once only.

    A driver reads and writes only the JSON, which may be encrypted.

    Args:
        encoded: The JSON.
        spec: The request.
        sealed: The encrypted JSON, which is stored in place of the other.
    """

    __slots__ = ("_encoded", "_spec", "sealed")

    def __init__(
        self,
        encoded: Encoded | None = None,
        spec: RunSpec | None = None,
        sealed: Encoded | None = None,
    ) -> None:
        assert encoded is not None or spec is not None, "one is made from the other"
        self._encoded = encoded
        self._spec = spec
        self.sealed: Final = sealed

    @property
    def spec(self) -> RunSpec:
        if self._spec is None:
            self._spec = RunSpec.load(cast("Encoded", self._encoded))
        return self._spec

    @property
    def encoded(self) -> Encoded:
        if self._encoded is None:
            self._encoded = cast("RunSpec", self._spec).dump()
        return self._encoded

    @property
    def stored(self) -> Encoded:
        """The JSON for the run's row.

        Raises:
            TooDeep: the request is nested deeper than JSON can be stored.
        """
        return self.encoded if self.sealed is None else self.sealed

    @property
    def events(self) -> EventKind:
        """The kind of events of the run. JSON without the marker need not be decoded for it."""
        if self._spec is None and cast("Encoded", self._encoded).find(_MARKED) < 0:
            return "plain"
        return self.spec.events

    def shown(self) -> Encoded:
        """Return the JSON that clients may see."""
        encoded = self.encoded
        if encoded.find(_LISTED) < 0:
            return encoded
        document = load_object(encoded)
        shown = without_secrets(document)
        return encoded if shown is document else dump(shown)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, StoredSpec) and self.encoded == other.encoded

    def __hash__(self) -> int:
        return hash(self.encoded)

    def __repr__(self) -> str:
        return "StoredSpec()"  # requests hold data of users, which logs must not


def without_secrets(document: JsonObject) -> JsonObject:
    """Return the decoded JSON of a request with masks in place of secret values."""
    names = document.get(_SECRETS)
    if not isinstance(names, list):
        return document  # no secrets, or encrypted together with them
    rest = {name: value for name, value in document.items() if name != _SECRETS}
    config = cast("JsonObject", rest["config"])
    configurable = cast("JsonObject", config["configurable"])
    masks = {str(name): MASK for name in names if name in configurable}
    return {**rest, "config": {**config, "configurable": {**configurable, **masks}}}


def _unmarked(config: JsonObject) -> tuple[JsonObject, EventKind]:
    """Return a config without the marker of the thread protocol, and the meaning of the marker."""
    configurable = config.get("configurable")
    if not isinstance(configurable, dict) or THREAD_EVENTS not in configurable:
        return config, "plain"
    events: EventKind = "thread" if configurable[THREAD_EVENTS] is True else "plain"
    rest = {name: value for name, value in configurable.items() if name != THREAD_EVENTS}
    return {**config, "configurable": rest}, events
