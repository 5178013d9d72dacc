# Generated from stream_links.py by tools/unasync.py. Do not edit.
"""The connections that commands and events of a thread take: HTTP, or a WebSocket."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any

import httpx
import orjson

from loomline._client._core.codec import encode
from loomline._client.event_streams import Note
from loomline._client.protocol import build_event_stream_body
from loomline._client.sockets import (
    CLEAN,
    GOODBYE,
    SyncSocket,
    sync_interrupt,
    sync_interrupt_socket,
)
from loomline.errors import connection_error
from loomline.sse import Decoder
from loomline.stream.errors import protocol_error


class HttpLink:
    """A stream of events in the answer to a request."""

    def __init__(self, response: httpx.Response) -> None:
        self._response = response

    def begin(self) -> None:
        """Do nothing: the request has said which events are wanted."""

    def batches(self) -> Generator[tuple[list[Any], int]]:
        """Yield the events as they come, several at once, and how many bytes they were.

        Raises:
            APIConnectionError: the connection broke.
        """
        decoder = Decoder()
        try:
            for piece in self._response.iter_bytes():
                if events := [part.data for part in decoder.feed(piece)]:
                    yield events, len(piece)
        except httpx.TransportError as error:
            raise connection_error(error, self._response.request) from error
        if events := [part.data for part in decoder.finish()]:
            yield events, 0

    def frames(self, note: Note) -> Generator[Any]:  # noqa: ARG002 - for WebSockets
        """Yield the data of every event, one at a time, up to data that is not JSON.

        Raises:
            APIConnectionError: the connection broke.
            orjson.JSONDecodeError: the data of an event is not JSON.
        """
        decoder = Decoder()
        try:
            for piece in self._response.iter_bytes():
                for part in decoder.feed(piece):
                    yield part.data
        except httpx.TransportError as error:
            raise connection_error(error, self._response.request) from error
        for part in decoder.finish():
            yield part.data

    def close(self) -> None:
        """End it."""
        self._response.close()

    def interrupt(self) -> None:
        """Wake whoever reads it."""
        sync_interrupt(self._response)


class SocketLink:
    """A stream of events over a WebSocket."""

    def __init__(self, opened: SyncSocket, params: Mapping[str, Any]) -> None:
        self._opened = opened
        self._socket = opened.socket
        self._params = params

    def begin(self) -> None:
        """Tell the server which events to send.

        A stream that goes on after an event uses another method.

        Servers ignore `since` in `subscription.subscribe`.

        Raises:
            KeyError: the parameters have no `channels`.
        """
        body = build_event_stream_body(self._params)
        method = "subscription.reconnect" if "since" in body else "subscription.subscribe"
        self._socket.send(encode({"id": 1, "method": method, "params": body}).decode())

    def batches(self) -> Generator[tuple[list[Any], int]]:
        """Yield the events as they come, and how many bytes they were.

        Raises:
            RuntimeError: the server refused the subscription, or sent something else than events.
        """
        for frame in self._socket:
            event = _frame(frame)
            if event.get("type") == "error" and event.get("id") == 1:
                raise protocol_error(event)
            if "method" in event or event.get("type") == "error":
                yield [event], len(frame)

    def frames(self, note: Note) -> Generator[Any]:
        """Yield every object, answers to commands too. Other values go to a function."""
        for frame in self._socket:
            try:
                event = _frame(frame)
            except RuntimeError as error:
                note(error)
            else:
                yield event

    def close(self) -> None:
        """End it."""
        try:
            self._socket.close(CLEAN, GOODBYE)
        finally:
            self._opened.close()

    def interrupt(self) -> None:
        """Wake whoever reads it."""
        sync_interrupt_socket(self._socket)


def _frame(frame: str | bytes) -> dict[str, Any]:
    try:
        event = orjson.loads(frame)
    except orjson.JSONDecodeError as error:
        raise RuntimeError("The server sent a frame that is not JSON.") from error
    if not isinstance(event, dict):
        raise RuntimeError("The server sent a frame that is not a JSON object.")  # noqa: TRY004
    return event
