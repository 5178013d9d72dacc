"""The transport with events over HTTP, sync."""

from loomline._client._sync.stream_transports import SyncProtocolSseTransport

__all__ = ["SyncProtocolSseTransport"]
