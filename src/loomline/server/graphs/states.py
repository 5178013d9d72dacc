"""States of threads as their graphs see them: read, shown as JSON, changed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, TypeAlias

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import CheckpointTuple
from langgraph.errors import EmptyInputError, InvalidUpdateError
from langgraph.graph.state import StateGraph
from langgraph.types import Command, Interrupt, PregelTask, Send, StateSnapshot, StateUpdate

from loomline.server.domain.errors import HistoryTooLarge, InvalidInput, StateRefused
from loomline.server.domain.json import Encoded, Json, JsonObject
from loomline.server.graphs.registry import Graph
from loomline.server.graphs.serde import encode

# JSON in the making: the values are the user's own.
Shown: TypeAlias = dict[str, Any]

HISTORY_PAGE: Final = 50
"""States of a history that are in memory at a time before they are encoded."""

_ROOT: Final = "__root__"
"""The only channel of a state that is not an object."""

_KEYS_SHOWN: Final = 20

HISTORY_BYTES: Final = 100 * 1024 * 1024
"""The most that one history has, as much as the body of a request may have."""

_HEAD_FIELDS: Final = frozenset({
    "metadata", "created_at", "checkpoint", "parent_checkpoint", "checkpoint_id",
    "parent_checkpoint_id",
})  # fmt: skip

_POINTER = ("checkpoint_id", "thread_id", "checkpoint_ns", "checkpoint_map")

_COMMAND = ("update", "resume", "goto")

# What a graph raises at updates that do not fit it. The texts of other errors may hold secrets.
_REFUSALS: Final = (
    InvalidUpdateError,
    EmptyInputError,
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
)


@dataclass(frozen=True, slots=True)
class Selection:
    """Which parts of a state are wanted. ``fields`` None: all; ``keys``: of the values only these.

    ``keys`` counts only where ``values`` itself is not wanted whole.
    """

    fields: frozenset[str] | None = None
    keys: frozenset[str] = frozenset()

    @classmethod
    def of(cls, names: Iterable[str]) -> Selection:
        """Return what a list of names selects; without any it is everything."""
        chosen = frozenset(names)
        if not chosen:
            return cls()
        keys = frozenset(name[7:] for name in chosen if name.startswith("values."))
        return cls(chosen, frozenset() if "values" in chosen else keys)

    @property
    def needs_heads_only(self) -> bool:
        """Return whether every field is known without the values and writes of a checkpoint."""
        return self.fields is not None and self.fields <= _HEAD_FIELDS

    def has(self, field: str) -> bool:
        return self.fields is None or field in self.fields


@dataclass(frozen=True, slots=True)
class Summary:
    """What a thread's row says of its newest state."""

    has_next: bool
    values: Encoded
    interrupts: Encoded


async def read_state(
    graph: Graph, config: RunnableConfig, selection: Selection, *, subgraphs: bool
) -> Encoded:
    """Return one state; where there is no checkpoint it is an empty one."""
    snapshot = await graph.aget_state(config, subgraphs=subgraphs)
    return encode(shown_state(snapshot, selection))


async def read_history(
    graph: Graph,
    config: RunnableConfig,
    selection: Selection,
    *,
    metadata: JsonObject,
    before: str | None,
    limit: int,
) -> Encoded:
    """Return states, newest first, as an array.

    Raises:
        HistoryTooLarge: The states have more than ``HISTORY_BYTES`` bytes.
    """
    shown: list[bytes] = []
    room = HISTORY_BYTES
    while len(shown) < limit:
        size = min(limit - len(shown), HISTORY_PAGE)
        page = graph.aget_state_history(
            config,
            filter=metadata or None,
            before=None if before is None else _before(before),
            limit=size,
        )
        found = 0
        async for snapshot in page:
            shown.append(encode(shown_state(snapshot, selection)))
            room -= len(shown[-1])
            if room < 0:
                raise HistoryTooLarge(HISTORY_BYTES, len(shown) - 1)
            # A large state takes milliseconds, and the runs on this loop must not wait for many.
            await asyncio.sleep(0)
            before = snapshot.config["configurable"]["checkpoint_id"]
            found += 1
        if found < size:
            break
    return Encoded(b"[" + b",".join(shown) + b"]")


def shown_heads(heads: Iterable[CheckpointTuple], selection: Selection) -> Encoded:
    """Return the fields of states that checkpoints have without their values, as an array."""
    shown = [
        shown_state(
            StateSnapshot(
                values={},
                next=(),
                config=head.config,
                metadata=head.metadata,
                created_at=head.checkpoint["ts"],
                parent_config=head.parent_config,
                tasks=(),
                interrupts=(),
            ),
            selection,
        )
        for head in heads
    ]
    return encode(shown)


async def change_state(
    graph: Graph, config: RunnableConfig, supersteps: Sequence[Sequence[StateUpdate]]
) -> RunnableConfig:
    """Apply updates, one superstep after the other; return where the last one was stored.

    Raises:
        StateRefused: The graph does not take one of the updates, or has none of its keys.
    """
    await _check_keys(graph, config, [each for step in supersteps for each in step])
    try:
        return await graph.abulk_update_state(config, supersteps)
    except _REFUSALS as error:
        raise StateRefused(_sentence(error)) from error


async def _check_keys(graph: Graph, config: RunnableConfig, updates: Sequence[StateUpdate]) -> None:
    """Refuse updates that langgraph would ignore without a word.

    Raises:
        StateRefused: An update names keys, none of which the state has.
    """
    target = await _updated_graph(graph, config["configurable"].get("checkpoint_ns", ""))
    builder = getattr(target, "builder", None)
    known: Mapping[str, object] = (
        builder.channels if isinstance(builder, StateGraph) else {_ROOT: None}
    )
    for values in (update.values for update in updates if _ROOT not in known):
        if isinstance(values, Mapping) and values and known.keys().isdisjoint(values):
            named = ", ".join(f"'{key:.100}'" for key in islice(values, _KEYS_SHOWN))
            has = ", ".join(f"'{key:.100}'" for key in islice(sorted(known), _KEYS_SHOWN))
            raise StateRefused(f"The state of the graph has no key {named}. It has: {has}.")


async def _updated_graph(graph: Graph, checkpoint_ns: str) -> object:
    """Return the subgraph that a checkpoint namespace belongs to, or the graph itself."""
    path = "|".join(part.partition(":")[0] for part in checkpoint_ns.split("|"))
    if path:
        async for _, subgraph in graph.aget_subgraphs(namespace=path, recurse=True):
            return subgraph
    return graph


async def summary(graph: Graph, thread_id: str) -> Summary:
    """Return what the newest state of a thread is."""
    config: RunnableConfig = {"configurable": {"thread_id": thread_id, "checkpoint_ns": ""}}
    snapshot = await graph.aget_state(config)
    interrupts = {
        task.id: [_interrupt(each) for each in task.interrupts]
        for task in snapshot.tasks
        if task.interrupts
    }
    return Summary(bool(snapshot.next), encode(snapshot.values), encode(interrupts))


def command(given: Mapping[str, Json]) -> Command[Any]:
    """Return the command that a request describes.

    Raises:
        InvalidInput: its ``goto`` or its ``update`` is none.
    """
    known: Shown = {key: given[key] for key in _COMMAND if given.get(key) is not None}
    if "goto" in known:
        known["goto"] = _goto(known["goto"])
    if isinstance(known.get("update"), list):
        known["update"] = [_pair(each) for each in known["update"]]
    return Command(**known)


def pointer(config: RunnableConfig | None) -> Shown | None:
    """Return the place of a checkpoint as clients see it."""
    if config is None:
        return None
    named = {"checkpoint_ns": "", **config["configurable"]}
    return {key: named[key] for key in _POINTER if named.get(key) is not None}


def empty_state(selection: Selection, place: Shown | None = None) -> Shown:
    """Return the state of a thread that has none. ``place`` is the checkpoint asked for."""
    state: Shown = {
        "values": {},
        "next": [],
        "tasks": [],
        "metadata": None,
        "created_at": None,
        "checkpoint": place,
        "parent_checkpoint": None,
        "interrupts": [],
        "checkpoint_id": None if place is None else place["checkpoint_id"],
        "parent_checkpoint_id": None,
    }
    return {field: value for field, value in state.items() if _wanted(field, selection)}


def shown_state(snapshot: StateSnapshot, selection: Selection) -> Shown:
    """Return a state as clients see it."""
    here = pointer(snapshot.config)
    if snapshot.metadata is None:
        named = here is not None and "checkpoint_id" in here
        return empty_state(selection, here if named else None)
    parent = pointer(snapshot.parent_config)
    parts: dict[str, Callable[[], object]] = {
        "values": lambda: _values(snapshot.values, selection),
        "next": lambda: snapshot.next,
        "tasks": lambda: [_task(task) for task in snapshot.tasks],
        "metadata": lambda: _metadata(snapshot),
        "created_at": lambda: snapshot.created_at,
        "checkpoint": lambda: here,
        "parent_checkpoint": lambda: parent,
        "interrupts": lambda: [_interrupt(each) for each in snapshot.interrupts],
        "checkpoint_id": lambda: (here or {}).get("checkpoint_id"),
        "parent_checkpoint_id": lambda: (parent or {}).get("checkpoint_id"),
    }
    return {field: part() for field, part in parts.items() if _wanted(field, selection)}


def _wanted(field: str, selection: Selection) -> bool:
    return selection.has(field) or (field == "values" and bool(selection.keys))


def _values(values: object, selection: Selection) -> object:
    if not selection.keys:
        return values
    if not isinstance(values, Mapping):
        return {}
    return {key: value for key, value in values.items() if key in selection.keys}


def _metadata(snapshot: StateSnapshot) -> Shown:
    return {"thread_id": snapshot.config["configurable"]["thread_id"], **(snapshot.metadata or {})}


def _task(task: PregelTask) -> Shown:
    nested = task.state
    return {
        "id": task.id,
        "name": task.name,
        "path": task.path,
        "error": None if task.error is None else _error(task.error),
        "interrupts": [_interrupt(each) for each in task.interrupts],
        "checkpoint": pointer(nested) if isinstance(nested, dict) else None,
        "state": (shown_state(nested, Selection()) if isinstance(nested, StateSnapshot) else None),
        "result": task.result,
    }


def _error(error: Exception | str) -> str:
    return error if isinstance(error, str) else repr(error)


def _interrupt(interrupt: Interrupt) -> Shown:
    shown = {"id": interrupt.id, "value": interrupt.value}
    if (schema := response_schema(interrupt)) is not None:
        shown["response_schema"] = schema
    return shown


def response_schema(interrupt: Interrupt[Any]) -> object:
    """Return the schema of an interrupt's answer; None in versions of langgraph without schemas."""
    return getattr(interrupt, "response_schema", None)


def _goto(goto: object) -> object:
    if isinstance(goto, str):
        return goto
    if isinstance(goto, list):
        return [_goto(each) for each in goto]
    if isinstance(goto, dict) and isinstance(goto.get("node"), str):
        return Send(goto["node"], goto.get("input"))
    raise InvalidInput(
        "'command.goto' must be the name of a node, an object with 'node' and 'input', or a list of"
        f" these, got {goto!r:.200}"
    )


def _pair(update: object) -> tuple[object, ...]:
    if isinstance(update, list) and len(update) == 2:
        return tuple(update)
    raise InvalidInput(
        "'command.update' must be an object or a list of pairs of a key and a value, got"
        f" {update!r:.200}"
    )


def _before(checkpoint_id: str) -> RunnableConfig:
    return {"configurable": {"checkpoint_id": checkpoint_id}}


def _sentence(error: Exception) -> str:
    return str(error) or f"The graph does not take this update: {type(error).__name__}"
