# Generated from stream_transports.py by tools/unasync.py. Do not edit.
"""The transports of one thread: commands over HTTP, events over HTTP or a WebSocket."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import httpx
import orjson

from loomline._client._core.credentials import Credentials
from loomline._client._core.options import TimeoutTypes
from loomline._client._core.requests import path, segment
from loomline._client._sync.http import SyncHttpClient
from loomline._client._sync.stream_links import HttpLink, SocketLink
from loomline._client.event_streams import SYNC_TYPED, SyncEventStream, SyncLink
from loomline._client.protocol import (
    SyncEventStreamHandle,
    build_event_stream_body,
    build_websocket_url,
)
from loomline._client.sockets import (
    PING_SECONDS,
    check_websockets,
    socket_headers,
    sync_connect,
)

__all__ = ["SyncProtocolSseTransport", "SyncProtocolWebSocketTransport"]

_COMMANDS: Final = "/threads/{thread_id}/commands"
_EVENTS: Final = "/threads/{thread_id}/stream/events"
_STREAM: Final = {"Accept": "text/event-stream", "Cache-Control": "no-store"}
_OURS: Final = frozenset({"accept", "cache-control", "content-type"})
_EMPTY: Final = (202, 204)


class SyncProtocolSseTransport:
    """Sends the commands of one thread, and opens streams of its events, all over HTTP.

    Args:
        client: The `httpx` client that sends the requests. It has a `base_url`, and stays open.
        thread_id: The thread.
        commands_path: The path of commands, if it is not the usual one.
        stream_path: The path of events, if it is not the usual one.
        headers: Headers for every request.
        max_queue_size: How many events may wait for a reader before the connection is not read on.
        timeout: Seconds for each request.
        credentials: The source of the key and the headers of each request, if they change.

    Attributes:
        thread_id: The thread.

    Raises:
        TypeError: `thread_id` is None.
    """

    def __init__(
        self,
        *,
        client: httpx.Client,
        thread_id: str,
        commands_path: str | None = None,
        stream_path: str | None = None,
        headers: Mapping[str, str] | None = None,
        max_queue_size: int = 1024,
        timeout: TimeoutTypes = None,
        credentials: Credentials | None = None,
    ) -> None:
        segment(thread_id, "thread_id")
        self.thread_id: str = thread_id
        self._http = SyncHttpClient(client, credentials=credentials)
        self._timeout = timeout
        self._headers = dict(headers or {})
        self._commands = commands_path or path(_COMMANDS, thread_id=thread_id)
        self._stream = stream_path or path(_EVENTS, thread_id=thread_id)
        self._queue_size = max_queue_size
        self._streams: set[SyncEventStream] = set()
        self._closed = False
        self._gentle = False

    def send_command(self, command: dict[str, Any]) -> dict[str, Any] | None:
        """Send a command as it is.

        Args:
            command: `id`, `method` and `params`.

        Returns:
            The server's answer, also if it tells of an error. None: the server gave no answer.

        Raises:
            RuntimeError: the transport is closed, or the answer is not an object with an `id`.
            APIStatusError: the server refused the request.
            APIConnectionError: the server could not be reached.
        """
        self._check_open()
        response = self._http.raw(
            "POST", self._commands, json=command, headers=self._kept(), timeout=self._timeout
        )
        if response.status_code in _EMPTY:
            return None
        try:
            answer = orjson.loads(response.content)
        except orjson.JSONDecodeError:
            answer = None
        if not isinstance(answer, dict) or "id" not in answer:
            raise RuntimeError("Protocol command did not return a valid response.")
        return answer

    def open_event_stream(self, params: dict[str, Any]) -> SyncEventStreamHandle:
        """Open a stream of the events that a filter takes.

        Args:
            params: `channels`; optional `namespaces`, `depth` and `since`.

        Returns:
            The stream. Close it when it is not needed any more.

        Raises:
            RuntimeError: the transport is closed.
        """
        self._check_open()
        return SyncEventStream(
            self._streams,
            lambda: self._reach(params, typed=SYNC_TYPED),
            self._queue_size,
            gentle=self._gentle,
        ).handle

    def close(self) -> None:
        """End all streams, and refuse further calls. The client underneath stays open."""
        self._closed = True
        for stream in tuple(self._streams):
            stream.stop()

    def open(self, params: Mapping[str, Any]) -> SyncLink:
        """Open a connection that brings the events that a filter takes, without a queue.

        Raises:
            RuntimeError: the transport is closed.
            APIStatusError: the server refused.
            APIConnectionError: the server could not be reached.
        """
        self._check_open()
        link = self._reach(params, typed=True)
        try:
            link.begin()
        except BaseException:
            link.close()
            raise
        return link

    def _reach(self, params: Mapping[str, Any], *, typed: bool) -> SyncLink:
        """Connect; refuse an answer that is not an event stream, if asked to."""
        response = self._http.open(
            "POST",
            self._stream,
            json=build_event_stream_body(params),
            headers={**self._kept(), **_STREAM},
            timeout=self._timeout,
        )
        kind = response.headers.get("content-type", "").partition(";")[0]
        if typed and "text/event-stream" not in kind:
            response.close()
            raise httpx.RemoteProtocolError(f"Expected text/event-stream, got '{kind}'")
        return HttpLink(response)

    def _kept(self) -> dict[str, str]:
        """Return the headers that were given, without those that the protocol sets."""
        return {k: v for k, v in self._headers.items() if k.lower() not in _OURS}

    def _check_open(self) -> None:
        if self._closed:
            raise RuntimeError("The protocol transport is closed. Make another one.")


class SyncProtocolWebSocketTransport(SyncProtocolSseTransport):
    """Sends the commands of one thread over HTTP, and opens WebSockets for its events.

    Args:
        client: The `httpx` client that sends the commands. Its `base_url`, headers and cookies are
            used for WebSockets as well.
        thread_id: The thread.
        commands_path: The path of commands, if it is not the usual one.
        stream_path: The path of events, if it is not the usual one.
        headers: Headers for every request.
        connect: Opens a WebSocket; None: `connect` of the library `websockets`.
        max_queue_size: How many events may wait for a reader before the connection is not read on.
        ping_interval: Seconds between pings; None: no pings.
        ping_timeout: Seconds to wait for the answer to a ping; None: without a limit.
        timeout: Seconds for each request.
        credentials: The source of the key and the headers of each request, if they change.

    Attributes:
        thread_id: The thread.

    Raises:
        TypeError: `thread_id` is None.
        RuntimeError: `connect` is None, and WebSockets cannot work here.
    """

    def __init__(
        self,
        *,
        client: httpx.Client,
        thread_id: str,
        commands_path: str | None = None,
        stream_path: str | None = None,
        headers: Mapping[str, str] | None = None,
        connect: Any = None,
        max_queue_size: int = 1024,
        ping_interval: float | None = PING_SECONDS,
        ping_timeout: float | None = PING_SECONDS,
        timeout: TimeoutTypes = None,
        credentials: Credentials | None = None,
    ) -> None:
        super().__init__(
            client=client,
            thread_id=thread_id,
            commands_path=commands_path,
            stream_path=stream_path,
            headers=headers,
            max_queue_size=max_queue_size,
            timeout=timeout,
            credentials=credentials,
        )
        if connect is None:
            check_websockets(client)
        self._gentle = True
        self._connect = connect
        self._timing = {"ping_interval": ping_interval, "ping_timeout": ping_timeout}

    def _reach(
        self,
        params: Mapping[str, Any],
        *,
        typed: bool,  # noqa: ARG002 - for HTTP
    ) -> SyncLink:
        request = self._http.prepare(self._stream, headers=self._headers)
        opened = sync_connect(
            build_websocket_url(self._http.client.base_url, self._stream),
            socket_headers(request.headers),
            self._connect,
            **self._timing,
        )
        return SocketLink(opened, params)
