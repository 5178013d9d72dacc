"""The transport with events over WebSockets, async."""

from loomline._client._async.stream_transports import ProtocolWebSocketTransport

__all__ = ["ProtocolWebSocketTransport"]
