"""The transport with events over HTTP, async."""

from loomline._client._async.stream_transports import ProtocolSseTransport

__all__ = ["ProtocolSseTransport"]
