"""The common part of all transports: protocols, handles of streams, requests, addresses."""

from loomline._client.protocol import (
    AsyncProtocolTransport,
    EventStreamHandle,
    SyncEventStreamHandle,
    SyncProtocolTransport,
    build_event_stream_body,
    build_websocket_url,
    websocket_headers,
)

__all__ = [
    "AsyncProtocolTransport",
    "EventStreamHandle",
    "SyncEventStreamHandle",
    "SyncProtocolTransport",
    "build_event_stream_body",
    "build_websocket_url",
    "websocket_headers",
]
