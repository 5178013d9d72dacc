"""The transport with events over WebSockets, sync."""

from loomline._client._sync.stream_transports import SyncProtocolWebSocketTransport

__all__ = ["SyncProtocolWebSocketTransport"]
