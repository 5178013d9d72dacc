"""The encrypted fields of every stored record, listed once.

The wrappers of the storage seal and open records by this list, and the rewriters of the drivers
derive their tables and columns from it, so ``loomline reencrypt`` covers every field that is
sealed here. Tests compare it with the records of the ports and with the tables of both databases.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, TypeVar

from loomline.server.domain.assistants import Assistant, AssistantPatch, AssistantVersion
from loomline.server.domain.crons import Cron
from loomline.server.domain.runs import NewRun, Outcome, Run
from loomline.server.domain.threads import NewThread, Thread, ThreadPatch, ThreadState
from loomline.server.domain.webhooks import Delivery
from loomline.server.storage.sealing import WHOLE, Seals

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

R = TypeVar("R", bound="DataclassInstance")

Form: TypeAlias = Literal["object", "config", "text", "request", "payload", "notice", "checkpoint"]
"""How the JSON of a field is sealed.

``object``: each value of an object. ``config``: the same, with ``configurable`` one level deeper.
``text``: encoded JSON, an object by its values and anything else as a whole. ``request``: the
encoded request of a run, with the context of its user. ``payload``: the request of a cron, whose
config and metadata are sealed one level deeper. ``notice``: the body of a webhook, made of the
fields of a run. ``checkpoint``: the content of a checkpoint, whose values are sealed as bytes.
"""


@dataclass(frozen=True, slots=True)
class SealedField:
    """An encrypted field, with the names of the model and of the field that handlers are given."""

    model: str
    name: str
    form: Form = "object"

    def inside(self, member: str) -> SealedField | None:
        """Return the field of a member that is an object with sealed members of its own."""
        return _INSIDE[self.form](self).get(member)


def _text(field: SealedField) -> Mapping[str, SealedField]:
    return {WHOLE: SealedField(field.model, field.name)}


def _config(field: SealedField) -> Mapping[str, SealedField]:
    return {"configurable": SealedField(field.model, field.name)}


def _payload(field: SealedField) -> Mapping[str, SealedField]:
    return {
        "config": SealedField(field.model, "config", "config"),
        "metadata": SealedField(field.model, "metadata"),
    }


def _notice(_: SealedField) -> Mapping[str, SealedField]:
    return {"metadata": _RUN["metadata"], "kwargs": _RUN["request"], "error": _RUN["error"]}


def _plain(_: SealedField) -> Mapping[str, SealedField]:
    return {}


_INSIDE: Final[Mapping[Form, Callable[[SealedField], Mapping[str, SealedField]]]] = {
    "object": _plain,
    "config": _config,
    "text": _text,
    "request": _plain,
    "payload": _payload,
    "notice": _notice,
    "checkpoint": _plain,
}

Fields: TypeAlias = Mapping[str, SealedField]

_ASSISTANT: Final[Fields] = {
    "config": SealedField("assistant", "config", "config"),
    "context": SealedField("assistant", "context"),
    "metadata": SealedField("assistant", "metadata"),
}
_THREAD: Final[Fields] = {
    "metadata": SealedField("thread", "metadata"),
    "config": SealedField("thread", "config", "config"),
    "values": SealedField("thread", "values", "text"),
    "interrupts": SealedField("thread", "interrupts", "text"),
    "error": SealedField("thread", "error", "text"),
}
_RUN: Final[Fields] = {
    "metadata": SealedField("run", "metadata"),
    "request": SealedField("run", "kwargs", "request"),
    "error": SealedField("run", "error", "text"),
    "user": SealedField("run", "user", "text"),
}
_LAST_EVENTS: Final = SealedField("run", "last_events", "text")
_CRON: Final[Fields] = {
    "payload": SealedField("cron", "payload", "payload"),
    "metadata": SealedField("cron", "metadata"),
    "user": SealedField("cron", "user", "text"),
}
_DELIVERY: Final[Fields] = {
    "payload": SealedField("run", "notice", "notice"),
    "values": _THREAD["values"],
    "user": _RUN["user"],
}

SEALED: Final[Mapping[type, Fields]] = {
    Assistant: _ASSISTANT,
    AssistantVersion: _ASSISTANT,
    AssistantPatch: _ASSISTANT,
    Thread: _THREAD,
    NewThread: {"metadata": _THREAD["metadata"]},
    ThreadPatch: {"metadata": _THREAD["metadata"]},
    ThreadState: {name: _THREAD[name] for name in ("values", "interrupts")},
    Run: _RUN,
    NewRun: {
        **{name: _RUN[name] for name in ("metadata", "request", "user")},
        "assistant_metadata": _RUN["metadata"],
        "thread_metadata": _THREAD["metadata"],
        "thread_config": _THREAD["config"],
    },
    Outcome: {
        **{name: _THREAD[name] for name in ("values", "interrupts")},
        "error": _RUN["error"],
        "last_events": _LAST_EVENTS,
    },
    Cron: _CRON,
    Delivery: _DELIVERY,
}
"""The encrypted fields of the records that the storage ports take and return."""


def _columns(fields: Fields, **renamed: str) -> Fields:
    return {renamed.get(name, name): field for name, field in fields.items()}


COLUMNS: Final[Mapping[str, Fields]] = {
    "assistants": _columns(_ASSISTANT),
    "assistant_versions": _columns(_ASSISTANT),
    "threads": {name: field for name, field in _THREAD.items() if name != "values"},
    "thread_values": {"content": _THREAD["values"]},
    "runs": {**_columns(_RUN, user="caller", request="kwargs"), "last_events": _LAST_EVENTS},
    "crons": _columns(_CRON, user="caller"),
    "webhooks": _columns(_DELIVERY, values="content", user="caller"),
    "store_items": {"value": SealedField("store", "value")},
    "checkpoints": {
        "content": SealedField("checkpoint", "values", "checkpoint"),
        "metadata": SealedField("checkpoint", "metadata"),
    },
    "checkpoint_facts": {"content": SealedField("checkpoint", "metadata")},
}
"""The encrypted columns with JSON, by table. Drivers may prefix tables and rename columns."""

BLOBS: Final[Mapping[str, tuple[str, str]]] = {
    "checkpoint_blobs": ("type", "content"),
    "checkpoint_writes": ("type", "content"),
}
"""The columns with the type and the content of encrypted bytes, by table."""


async def seal_record(seals: Seals, record: R) -> R:
    """Return a record with its fields encrypted, except for forms that its wrapper handles."""
    return await _changed(record, seals, _SEAL)


async def open_record(seals: Seals, record: R) -> R:
    """Return a record with its fields decrypted, except for forms that its wrapper handles."""
    return await _changed(record, seals, _OPEN)


async def _changed(record: R, seals: Seals, acts: Mapping[Form, _Act]) -> R:
    changes: dict[str, Any] = {}
    for name, field in SEALED[type(record)].items():
        value = getattr(record, name)
        if value is not None and field.form in acts:
            changes[name] = await acts[field.form](seals, field, value)
    return dataclasses.replace(record, **changes)


_Act: TypeAlias = Callable[[Seals, SealedField, Any], Awaitable[Any]]

_SEAL: Final[Mapping[Form, _Act]] = {
    "object": lambda seals, field, value: seals.seal(field.model, field.name, value),
    "config": lambda seals, field, value: seals.seal_config(field.model, value),
    "text": lambda seals, field, value: seals.seal_text(field.model, field.name, value),
}
_OPEN: Final[Mapping[Form, _Act]] = {
    "object": lambda seals, _, value: seals.open(value),
    "config": lambda seals, _, value: seals.open_config(value),
    "text": lambda seals, _, value: seals.open_text(value),
}
