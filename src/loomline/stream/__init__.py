"""Thread streaming: the protocol's words, and what is decided without any I/O.

Events go in, effects come out. What reads and writes is in the two colours of the client.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

from loomline.stream.types import (
    Channel,
    Event,
    EventParams,
    InterruptPayload,
    Namespace,
    SubgraphStatus,
    SubscribeParams,
)

if TYPE_CHECKING:
    from loomline._client._async.http import HttpClient
    from loomline._client._async.stream import (
        AsyncThreadStream,
        RunModule,
        ScopedStreamHandle,
        ToolCallHandle,
    )
    from loomline._client._sync.http import SyncHttpClient
    from loomline._client._sync.stream import (
        SyncRunModule,
        SyncScopedStreamHandle,
        SyncThreadStream,
        SyncToolCallHandle,
    )
    from loomline.schema import QueryParamTypes
    from loomline.stream.transport import (
        AsyncProtocolTransport,
        EventStreamHandle,
        ProtocolSseTransport,
        ProtocolWebSocketTransport,
        SyncEventStreamHandle,
        SyncProtocolSseTransport,
        SyncProtocolTransport,
        SyncProtocolWebSocketTransport,
    )

__all__ = [
    "AsyncProtocolTransport",
    "AsyncThreadStream",
    "Channel",
    "Event",
    "EventParams",
    "EventStreamHandle",
    "HttpClient",
    "InterruptPayload",
    "Namespace",
    "ProtocolSseTransport",
    "ProtocolWebSocketTransport",
    "QueryParamTypes",
    "RunModule",
    "ScopedStreamHandle",
    "SubgraphStatus",
    "SubscribeParams",
    "SyncEventStreamHandle",
    "SyncHttpClient",
    "SyncProtocolSseTransport",
    "SyncProtocolTransport",
    "SyncProtocolWebSocketTransport",
    "SyncRunModule",
    "SyncScopedStreamHandle",
    "SyncThreadStream",
    "SyncToolCallHandle",
    "ToolCallHandle",
]

# The client imports this package, so names of the client are imported when they are asked for.
_PLACES: Final = {
    "AsyncProtocolTransport": "loomline.stream.transport",
    "AsyncThreadStream": "loomline._client._async.stream",
    "EventStreamHandle": "loomline.stream.transport",
    "HttpClient": "loomline.client",
    "ProtocolSseTransport": "loomline.stream.transport",
    "ProtocolWebSocketTransport": "loomline.stream.transport",
    "QueryParamTypes": "loomline.schema",
    "RunModule": "loomline._client._async.stream",
    "ScopedStreamHandle": "loomline._client._async.stream",
    "SyncEventStreamHandle": "loomline.stream.transport",
    "SyncHttpClient": "loomline.client",
    "SyncProtocolSseTransport": "loomline.stream.transport",
    "SyncProtocolTransport": "loomline.stream.transport",
    "SyncProtocolWebSocketTransport": "loomline.stream.transport",
    "SyncRunModule": "loomline._client._sync.stream",
    "SyncScopedStreamHandle": "loomline._client._sync.stream",
    "SyncThreadStream": "loomline._client._sync.stream",
    "SyncToolCallHandle": "loomline._client._sync.stream",
    "ToolCallHandle": "loomline._client._async.stream",
}


def __getattr__(name: str) -> object:
    """Import the module that has this name."""
    place = _PLACES.get(name)
    if place is None:
        raise AttributeError(f"module 'loomline.stream' has no attribute '{name}'")
    return getattr(import_module(place), name)
