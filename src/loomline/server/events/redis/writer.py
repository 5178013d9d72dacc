"""Everything that is sent in order: batches of events, and the acts that must not overtake them."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from loomline.server.domain.events import Event
from loomline.server.events.redis.link import Answer, Away, IoThread, Link, link_pauses
from loomline.server.events.redis.options import Keys, RedisOptions
from loomline.server.events.redis.scripts import APPEND, CLOSE, DISCARD, REOPEN, Script
from loomline.server.events.redis.wire import Command, fields

logger: logging.Logger = logging.getLogger("loomline.events")

_ROUND_BYTES = 4 * 1024 * 1024
_ROUND_STEPS = 1024
"""What one round trip carries at most."""

_SLOWEST_BYTES_A_SECOND = 500_000

_BEGUN = 20_000
"""Streams of which it is remembered that they have begun; see ``_Batch``."""


@dataclass(eq=False, slots=True)
class _Batch:
    """Events that go into one entry; with ``gap``, a mark that events before them are lost.

    ``number`` makes it recognisable when it has to be sent twice. The server also makes the mark
    when it is told that the stream has begun and knows nothing of it: it has lost its data.
    """

    fence: int = 0
    gap: bool = False
    events: list[Event] = field(default_factory=list)
    bytes: int = 0
    number: int = 0


@dataclass(eq=False, slots=True)
class _Act:
    """A command in its place among the batches; None: only the answer matters."""

    command: Command | None
    answer: Answer[object]
    asks: bool = False
    ends: bool = False

    @property
    def idle(self) -> bool:
        """Whether it only asks, and nobody waits for the answer any more."""
        return self.asks and self.answer.abandoned


_Step: TypeAlias = _Batch | _Act


@dataclass(eq=False, slots=True)
class _Outbox:
    steps: deque[_Step] = field(default_factory=deque)
    events: int = 0
    bytes: int = 0
    sweep_at: int = 64

    def add(self, act: _Act) -> None:
        """Take an act in. While the server is away, questions that have been given up go."""
        self.steps.append(act)
        if len(self.steps) > self.sweep_at:
            kept = (step for step in self.steps if isinstance(step, _Batch) or not step.idle)
            self.steps = deque(kept)
            self.sweep_at = 2 * len(self.steps) + 64


@dataclass(eq=False, slots=True)
class _Round:
    """What is on its way: steps with their streams, and commands that nobody misses."""

    steps: list[tuple[str, _Step]] = field(default_factory=list)
    extras: list[Command] = field(default_factory=list)
    bytes: int = 0

    def seconds(self, least: float) -> float:
        """Return how long it may take. Otherwise a slow line would have it sent for ever."""
        return least + self.bytes / _SLOWEST_BYTES_A_SECOND


class Writer:
    """Sends what any thread hands in, in the order of each stream, on one connection.

    While a round is on its way the next one gathers, and rounds of mere events are a little apart:
    a stream of tokens pays for a round trip per round, not per token. Acts do not wait for that.

    While the server is away the last round is kept and sent again, and what comes is kept up to
    the bounds of the options. Beyond them the kept events of the stream are dropped, and a gap
    takes their place: once the server is back, every reader that passes it is told. Events after
    the gap are kept again, so that the result of the run is the last thing to get lost. When too
    many streams wait, the one that has waited longest is dropped altogether.
    """

    def __init__(
        self, io: IoThread, link: Link, keys: Keys, name: str, options: RedisOptions
    ) -> None:
        self._io = io
        self._link = link
        self._keys = keys
        self._name = name
        self._options = options
        self._lock = threading.Lock()
        self._outboxes: OrderedDict[str, _Outbox] = OrderedDict()
        self._on_way: set[str] = set()
        self._extras: deque[Command] = deque(maxlen=options.pending_streams)
        self._bytes = 0
        self._number = 0
        self._begun: OrderedDict[str, None] = OrderedDict()
        self._work = asyncio.Event()
        self._urgent = asyncio.Event()
        self._called = False
        self._called_urgently = False
        self._sent_at = 0.0
        self._unsent: _Round | None = None
        self._pauses = link_pauses()
        self._away = False
        self._losses = 0
        self._drained: list[Answer[None]] = []

    @property
    def away(self) -> bool:
        return self._away

    @property
    def losses(self) -> int:
        """How often the events of a stream were dropped."""
        return self._losses

    @property
    def size(self) -> int:
        """How many streams have something to send."""
        with self._lock:
            return len(self._outboxes.keys() | self._on_way)

    async def append(self, stream: str, events: Sequence[Event], fence: int) -> None:
        """Hand events in; waits only if a server that answers cannot keep up."""
        size = sum(len(event.data) for event in events)
        with self._lock:
            outbox = self._outbox(stream)
            full = self._full(outbox)
            if full and self._away:
                self._lose(stream, outbox)
                full = False
            for event in events:
                self._put(outbox, event, fence)
            outbox.events += len(events)
            outbox.bytes += size
            self._bytes += size
            call = self._must_call(urgent=full)
        if call:
            self._io.post(self._take_call)
        if full:
            await self._room()

    def act(
        self, stream: str, command: Command | None, *, asks: bool = False, ends: bool = False
    ) -> Answer[object]:
        """Have a command executed after everything that has been handed in for the stream."""
        answer: Answer[object] = Answer()
        with self._lock:
            if command is None and stream not in self._outboxes and stream not in self._on_way:
                answer.give(None)
                return answer
            self._outbox(stream).add(_Act(command, answer, asks, ends))
            call = self._must_call(urgent=True)
        if call:
            self._io.post(self._take_call)
        return answer

    def post(self, command: Command) -> None:
        """Send a command with the next round if the server is there, and never again."""
        with self._lock:
            if self._away:
                return
            self._extras.append(command)
            call = self._must_call(urgent=True)
        if call:
            self._io.post(self._take_call)

    def close(self, stream: str, keep_seconds: float) -> Answer[object]:
        keep = max(keep_seconds, self._options.least_keep_seconds)
        return self.act(stream, self._script(CLOSE, stream, keep), ends=True)

    def discard(self, stream: str) -> Answer[object]:
        keep = self._options.least_keep_seconds
        return self.act(stream, self._script(DISCARD, stream, keep), ends=True)

    def reopen(self, stream: str) -> Answer[object]:
        return self.act(stream, self._script(REOPEN, stream, self._options.idle_seconds))

    def look(self, stream: str) -> Answer[object]:
        """Ask for the last id, the mark of a close, and the last id that was trimmed."""
        command = ("HMGET", self._keys.meta(stream), "last", "closed", "trimmed")
        return self.act(stream, command, asks=True)

    def flush(self, stream: str) -> Answer[object]:
        return self.act(stream, None, asks=True)

    def ping(self) -> Answer[object]:
        return self.act("", ("PING",), asks=True)

    async def send(self) -> float:
        """Send a round, or again the round that has not arrived. Belongs to the I/O loop."""
        now, self._unsent = self._unsent, None
        if now is None:
            await self._work.wait()
            await self._gather()
            now = self._collect()
        return await self._deliver(now) if now.steps or now.extras else 0.0

    # ------------------------------------------------------------------- under the lock

    def _outbox(self, stream: str) -> _Outbox:
        outbox = self._outboxes.get(stream)
        if outbox is None:
            outbox = self._outboxes[stream] = _Outbox()
            if len(self._outboxes) > self._options.pending_streams:
                _, dropped = self._outboxes.popitem(last=False)
                self._bytes -= dropped.bytes
        return outbox

    def _put(self, outbox: _Outbox, event: Event, fence: int) -> None:
        options = self._options
        last = outbox.steps[-1] if outbox.steps else None
        if (
            not isinstance(last, _Batch)
            or last.fence != fence
            or len(last.events) >= options.batch_events
            or last.bytes + len(event.data) > options.batch_bytes
        ):
            last = _Batch(fence)
            outbox.steps.append(last)
        last.events.append(event)
        last.bytes += len(event.data)

    def _full(self, outbox: _Outbox) -> bool:
        options = self._options
        return (
            outbox.events >= options.pending_events
            or outbox.bytes >= options.pending_bytes
            or self._bytes >= options.all_pending_bytes
        )

    def _lose(self, stream: str, outbox: _Outbox) -> None:
        if not outbox.events:
            return
        self._losses += 1
        logger.warning("events of a run are lost", extra={"run_id": stream})
        acts = (step for step in outbox.steps if isinstance(step, _Act))
        fence = max(step.fence for step in outbox.steps if isinstance(step, _Batch))
        outbox.steps = deque([_Batch(fence, gap=True), *acts])
        self._bytes -= outbox.bytes
        outbox.events = outbox.bytes = 0

    def _must_call(self, *, urgent: bool) -> bool:
        """Return whether the I/O loop has yet to learn of what was handed in."""
        if self._called and (self._called_urgently or not urgent):
            return False
        self._called = True
        self._called_urgently |= urgent
        return True

    # ------------------------------------------------------------------- on the I/O loop

    def _take_call(self) -> None:
        self._work.set()
        if self._called_urgently:
            self._urgent.set()

    async def _gather(self) -> None:
        rest = self._sent_at + self._options.gather_seconds - asyncio.get_running_loop().time()
        if rest > 0 and not self._urgent.is_set():
            try:
                async with asyncio.timeout(rest):
                    await self._urgent.wait()
            except TimeoutError:
                return

    def _collect(self) -> _Round:
        """Take the next round. Streams with more than fits come first in the one after."""
        found = _Round()
        with self._lock:
            room = _ROUND_BYTES
            while self._outboxes and room > 0 and len(found.steps) < _ROUND_STEPS:
                stream, outbox = self._outboxes.popitem(last=False)
                taken = self._take(stream, outbox, found, room)
                found.bytes += taken
                room -= taken
                if outbox.steps:
                    self._outboxes[stream] = outbox
                    self._outboxes.move_to_end(stream, last=False)
            self._on_way = {stream for stream, _ in found.steps}
            found.extras = list(self._extras)
            self._extras.clear()
            self._called = self._called_urgently = bool(self._outboxes)
            if not self._outboxes:
                self._work.clear()
                self._urgent.clear()
        return found

    def _take(self, stream: str, outbox: _Outbox, into: _Round, room: int) -> int:
        taken = 0
        while outbox.steps and taken < room and len(into.steps) < _ROUND_STEPS:
            step = outbox.steps.popleft()
            into.steps.append((stream, step))
            if isinstance(step, _Batch):
                self._number += 1
                step.number = self._number
                taken += step.bytes
                outbox.events -= len(step.events)
                outbox.bytes -= step.bytes
        self._bytes -= taken
        return taken

    async def _deliver(self, now: _Round) -> float:
        try:
            seconds = now.seconds(self._options.answer_seconds)
            answers = await self._link.execute(self._commands(now), seconds)
        except Away as error:
            self._note_away(error)
            now.extras.clear()
            self._unsent = now
            return self._pauses.after_failure()
        self._pauses.reset()
        self._sent_at = asyncio.get_running_loop().time()
        self._settle(now, answers)
        return 0.0

    def _commands(self, now: _Round) -> list[Command]:
        commands = [command for step in now.steps if (command := self._command(*step)) is not None]
        return [*commands, *now.extras]

    def _command(self, stream: str, step: _Step) -> Command | None:
        if isinstance(step, _Act):
            return step.command
        options = self._options
        return (
            *self._call(APPEND, stream),
            *(self._name, step.number, int(stream in self._begun)),
            *(int(options.idle_seconds * 1000), options.events, options.bytes),
            *(int(step.gap), len(step.events), step.bytes, step.fence),
            *fields(step.events),
        )

    def _script(self, script: Script, stream: str, seconds: float) -> Command:
        return (*self._call(script, stream), int(seconds * 1000))

    def _call(self, script: Script, stream: str) -> Command:
        return ("EVALSHA", script.sha, 5, *self._keys.of(stream))

    def _settle(self, now: _Round, answers: Sequence[object]) -> None:
        if self._away:
            logger.warning("the event server is back")
        # Whoever is answered finds nothing of this round on its way any more.
        with self._lock:
            self._away = False
            self._on_way = set()
            drained, self._drained = self._drained, []
        answered = iter(answers)
        for stream, step in now.steps:
            executes = isinstance(step, _Batch) or step.command is not None
            self._note(stream, step, next(answered) if executes else None)
        for each in drained:
            each.give(None)

    def _note(self, stream: str, step: _Step, answer: object) -> None:
        if isinstance(answer, Exception):
            logger.error("the event server refuses a command: %s", answer, extra={"run_id": stream})
        if isinstance(step, _Act):
            if step.ends:
                self._begun.pop(stream, None)
            step.answer.give(answer)
            return
        self._begun[stream] = None
        if len(self._begun) > _BEGUN:
            self._begun.popitem(last=False)

    def _note_away(self, error: Away) -> None:
        with self._lock:
            first, self._away = not self._away, True
            drained, self._drained = self._drained, []
        for each in drained:
            each.give(None)
        if first:
            logger.warning("the event server is away: %s", error)

    async def _room(self) -> None:
        """Wait until a round has arrived, or for a while."""
        answer: Answer[None] = Answer()
        with self._lock:
            if self._away:
                return
            self._drained.append(answer)
        try:
            await answer.within(self._options.answer_seconds)
        except TimeoutError:
            return
