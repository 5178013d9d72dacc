"""Server-sent events, in both directions and without I/O.

The wire form is that of the WHATWG standard; payloads are JSON.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Final, TypeAlias

import orjson

from loomline.schema import StreamPart

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

# No blank line after comments: where events have ids, several decoders (that of the JavaScript SDK,
# older ones of the Python SDK) take every blank line for the end of an event.

HEARTBEAT: Final = b": heartbeat\r\n"
"""A comment that tells both sides that the connection lives."""

END: Final = b": end\r\n"
"""A comment before a clean close: the stream is over, not broken off."""

_END_LINE: Final = b": end"
_BLANK: Final = b"\n\n"
_CR: Final = 13
_BOM: Final = b"\xef\xbb\xbf"

_DENSE: Final = 512
"""Bytes per line end above which lines are searched one by one."""

_LONG: Final = 4096
"""Bytes from which on a view of a line is cheaper than a copy."""

_NAMES_KEPT: Final = 256

_BLOCKS: Final = re.compile(
    rb"(?:id: ([^\n\0]+)\n)?(?:event: ([^\n]+)\n)?data: ([^\n]*)\n(?:id: ([^\n\0]+)\n)?\n"
    rb"|((?:[^\n]+\n)*\n)"
)
"""The usual form of an event, in groups, or else any other block, in the last group."""

_new: Final = tuple.__new__
_loads: Final = orjson.loads


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
    """Cuts bytes into lines that end with LF, CR LF or CR, however the bytes are split.

    Attributes:
        buffer: What has come of the line that is not complete yet.
        trailing_cr: Whether a CR came last, so that an LF that follows is not a line of its own.
    """

    def __init__(self) -> None:
        self.buffer: list[bytes] = []
        self.trailing_cr: bool = False

    def decode(self, text: BytesLike) -> list[bytes]:
        """Return the lines that this piece completes, without their ends."""
        whole = self.take(text)
        lines = whole.split(b"\n")
        last = lines.pop()
        if last:
            self.buffer.append(last)
        return [line.removesuffix(b"\r") for line in lines] if b"\r" in whole else lines

    def take(self, text: BytesLike) -> bytes:
        """Return what can be cut by now, the earlier rest included.

        All its lines end with LF, or with CR LF where there are few. The caller puts what follows
        the last end back into `buffer`.
        """
        piece = text if isinstance(text, bytes) else bytes(text)
        if self.trailing_cr and piece:
            self.trailing_cr = False
            piece = piece.removeprefix(b"\n")
        returns = b"\r" in piece
        if not returns and b"\n" not in piece:
            if piece:
                self.buffer.append(piece)
            return b""
        if returns:
            self.trailing_cr = piece.endswith(b"\r")
            piece = _unified(piece)
        if self.buffer:
            piece = b"".join([*self.buffer, piece])
            self.buffer.clear()
        return piece

    def flush(self) -> list[bytes]:
        """Return the last line where the input ends without a line end."""
        line = b"".join(self.buffer)
        self.buffer.clear()
        self.trailing_cr = False
        return [line] if line else []


class SSEDecoder:
    """Turns lines into events.

    Args:
        last_event_id: The id to start with, for a stream that goes on.

    Attributes:
        delivers: Whether the last event had a name or data. One that only set an id is for the
            cursor, not for users.
        idle: Whether nothing has come since the last event.
    """

    def __init__(self, *, last_event_id: str | None = None) -> None:
        self.delivers: bool = False
        self.idle: bool = False  # the first line may have a mark to drop
        self._event = ""
        self._data: list[bytes | memoryview] = []
        self._pending = False
        self._id = last_event_id
        self._first = True
        self._retry: int | None = None

    @property
    def last_event_id(self) -> str | None:
        """The last id that was sent; empty after the server took it back."""
        return self._id

    @last_event_id.setter
    def last_event_id(self, value: str | None) -> None:
        self._id = value

    @property
    def has_data(self) -> bool:
        """Whether the event that is being read has data."""
        return bool(self._data)

    def decode(self, line: bytes) -> StreamPart | None:
        """Take a line; return the event that it completes, if it does.

        Raises:
            orjson.JSONDecodeError: the data of the event is not JSON.
        """
        if not line:
            return self._dispatch()
        self.idle = False
        # The commonest field first: comparing names would cost more than all the rest.
        if line.startswith(b"data: "):
            self._data.append(line[6:] if len(line) < _LONG else memoryview(line)[6:])
            self._first = False
            return None
        if self._first:
            self._first = False
            line = line.removeprefix(_BOM)
        if not line.startswith(b":"):
            name, _, value = line.partition(b":")
            self._field(name, value.removeprefix(b" "))
        return None

    def take_data(self, value: bytes | memoryview) -> None:
        """Take the value of a line of data."""
        self.idle = self._first = False
        self._data.append(value)

    def _field(self, name: bytes, value: bytes) -> None:
        if name == b"event":
            self._event = value.decode("utf-8", "replace")
            self._pending = True
        elif name == b"data":
            self._data.append(value)
        elif name == b"id" and b"\0" not in value:
            self._id = value.decode("utf-8", "replace")
            self._pending = True
        elif name == b"retry" and value.isdigit():
            self._retry = int(value[:15])
            self._pending = True

    def _dispatch(self) -> StreamPart | None:
        self.idle = True
        data = self._data
        if not data:
            if not self._pending:
                return None
            part = StreamPart(self._event, None, self._id)
            self.delivers = self._event != ""
        else:
            self._data = []
            text = data[0] if len(data) == 1 else b"\n".join(data)
            part = StreamPart(self._event, _payload(text), self._id)
            self.delivers = True
        self._event = ""
        self._pending = False
        return part


class Decoder:
    """Turns the bytes of a response into events: lines, events and the clean end together."""

    def __init__(self, *, last_event_id: str | None = None) -> None:
        self.ended: bool = False
        self._lines = BytesLineDecoder()
        self._events = SSEDecoder(last_event_id=last_event_id)
        self._names: dict[bytes, str] = {b"": ""}

    @property
    def last_event_id(self) -> str | None:
        """The last id that was sent; empty after the server took it back."""
        return self._events.last_event_id

    def feed(self, data: BytesLike) -> Iterator[StreamPart]:
        """Yield the events that this piece completes. Read them all before the next piece.

        Raises:
            orjson.JSONDecodeError: the data of an event is not JSON.
        """
        text = self._lines.take(data)
        if not text:
            return
        start = 0
        if _dense(text):
            if not self._events.idle:
                start = text.find(_BLANK) + len(_BLANK) if _BLANK in text else 0
                yield from self._by_line(text, 0, start)
            end = text.rfind(_BLANK) + len(_BLANK)
            if self._events.idle and start + len(_BLANK) <= end:
                yield from self._by_block(text, start, end)
                start = end
            if self._events.idle and len(text) - start < _LONG:
                # The beginning of a block is kept whole, for the fast way.
                end = start
            else:
                end = text.rfind(b"\n") + 1
        else:
            end = text.rfind(b"\n") + 1
        yield from self._by_line(text, start, end)
        if end < len(text):
            self._lines.buffer.append(text[end:])

    def finish(self) -> list[StreamPart]:
        """Return what the end of the input completes: a last event without its blank line."""
        lines = b"".join([*self._lines.flush(), b"\n"]).split(b"\n")
        return [part for part in map(self._line, lines) if part is not None]

    def _by_line(self, text: bytes, start: int, end: int) -> Iterator[StreamPart]:
        """Yield the events of some lines; right for any, and fast for few long ones."""
        find, events = text.find, self._events
        while start < end:
            after = find(b"\n", start) + 1
            stop = after - 2 if text[after - 2] == _CR and after - 2 >= start else after - 1
            if stop - start > _LONG and text.startswith(b"data: ", start):
                events.take_data(memoryview(text)[start + 6 : stop])
            elif (part := self._line(text[start:stop])) is not None:
                yield part
            start = after

    def _by_block(self, text: bytes, start: int, end: int) -> Iterator[StreamPart]:
        """Yield the events of whole blocks; fast for many short ones of the usual form."""
        names, events = self._names, self._events
        cursor = events.last_event_id
        for before, name, data, after, other in _BLOCKS.findall(text, start, end):
            if other:
                events.last_event_id = cursor
                yield from self._by_line(other, 0, len(other))
                cursor = events.last_event_id
                continue
            event = names.get(name)
            if event is None:
                event = self._name(name)
            if after:
                cursor = after.decode("utf-8", "replace")
            elif before:
                cursor = before.decode("utf-8", "replace")
            try:
                payload = _loads(data)
            except orjson.JSONDecodeError:
                payload = _payload(data)
            yield _new(StreamPart, (event, payload, cursor))
        events.last_event_id = cursor

    def _line(self, line: bytes) -> StreamPart | None:
        part = self._events.decode(line)
        if part is None:
            self.ended = self.ended or line == _END_LINE
            return None
        return part if self._events.delivers else None

    def _name(self, raw: bytes) -> str:
        name = raw.decode("utf-8", "replace")
        if len(self._names) < _NAMES_KEPT:
            self._names[raw] = name
        return name


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


def _dense(text: bytes) -> bool:
    """Return whether text looks as if it had many short lines."""
    return text.count(b"\n", 0, _LONG) * _DENSE > min(len(text), _LONG)


def _unified(text: bytes) -> bytes:
    """Return text with LF at all line ends, or as it is where they are few and all CR LF."""
    if not _dense(text) and _all_pairs(text):
        return text
    lines = text.splitlines()
    if text.endswith((b"\n", b"\r")):
        lines.append(b"")
    return b"\n".join(lines)


def _all_pairs(text: bytes) -> bool:
    """Return whether every CR is followed by an LF, and every LF comes after a CR.

    Finds single bytes: counting them, or finding two, takes many times as long.
    """
    place = -1
    while (place := text.find(b"\n", place + 1)) >= 0:
        if place == 0 or text[place - 1] != _CR:
            return False
    while (place := text.find(b"\r", place + 1)) >= 0:
        if not text.startswith(b"\n", place + 1):
            return False
    return True


def _payload(data: bytes | memoryview) -> object:
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        text = bytes(data)
        return orjson.loads(text.decode("utf-8", "replace")) if text.strip() else None
