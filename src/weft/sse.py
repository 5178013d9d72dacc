"""Server-sent events, in both directions and without I/O.

The wire form is that of the WHATWG standard; payloads are JSON.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Final, TypeAlias

import orjson

from weft.schema import StreamPart

if TYPE_CHECKING:
    import httpx

__all__ = [
    "END",
    "HEARTBEAT",
    "BytesLike",
    "BytesLineDecoder",
    "Decoder",
    "SSEDecoder",
    "aiter_lines_raw",
    "encode_event",
    "iter_lines_raw",
]

BytesLike: TypeAlias = bytes | bytearray | memoryview

HEARTBEAT: Final = b": heartbeat\r\n\r\n"
"""A comment that tells both sides that the connection lives."""

END: Final = b": end\r\n\r\n"
"""A comment before a clean close: the stream is over, not broken off."""

_END_LINE: Final = b": end"
_BOM: Final = b"\xef\xbb\xbf"


def encode_event(name: str, data: bytes, event_id: str | None = None) -> bytes:
    """Return one event.

    Args:
        name: The event's name, without line ends.
        data: JSON text on one line.
        event_id: The id that a client sends to go on after this event.
    """
    if event_id is None:
        return b"event: %b\r\ndata: %b\r\n\r\n" % (name.encode(), data)
    return b"event: %b\r\ndata: %b\r\nid: %b\r\n\r\n" % (
        name.encode(),
        data,
        event_id.encode(),
    )


class BytesLineDecoder:
    """Cuts bytes into lines that end with LF, CR LF or CR, however the bytes are split."""

    def __init__(self) -> None:
        self._rest: list[bytes] = []
        self._skip_newline = False

    def decode(self, data: BytesLike) -> list[bytes]:
        """Return the lines that this piece completes, without their ends."""
        text = bytes(data)
        if self._skip_newline and text:
            self._skip_newline = False
            if text[0] == 10:
                text = text[1:]
        if b"\r" in text:
            return self._decode_returns(text)
        if b"\n" not in text:
            if text:
                self._rest.append(text)
            return []
        lines = text.split(b"\n")
        return self._completed(lines)

    def flush(self) -> list[bytes]:
        """Return the last line where the input ends without a line end."""
        line = b"".join(self._rest)
        self._rest = []
        self._skip_newline = False
        return [line] if line else []

    def _completed(self, lines: list[bytes]) -> list[bytes]:
        """Join what was left with the first line, and keep the unfinished last one."""
        if self._rest:
            self._rest.append(lines[0])
            lines[0] = b"".join(self._rest)
        last = lines.pop()
        self._rest = [last] if last else []
        return lines

    def _decode_returns(self, text: bytes) -> list[bytes]:
        self._skip_newline = text.endswith(b"\r")
        lines: list[bytes] = []
        pieces = text.split(b"\n")
        final = len(pieces) - 1
        for index, piece in enumerate(pieces):
            # A return right before a newline belongs to it.
            line = piece[:-1] if index < final and piece.endswith(b"\r") else piece
            if b"\r" in line:
                lines.extend(line.split(b"\r"))
            else:
                lines.append(line)
        return self._completed(lines)


class SSEDecoder:
    """Turns lines into events.

    Args:
        last_event_id: The id to start with, for a stream that goes on.

    Attributes:
        delivers: Whether the last event had a name or data. One that only set an id is for the
            cursor, not for users.
    """

    def __init__(self, *, last_event_id: str | None = None) -> None:
        self.delivers = False
        self._event = ""
        self._data: list[bytes] = []
        self._has_data = False
        self._pending = False
        self._id = last_event_id
        self._first = True
        self._retry: int | None = None

    @property
    def last_event_id(self) -> str | None:
        """The last id that was sent; empty after the server took it back."""
        return self._id

    @property
    def has_data(self) -> bool:
        """Whether the event that is being read has data so far."""
        return self._has_data

    def decode(self, line: bytes) -> StreamPart | None:
        """Take one line; return the event that it completes, if it completes one.

        Raises:
            orjson.JSONDecodeError: the data is not JSON.
        """
        if self._first:
            self._first = False
            line = line.removeprefix(_BOM)
        if not line:
            return self._dispatch()
        # The field by its first letter: comparing names would cost more than all the rest.
        if line.startswith(b"data: "):
            self._has_data = self._pending = True
            self._data.append(line[6:])
            return None
        if line[0] != 58:
            name, _, value = line.partition(b":")
            self._field(name, value.removeprefix(b" "))
        return None

    def _field(self, name: bytes, value: bytes) -> None:
        if name == b"event":
            self._event = value.decode("utf-8", "replace")
            self._pending = True
        elif name == b"data":
            self._has_data = self._pending = True
            self._data.append(value)
        elif name == b"id" and b"\0" not in value:
            self._id = value.decode("utf-8", "replace")
            self._pending = True
        elif name == b"retry" and value.isdigit():
            self._retry = int(value[:15])
            self._pending = True

    def _dispatch(self) -> StreamPart | None:
        if not self._pending:
            return None
        data = self._data[0] if len(self._data) == 1 else b"\n".join(self._data)
        part = StreamPart(self._event, None, self._id)
        self.delivers = bool(self._event or self._has_data)
        self._event, self._data = "", []
        self._has_data = self._pending = False
        return part._replace(data=_payload(data)) if data else part


class Decoder:
    """Turns the bytes of a response into events: lines, events and the clean end together."""

    def __init__(self, *, last_event_id: str | None = None) -> None:
        self.ended = False
        self._lines = BytesLineDecoder()
        self._events = SSEDecoder(last_event_id=last_event_id)

    @property
    def last_event_id(self) -> str | None:
        """The last id that was sent; empty after the server took it back."""
        return self._events.last_event_id

    def feed(self, data: BytesLike) -> list[StreamPart]:
        """Return the events that this piece completes."""
        return self._decode(self._lines.decode(data))

    def finish(self) -> list[StreamPart]:
        """Return what the end of the input completes: a last event without its blank line."""
        return self._decode([*self._lines.flush(), b""])

    def _decode(self, lines: list[bytes]) -> list[StreamPart]:
        events = self._events
        parts = []
        for line in lines:
            part = events.decode(line)
            if part is None:
                self.ended = self.ended or line == _END_LINE
            elif events.delivers:
                parts.append(part)
        return parts


def iter_lines_raw(response: httpx.Response) -> Iterator[bytes]:
    """Yield the lines of a streamed response, the unfinished last one included."""
    decoder = BytesLineDecoder()
    for chunk in response.iter_bytes():
        yield from decoder.decode(chunk)
    yield from decoder.flush()


async def aiter_lines_raw(response: httpx.Response) -> AsyncIterator[bytes]:
    """Yield the lines of a streamed response, the unfinished last one included."""
    decoder = BytesLineDecoder()
    async for chunk in response.aiter_bytes():
        for line in decoder.decode(chunk):
            yield line
    for line in decoder.flush():
        yield line


def _payload(data: bytes) -> object:
    if not data.strip():
        return None
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        return orjson.loads(data.decode("utf-8", "replace"))
