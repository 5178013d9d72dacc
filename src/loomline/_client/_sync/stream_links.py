# Generated from stream_links.py by tools/unasync.py. Do not edit.
"""How commands and events of a thread travel: over HTTP, or over a WebSocket."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any, Final, Protocol

import httpx
import orjson

from loomline._client._core.codec import encode
from loomline._client._core.options import TimeoutTypes
from loomline._client._core.requests import path
from loomline._client._sync.http import SyncHttpClient
from loomline._client.sockets import (
    CLEAN,
    GOODBYE,
    PING_SECONDS,
    check_websockets,
    socket_headers,
    socket_url,
    sync_connect,
    sync_interrupt,
    sync_interrupt_socket,
)
from loomline.errors import connection_error
from loomline.sse import Decoder
from loomline.stream.errors import protocol_error

_COMMANDS: Final = "/threads/{thread_id}/commands"
_EVENTS: Final = "/threads/{thread_id}/stream/events"
_STREAM: Final = {"Accept": "text/event-stream", "Cache-Control": "no-store"}
_OURS: Final = frozenset({"accept", "cache-control", "content-type"})
_EMPTY: Final = (202, 204)


class Link(Protocol):
    """An open stream of events."""

    def batches(self) -> Generator[tuple[list[Any], int]]:
        """Yield the events as they come, several at once, and how many bytes they were."""
        ...

    def close(self) -> None:
        """End it."""
        ...

    def interrupt(self) -> None:
        """Wake whoever reads it."""
        ...


class Transport:
    """Sends commands, and opens streams of events over HTTP.

    Args:
        http: Sends the requests.
        thread_id: The thread.
        headers: Headers for every request.
        commands_path: Where commands go, if not to the usual place.
        stream_path: Where events come from, if not from the usual place.
        timeout: Seconds for each request.
    """

    def __init__(
        self,
        http: SyncHttpClient,
        thread_id: str,
        *,
        headers: Mapping[str, str] | None = None,
        commands_path: str | None = None,
        stream_path: str | None = None,
        timeout: TimeoutTypes = None,
    ) -> None:
        self.http: SyncHttpClient = http
        self.timeout: TimeoutTypes = timeout
        self.headers: dict[str, str] = dict(headers or {})
        self._commands = commands_path or path(_COMMANDS, thread_id=thread_id)
        self._stream = stream_path or path(_EVENTS, thread_id=thread_id)

    def send(self, command: Mapping[str, Any]) -> dict[str, Any] | None:
        """Send a command; return what the server answers, None where that is no object.

        Raises:
            APIStatusError: the server refused the request.
            APIConnectionError: the server could not be reached.
        """
        response = self.http.raw(
            "POST", self._commands, json=command, headers=self.headers, timeout=self.timeout
        )
        if response.status_code in _EMPTY:
            return {"type": "success", "id": command["id"], "result": {}}
        try:
            answer = orjson.loads(response.content)
        except orjson.JSONDecodeError:
            return None
        return answer if isinstance(answer, dict) else None

    def get(self, place: str, params: Mapping[str, Any] | None = None) -> Any:
        """Get what is at a place of the server.

        Raises:
            APIStatusError: the server refused.
            APIConnectionError: the server could not be reached.
        """
        return self.http.get(place, params=params, headers=self.headers, timeout=self.timeout)

    def open(self, params: Mapping[str, Any]) -> Link:
        """Open a stream of events.

        Raises:
            APIStatusError: the server refused.
            APIConnectionError: the server could not be reached.
        """
        kept = {k: v for k, v in self.headers.items() if k.lower() not in _OURS}
        response = self.http.open(
            "POST", self._stream, json=params, headers={**kept, **_STREAM}, timeout=self.timeout
        )
        kind = response.headers.get("content-type", "").partition(";")[0]
        if "text/event-stream" not in kind:
            response.close()
            raise httpx.RemoteProtocolError(f"Expected text/event-stream, got '{kind}'")
        return HttpLink(response)


class SocketTransport(Transport):
    """Sends commands over HTTP, and opens streams of events over WebSockets.

    Args:
        http: Sends the requests.
        thread_id: The thread.
        headers: Headers for every request.
        commands_path: Where commands go, if not to the usual place.
        stream_path: Where events come from, if not from the usual place.
        timeout: Seconds for each request.
        connect: Opens a WebSocket, if not the library `websockets`.
        ping_interval: Seconds between signs of life; None: none are sent.
        ping_timeout: Seconds to wait for the answer to one.

    Raises:
        RuntimeError: WebSockets cannot work here.
    """

    def __init__(
        self,
        http: SyncHttpClient,
        thread_id: str,
        *,
        headers: Mapping[str, str] | None = None,
        commands_path: str | None = None,
        stream_path: str | None = None,
        timeout: TimeoutTypes = None,
        connect: Any = None,
        ping_interval: float | None = PING_SECONDS,
        ping_timeout: float | None = PING_SECONDS,
    ) -> None:
        super().__init__(
            http,
            thread_id,
            headers=headers,
            commands_path=commands_path,
            stream_path=stream_path,
            timeout=timeout,
        )
        if connect is None:
            check_websockets(http.client)
        self._connect = connect
        self._timing = {"ping_interval": ping_interval, "ping_timeout": ping_timeout}

    def open(self, params: Mapping[str, Any]) -> Link:
        """Open a stream of events.

        Raises:
            websockets.InvalidStatus: the server refused.
            OSError: the server could not be reached.
        """
        request = self.http.prepare(self._stream, headers=self.headers)
        socket = sync_connect(
            socket_url(request.url),
            socket_headers(request.headers),
            self._connect,
            **self._timing,
        )
        link = SocketLink(socket)
        try:
            link.subscribe(params)
        except BaseException:
            link.close()
            raise
        return link


class HttpLink:
    """A stream of events in the answer to a request."""

    def __init__(self, response: httpx.Response) -> None:
        self._response = response

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

    def close(self) -> None:
        """End it."""
        self._response.close()

    def interrupt(self) -> None:
        """Wake whoever reads it."""
        sync_interrupt(self._response)


class SocketLink:
    """A stream of events over a WebSocket."""

    def __init__(self, socket: Any) -> None:
        self._socket = socket

    def subscribe(self, params: Mapping[str, Any]) -> None:
        """Tell the server what to send. One that goes on after an event says so another way."""
        method = "subscription.reconnect" if "since" in params else "subscription.subscribe"
        command = {"id": 1, "method": method, "params": dict(params)}
        self._socket.send(encode(command).decode())

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

    def close(self) -> None:
        """End it."""
        self._socket.close(CLEAN, GOODBYE)

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
