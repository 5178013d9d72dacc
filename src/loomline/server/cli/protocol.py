"""HTTP/1.1 as uvicorn speaks it, with a bound on what a client may send before the body."""

from __future__ import annotations

from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_REFUSAL: Final = b'{"detail":"The headers are larger than allowed."}'
_ANSWER: Final = b"\r\n".join(
    [
        b"HTTP/1.1 431 Request Header Fields Too Large",
        b"content-type: application/json",
        b"content-length: %d" % len(_REFUSAL),
        b"connection: close",
        b"",
        _REFUSAL,
    ]
)


def bounded(limit: int) -> type[HttpToolsProtocol]:
    """Return the protocol for headers of so many bytes.

    A head that is complete is judged later, to the byte. Here it is about those that never end:
    the parser would collect them.
    """

    class Bounded(HttpToolsProtocol):
        _head = 0
        _in_head = True

        def data_received(self, data: bytes) -> None:
            before = self._head
            super().data_received(data)
            if self._in_head:
                # A request may have ended within this piece, and the next one begun.
                self._head = min(before, self._head) + len(data)
                self._refuse_beyond(2 * limit)

        def on_headers_complete(self) -> None:
            self._head, self._in_head = 0, False
            super().on_headers_complete()

        def on_header(self, name: bytes, value: bytes) -> None:
            if not self._in_head:  # behind the body
                self._head += len(name) + len(value)
                self._refuse_beyond(limit)
            super().on_header(name, value)

        def on_message_complete(self) -> None:
            self._head, self._in_head = 0, True
            super().on_message_complete()

        def _refuse_beyond(self, most: int) -> None:
            if self._head > most and not self.transport.is_closing():
                self.transport.write(_ANSWER)
                self.transport.close()

    return Bounded
