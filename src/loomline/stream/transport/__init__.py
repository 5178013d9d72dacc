"""The transports of one thread, for programs that speak its protocol themselves."""

from loomline.stream.transport.base import (
    AsyncProtocolTransport,
    EventStreamHandle,
    SyncEventStreamHandle,
    SyncProtocolTransport,
    build_event_stream_body,
    build_websocket_url,
)
from loomline.stream.transport.http import ProtocolSseTransport
from loomline.stream.transport.sync_http import SyncProtocolSseTransport
from loomline.stream.transport.sync_ws import SyncProtocolWebSocketTransport
from loomline.stream.transport.ws import ProtocolWebSocketTransport

__all__ = [
    "AsyncProtocolTransport",
    "EventStreamHandle",
    "ProtocolSseTransport",
    "ProtocolWebSocketTransport",
    "SyncEventStreamHandle",
    "SyncProtocolSseTransport",
    "SyncProtocolTransport",
    "SyncProtocolWebSocketTransport",
    "build_event_stream_body",
    "build_websocket_url",
]
