"""Answers that take as long as a run: event streams, and JSON that keeps the line alive."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from uuid import UUID

import orjson
from starlette.types import Message, Receive, Scope, Send

from loomline.server.domain.errors import EventsLost, LoomlineError
from loomline.server.domain.events import HIDDEN, STATUS, StoredEvent
from loomline.server.domain.json import Encoded
from loomline.server.domain.protocol import PROTOCOL
from loomline.server.ports.events import EventReader
from loomline.sse import HEARTBEAT, encode_event

logger: logging.Logger = logging.getLogger("loomline.api")

Source = AsyncGenerator[bytes]

_SSE_HEADERS = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-store",
    "connection": "keep-alive",
    "x-accel-buffering": "no",
}
_JSON_HEADERS = {"content-type": "application/json"}

# Events of the run itself, which every client gets.
_OF_ALL = frozenset({"metadata", "error"})

# Both names of a mode: clients ask for either when they join.
_SAME = {"messages": "messages-tuple", "messages-tuple": "messages"}


@dataclass(frozen=True, slots=True)
class Leaving:
    """What to do when the client goes away before the end."""

    act: Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class RunEnd:
    """The event that ends the stream of a run. ``status`` looks up how the run has ended."""

    run_id: UUID
    status: Callable[[], Awaitable[str | None]]

    async def frame(self, known: str) -> bytes:
        """Return the event, or nothing for a run whose end is not known.

        Args:
            known: The end that the log of the run has told, or an empty string.
        """
        status = known or await self.status()
        if status is None:
            return b""
        return encode_event("end", orjson.dumps({"run_id": self.run_id, "status": status}))


class LongResponse:
    """Sends what a source yields, a pulse while it is silent, and watches for the client to leave.

    Frameworks notice a client that left only when they next send something. An idle agent stream
    may not send for minutes, so this waits for the disconnect itself.
    """

    def __init__(
        self,
        source: Source,
        *,
        headers: Mapping[str, str],
        pulse: bytes,
        pulse_seconds: float,
        leaving: Leaving | None = None,
    ) -> None:
        self._source = source
        self._headers = headers
        self._pulse = pulse
        self._pulse_seconds = pulse_seconds
        self._leaving = leaving
        self._left = False
        self._complete = False
        self._sent_at = 0.0

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        task = asyncio.current_task()
        assert task is not None
        helpers = [
            asyncio.create_task(self._watch(receive, task)),
            asyncio.create_task(self._beat(send)),
        ]
        try:
            await self._send(send)
        except asyncio.CancelledError:
            if not self._left:
                raise
            task.uncancel()
        except OSError:
            self._left = True
        finally:
            for helper in helpers:
                helper.cancel()
            await self._source.aclose()
        if self._left and self._leaving is not None:
            await self._leaving.act()

    async def _send(self, send: Send) -> None:
        self._touch()
        await send(_start(self._headers))
        async with aclosing(self._source):
            async for chunk in self._source:
                self._touch()
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        # From here on a disconnect is the ordinary end of the exchange.
        self._complete = True
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _watch(self, receive: Receive, task: asyncio.Task[object]) -> None:
        while (await receive())["type"] != "http.disconnect":
            continue
        if not self._complete:
            self._left = True
            task.cancel()

    async def _beat(self, send: Send) -> None:
        loop = asyncio.get_running_loop()
        while True:
            rest = self._sent_at + self._pulse_seconds - loop.time()
            if rest > 0:
                await asyncio.sleep(rest)
                continue
            self._touch()
            await send({"type": "http.response.body", "body": self._pulse, "more_body": True})

    def _touch(self) -> None:
        self._sent_at = asyncio.get_running_loop().time()


@dataclass(slots=True)
class Framing:
    """Which events of a run a client gets, and whether with ids.

    No modes: all of them. No namespaces: those of all graphs; else of these graphs alone, the root
    graph being the empty string. ``status`` is the end of the run, once its log has told it.
    """

    modes: frozenset[str]
    with_ids: bool
    namespaces: frozenset[str] = frozenset()
    status: str = ""

    @classmethod
    def of(cls, modes: Sequence[str], *, with_ids: bool, namespaces: Sequence[str] = ()) -> Framing:
        both = frozenset(modes) | {_SAME[m] for m in modes if m in _SAME}
        return cls(both, with_ids, frozenset(namespaces))

    def frames(self, batch: Sequence[StoredEvent]) -> bytes:
        """Return the bytes for a batch, possibly none."""
        return b"".join([self._frame(stored) for stored in batch if self._wanted(stored)])

    def _frame(self, stored: StoredEvent) -> bytes:
        event_id = str(stored.id) if self.with_ids else None
        return encode_event(stored.event.name, stored.event.data, event_id)

    def _wanted(self, stored: StoredEvent) -> bool:
        event = stored.event
        if event.name in HIDDEN:
            if event.name == STATUS:
                self.status = orjson.loads(event.data)
            return False
        if self.namespaces and not self._in_namespaces(event.name):
            return False
        if not self.modes:
            return event.mode != PROTOCOL
        return event.mode in self.modes or event.name == "error"

    def _in_namespaces(self, name: str) -> bool:
        return name in _OF_ALL or name.partition("|")[2] in self.namespaces


def event_stream(
    reader: EventReader | None,
    framing: Framing,
    *,
    headers: Mapping[str, str],
    heartbeat_seconds: float,
    leaving: Leaving | None = None,
    end: RunEnd | None = None,
) -> LongResponse:
    """Return a run's events as server-sent events.

    Args:
        reader: The events; None: there are none.
        framing: Which of them the client gets.
        headers: Further headers of the answer.
        heartbeat_seconds: The pause after which a heartbeat is sent.
        leaving: The action when the client goes away before the end.
        end: The event that ends the stream; None: the client does not expect one.
    """
    return LongResponse(
        _events(reader, framing, end),
        headers={**_SSE_HEADERS, **headers},
        pulse=HEARTBEAT,
        pulse_seconds=heartbeat_seconds,
        leaving=leaving,
    )


def thread_stream(
    batches: AsyncGenerator[Sequence[StoredEvent]], *, heartbeat_seconds: float
) -> LongResponse:
    """Return the events of a thread's runs as server-sent events, until the client leaves."""
    frames = _frames(batches, Framing.of((), with_ids=True))
    return endless_stream(frames, heartbeat_seconds=heartbeat_seconds)


def endless_stream(source: Source, *, heartbeat_seconds: float) -> LongResponse:
    """Return frames of server-sent events that go on until the client leaves."""
    return LongResponse(
        source, headers=_SSE_HEADERS, pulse=HEARTBEAT, pulse_seconds=heartbeat_seconds
    )


def slow_json(
    result: Callable[[], Awaitable[Encoded]],
    *,
    headers: Mapping[str, str],
    heartbeat_seconds: float,
    leaving: Leaving | None = None,
) -> LongResponse:
    """Return JSON that is not there yet: blank lines, legal before JSON, keep the line alive."""
    return LongResponse(
        _value(result),
        headers={**_JSON_HEADERS, **headers},
        pulse=b"\n",
        pulse_seconds=heartbeat_seconds,
        leaving=leaving,
    )


def failed_stream(
    name: str, message: str, *, headers: Mapping[str, str], heartbeat_seconds: float
) -> LongResponse:
    """Return a stream of one error event: what clients expect where a run does not exist."""
    return LongResponse(
        _single(failure_event(name, message)),
        headers={**_SSE_HEADERS, **headers},
        pulse=HEARTBEAT,
        pulse_seconds=heartbeat_seconds,
    )


def failure_event(name: str, message: str) -> bytes:
    return encode_event("error", orjson.dumps({"error": name, "message": message}))


async def _events(reader: EventReader | None, framing: Framing, end: RunEnd | None) -> Source:
    if reader is not None:
        try:
            async for batch in reader:
                frames = framing.frames(batch)
                if frames:
                    yield frames
        except EventsLost as error:
            yield failure_event("EventsLost", str(error))
            return
        finally:
            await reader.aclose()
    if end is not None:
        yield await end.frame(framing.status)


async def _frames(batches: AsyncGenerator[Sequence[StoredEvent]], framing: Framing) -> Source:
    async with aclosing(batches):
        async for batch in batches:
            frames = framing.frames(batch)
            if frames:
                yield frames


async def _single(frame: bytes) -> Source:
    yield frame


async def _value(result: Callable[[], Awaitable[Encoded]]) -> Source:
    """Yield the result. The status has been sent, so an error can only be in the body."""
    try:
        yield await result()
    except LoomlineError as error:
        yield orjson.dumps({"__error__": {"error": type(error).__name__, "message": str(error)}})
    except Exception:
        logger.exception("waiting for a run failed")
        message = {"error": "InternalError", "message": "An internal error occurred"}
        yield orjson.dumps({"__error__": message})


def _start(headers: Mapping[str, str]) -> Message:
    raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    return {"type": "http.response.start", "status": 200, "headers": raw}
