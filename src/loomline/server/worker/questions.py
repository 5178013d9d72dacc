"""The questions of a run: told as soon as the thread's state shows them, and not before."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import cast

import orjson
from langgraph.types import Interrupt

from loomline.server.domain.json import Encoded, Json, JsonObject, load_object
from loomline.server.domain.run_results import INTERRUPT
from loomline.server.graphs.serde import encode
from loomline.server.graphs.states import Summary
from loomline.server.worker.chunks import ROOT
from loomline.server.worker.results import Report
from loomline.server.worker.stream import Chunk

logger: logging.Logger = logging.getLogger("loomline.worker")

PATIENCE_SECONDS = 10.0
"""The time after which a question is told although the state does not show it."""

HELD = 1_000
"""Chunks of subgraphs that wait for the question of the root graph."""

_LONGEST_PAUSE = 0.05


class Questions:
    """Puts the events of a run in order: a question is stored before it is told.

    langgraph hands a question to its stream and to the checkpointer at the same time, and clients
    read the state as soon as they see the question. A subgraph reports its question before the
    root graph does; the state of the thread has the question from then on.

    Args:
        look: Reads the thread's newest state.
        store: Stores the open questions in the thread's row.
        at_end: Whether the questions are stored at the end of the run only, as with durability
            "exit".
    """

    def __init__(
        self,
        look: Callable[[], Awaitable[Summary]],
        store: Callable[[Encoded], Awaitable[None]],
        *,
        at_end: bool,
    ) -> None:
        self._look = look
        self._store = store
        self._at_end = at_end
        self._stored: JsonObject = {}
        self._held: list[Chunk] = []

    async def told(self, chunk: Chunk) -> Sequence[Chunk]:
        """Return the chunks that can be told now, once the state shows their questions."""
        namespace, mode, payload = chunk
        asked = asked_by(mode, payload)
        if asked is None:
            return [chunk]
        nested = namespace != ROOT and len(self._held) < HELD
        if self._at_end or nested:
            self._held.append(chunk)
            return []
        await self._until_stored({each.id: _shown(each.value) for each in asked})
        held, self._held = self._held, []
        return [*held, chunk]

    def rest(self, report: Report) -> Sequence[Chunk]:
        """Return the chunks that are still held, at the end of the run.

        Later values than those beside the question may have been told meanwhile.
        """
        held, self._held = self._held, []
        return [_renewed(chunk, report) for chunk in held]

    async def _until_stored(self, wanted: JsonObject) -> None:
        if wanted and self._shows(wanted):
            return
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self._store(await self._state_with(wanted))
        except TimeoutError:
            logger.warning("a question is told that the state does not show")

    def _shows(self, wanted: JsonObject) -> bool:
        # A task that asks again, after an answer, does so with the id of its former question.
        return all(each in self._stored and self._stored[each] == wanted[each] for each in wanted)

    async def _state_with(self, wanted: JsonObject) -> Encoded:
        pause = 0.0
        while True:
            # The checkpointer is called by a task that has not begun yet.
            await asyncio.sleep(pause)
            state = await self._look()
            self._stored = _values_by_id(state.interrupts)
            if self._shows(wanted):
                return state.interrupts
            pause = min(2 * pause + 0.001, _LONGEST_PAUSE)


def asked_by(mode: str, payload: object) -> Iterable[Interrupt] | None:
    """Return the questions of a chunk; None: the chunk does not say that the run pauses."""
    if mode not in {"updates", "values"} or not isinstance(payload, Mapping):
        return None
    found: Iterable[Interrupt] | None = payload.get(INTERRUPT)
    return found


def _shown(value: object) -> Json:
    return cast("Json", orjson.loads(encode(value)))


def _values_by_id(interrupts: Encoded) -> JsonObject:
    tasks = load_object(interrupts).values()
    return {
        str(each["id"]): each.get("value")
        for asked in tasks
        if isinstance(asked, list)
        for each in asked
        if isinstance(each, dict)
    }


def _renewed(chunk: Chunk, report: Report) -> Chunk:
    namespace, mode, payload = chunk
    latest = report.latest
    if namespace != ROOT or mode != "values" or not isinstance(latest, Mapping):
        return chunk
    return namespace, mode, {**latest, INTERRUPT: payload[INTERRUPT]}
