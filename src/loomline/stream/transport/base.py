"""What all transports share: their protocols, the handles of streams, requests and addresses."""

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
