"""The routes of the thread protocol."""

from __future__ import annotations

from starlette.routing import WebSocketRoute

from loomline.server.api.entries import Entry
from loomline.server.api.limits import StreamLimit
from loomline.server.api.protocol import ProtocolRoutes
from loomline.server.services.requests import ProtocolCommandRequest, ProtocolStreamRequest

_EVENTS = "/threads/{thread_id}/stream/events"


def protocol_table(protocol: ProtocolRoutes) -> list[Entry]:
    return [
        Entry(
            "POST", "/threads/{thread_id}/commands", protocol.command, "threads",
            "Send a command: start a run, answer what it asks, look at states", "command",
            body=ProtocolCommandRequest, errors=(400, 413), loose=True,
        ),
        Entry(
            "POST", _EVENTS, protocol.follow, "threads",
            "Follow the events of a thread; the same over a WebSocket with GET", "stream",
            body=ProtocolStreamRequest, errors=(400, 413, 422, 503),
        ),
    ]  # fmt: skip


def protocol_sockets(
    protocol: ProtocolRoutes, streams: StreamLimit | None = None
) -> list[WebSocketRoute]:
    """Return the routes of connections that stay open, which ``streams`` counts."""
    socket = protocol.socket if streams is None else streams.limited_socket(protocol.socket)
    return [WebSocketRoute(_EVENTS, socket)]
