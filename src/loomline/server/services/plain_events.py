"""Runs that were started without the thread protocol, as its readers see them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import cast

import orjson

from loomline.server.domain.events import HIDDEN, NUMBERS, StoredEvent
from loomline.server.domain.json import Encoded, Json, JsonObject, dump
from loomline.server.domain.messages import normalised
from loomline.server.domain.protocol import (
    ANSWERED,
    END,
    PLAIN_STEP,
    Namespace,
    Numbered,
    Topic,
    ending,
    make_event,
)
from loomline.server.domain.tools import protocol_tool

_INTERRUPT = "__interrupt__"


class PlainEvents:
    """Makes events of the protocol out of those that a run has logged for others.

    Every reader counts the same events, so that each gives them the same numbers.
    """

    def __init__(self, run_id: str, graph_id: str, answered_ids: Sequence[str] = ()) -> None:
        self._run_id = run_id
        self._graph_id = graph_id
        self._answered = answered_ids
        self._next = 0
        self._milliseconds = 0
        self._interrupted = False
        self._asked: dict[str, tuple[Namespace, JsonObject]] = {}
        self._told: set[str] = set()
        self._made: Mapping[str, Callable[[Namespace, Json], Iterator[tuple[Topic, Encoded, str]]]]
        self._made = {
            "values": self._values,
            "updates": self._updates,
            "custom": self._custom,
            "tasks": lambda namespace, data: self._plain("tasks", namespace, data),
            "tools": self._tools,
            "checkpoints": self._checkpoint,
        }

    @property
    def known(self) -> bool:
        """Whether the run has told what number the events are at."""
        return self._next > 0

    @property
    def interrupted(self) -> bool:
        """Whether the run has stopped to wait for somebody."""
        return self._interrupted

    def events(self, batch: Sequence[StoredEvent]) -> Iterator[Numbered]:
        for stored in batch:
            yield from self._of(stored)

    def end(self, status: str, error: JsonObject | None) -> Iterator[Numbered]:
        """Return what ends the run: what it asks for, then how it ended."""
        number = self._next + PLAIN_STEP
        for topic, data, _ in self._questions():
            yield self._event(number, topic, data)
            number += 1
        ended = ending(status, self._graph_id, error)
        yield self._event(number, Topic("lifecycle", name=END), dump(ended))

    def _of(self, stored: StoredEvent) -> Iterator[Numbered]:
        event = stored.event
        self._milliseconds = stored.id.milliseconds
        if event.name == NUMBERS:
            self._next = int(event.data) + 1
            running = dump({"event": "running", "graph_name": self._graph_id})
            yield self._event(self._next, Topic("lifecycle"), running)
            if self._answered:
                ids = dump({"interrupt_ids": [*self._answered]})
                yield self._event(self._next + 1, ANSWERED, ids)
        if event.name in HIDDEN or event.name == "metadata" or not self.known:
            return
        number, self._next = self._next + PLAIN_STEP, self._next + PLAIN_STEP
        method, *namespace = event.name.split("|")
        make = self._made.get(method)
        if make is None:
            return
        made = [*make(tuple(namespace), cast("Json", orjson.loads(event.data)))]
        if not namespace:
            # As many as have numbers here; the next event tells the rest, or the end of the run.
            made += islice(self._questions(), max(PLAIN_STEP - len(made), 0))
        for place, (topic, data, node) in enumerate(made):
            yield self._event(number + place, topic, data, node)

    def _questions(self) -> Iterator[tuple[Topic, Encoded, str]]:
        """Yield the questions that have not been told, and count each of them as told."""
        while self._asked:
            interrupt_id = next(iter(self._asked))
            namespace, interrupt = self._asked.pop(interrupt_id)
            self._told.add(interrupt_id)
            value = interrupt.get("value")
            asked: JsonObject = {"interrupt_id": interrupt_id, "payload": value, "value": value}
            yield Topic("input.requested", namespace), dump(asked), ""

    def _event(self, number: int, topic: Topic, data: Encoded, node: str = "") -> Numbered:
        return make_event(
            self._run_id, number, topic, data, milliseconds=self._milliseconds, node=node
        )

    def _values(self, namespace: Namespace, data: Json) -> Iterator[tuple[Topic, Encoded, str]]:
        if isinstance(data, dict):
            self._note(namespace, data.pop(_INTERRUPT, None))
        yield Topic("values", namespace), normalised(dump(data)), ""

    def _updates(self, namespace: Namespace, data: Json) -> Iterator[tuple[Topic, Encoded, str]]:
        if not isinstance(data, dict):
            return
        self._note(namespace, data.pop(_INTERRUPT, None))
        if len(data) > PLAIN_STEP:
            yield Topic("updates", namespace), normalised(dump(data)), ""
            return
        for node, update in data.items():
            yield Topic("updates", namespace), normalised(dump(update)), node

    def _custom(self, namespace: Namespace, data: Json) -> Iterator[tuple[Topic, Encoded, str]]:
        yield Topic("custom", namespace), dump({"payload": data}), ""

    def _tools(self, namespace: Namespace, data: Json) -> Iterator[tuple[Topic, Encoded, str]]:
        told = protocol_tool(data) if isinstance(data, dict) else data
        yield Topic("tools", namespace), dump(told), ""

    def _plain(
        self, method: str, namespace: Namespace, data: Json
    ) -> Iterator[tuple[Topic, Encoded, str]]:
        yield Topic(method, namespace), dump(data), ""

    def _checkpoint(self, namespace: Namespace, data: Json) -> Iterator[tuple[Topic, Encoded, str]]:
        if isinstance(data, dict):
            metadata = _object(data.get("metadata"))
            shown: JsonObject = {"id": _checkpoint_id(data.get("config"))}
            parent = _checkpoint_id(data.get("parent_config"))
            if parent is not None:
                shown["parent_id"] = parent
            shown |= {"step": metadata.get("step"), "source": metadata.get("source")}
            yield Topic("checkpoints", namespace), dump(shown), ""

    def _note(self, namespace: Namespace, interrupts: Json) -> None:
        if not isinstance(interrupts, list):
            return
        self._interrupted = True
        for each in interrupts:
            interrupt_id = each.get("id") if isinstance(each, dict) else None
            if not isinstance(each, dict) or not isinstance(interrupt_id, str):
                continue
            if interrupt_id not in self._told:
                self._asked.setdefault(interrupt_id, (namespace, each))


def _object(value: Json) -> JsonObject:
    return value if isinstance(value, dict) else {}


def _checkpoint_id(config: Json) -> Json:
    return _object(_object(config).get("configurable")).get("checkpoint_id")
