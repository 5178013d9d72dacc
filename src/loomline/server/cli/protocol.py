"""HTTP/1.1 as uvicorn speaks it, with bounds on heads that never end and requests that stop."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial
from typing import Final

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from loomline.server.api.connections import Connections


def _answer(status: bytes, text: bytes) -> bytes:
    body = b'{"detail":"%b"}' % text
    lines = [
        b"HTTP/1.1 " + status,
        b"content-type: application/json",
        b"content-length: %d" % len(body),
        b"connection: close",
    ]
    return b"\r\n".join([*lines, b"", body])


_TOO_LARGE: Final = _answer(
    b"431 Request Header Fields Too Large", b"The headers are larger than allowed."
)
_TOO_SLOW: Final = _answer(
    b"408 Request Timeout", b"The request did not arrive in time. Send it again."
)
_TOO_MANY: Final = _answer(
    b"503 Service Unavailable", b"The server has too many connections. Try again later."
)

# A loop that stood still calls its timers before it reads the data that has arrived meanwhile.
_GRACE_SECONDS: Final = 0.5


@dataclass(frozen=True, slots=True)
class Bounds:
    """The bytes of a head, and how long the parts of a request may take to arrive."""

    header_bytes: int
    head_seconds: float
    body_seconds: float


class Bounded(HttpToolsProtocol):
    """One connection.

    Complete heads are judged by the application, to the byte. Here it is about bytes that belong to
    no complete head and to no body: the parser would collect a head that never ends.

    A deadline, with one timer per connection, is set while a request is awaited from a client that
    is to send it: from the first byte, or the connection, to the end of a head, and between two
    pieces of a body. While a request is being answered there is none; between two requests uvicorn
    closes the connection.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, object],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        bounds: Bounds,
        connections: Connections,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._bounds = bounds
        self._counted = connections
        self._overhead = 0
        self._advanced = False
        self._begun = False
        self._in_body = False
        self._upgraded = False
        self._refusal: bytes | None = None
        self._deadline: float | None = None
        self._late = False
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect(self._bounds.head_seconds)
        if not self._counted.enter(self):
            self._close(_TOO_MANY)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        self._counted.leave(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        # The event loop reads up to 256 KiB at once: too much to leave uncounted.
        size = self._bounds.header_bytes
        for start in range(0, len(data), size):
            if self._refusal is not None or self._upgraded or self.transport.is_closing():
                return
            self._parse(data[start : start + size])

    def _parse(self, data: bytes) -> None:
        self._advanced = False
        super().data_received(data)
        if self._upgraded or self.transport.is_closing():
            return
        # A piece in which a head, a body or a part of it has ended is not counted: the rest of it
        # belongs to the next head, and is at most as large as a head may be.
        self._overhead = 0 if self._advanced else self._overhead + len(data)
        if self._overhead > 2 * self._bounds.header_bytes:
            self._refuse(_TOO_LARGE)
        self._set_deadline()

    def on_message_begin(self) -> None:
        self._begun = True
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        # Fields behind a body are no headers: the request has been authenticated without them.
        if not self._in_body:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._begun, self._in_body, self._advanced = False, True, True
        self._counted.work(self)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._advanced = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._in_body, self._advanced = False, True
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.transport.is_closing() or self._must_wait():
            return
        if self._refusal is not None:
            self._close(self._refusal)
            return
        if self._in_body or self._begun:
            # The deadline of the request that has begun counts, not that of an idle connection.
            self._unset_keepalive_if_required()
            self._expect(self._bounds.body_seconds if self._in_body else self._bounds.head_seconds)
        if self._answered():
            self._counted.wait(self)

    def handle_websocket_upgrade(self) -> None:
        self._upgraded = True
        self._stop_waiting()
        self._counted.leave(self)
        super().handle_websocket_upgrade()

    def send_400_response(self, msg: str) -> None:
        self._counted.note("invalid")
        self._refuse(_answer(b"400 Bad Request", msg.encode()))

    def dismiss(self) -> None:
        self._close(_TOO_MANY if self._begun else None)

    def _answered(self) -> bool:
        # There is no cycle before the first request; its type does not say so.
        current: RequestResponseCycle | None = self.cycle
        return not self.pipeline and (current is None or current.response_complete)

    def _must_wait(self) -> bool:
        """Return whether an earlier request is to be answered before the one that arrives."""
        return bool(self.pipeline) if self._in_body else not self._answered()

    def _refuse(self, answer: bytes) -> None:
        """Close the connection with an answer, after those of earlier requests."""
        if self._must_wait():
            self._refusal = answer
        else:
            self._close(answer)

    def _close(self, answer: bytes | None) -> None:
        if self.transport.is_closing():
            return
        if self._in_body:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            answer = None if self.cycle.response_started else answer
        if answer is not None:
            self.transport.write(answer)
        self.transport.close()

    def _set_deadline(self) -> None:
        if self._in_body:
            if self._advanced:
                self._expect(self._bounds.body_seconds)
        elif not self._answered():
            self._deadline = None
        elif self._advanced or self._deadline is None:
            self._expect(self._bounds.head_seconds)

    def _expect(self, seconds: float) -> None:
        """Set the deadline. The timer is only started: it looks at the deadline when it fires."""
        self._deadline, self._late = self.loop.time() + seconds, False
        if self._timer is None:
            self._timer = self.loop.call_later(seconds, self._look)

    def _stop_waiting(self) -> None:
        self._deadline = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        if self._deadline is None or self.transport.is_closing():
            return
        left = self._deadline - self.loop.time()
        if left <= 0 and self._late:
            self._time_out()
            return
        self._late = left <= 0
        self._timer = self.loop.call_later(left if left > 0 else _GRACE_SECONDS, self._look)

    def _is_server_late(self) -> bool:
        """Return whether the client waits for the server to read, or to ask for the body."""
        asked = not self._in_body or not self.cycle.waiting_for_100_continue
        return self.flow.read_paused or not asked

    def _time_out(self) -> None:
        if self._is_server_late():
            self._expect(self._bounds.body_seconds)
        elif self._in_body and self.cycle.response_started and not self.cycle.response_complete:
            self._deadline = None
        else:
            self._counted.note("timed_out")
            self._close(_TOO_SLOW if self._begun or self._in_body else None)


def bounded(bounds: Bounds, connections: Connections) -> partial[Bounded]:
    """Return the factory of the protocol of each connection."""
    return partial(Bounded, bounds=bounds, connections=connections)
