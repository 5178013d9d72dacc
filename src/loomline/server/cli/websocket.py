"""WebSockets as uvicorn speaks them, with bounds on messages and on answers to pings."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Final

from uvicorn._types import ASGISendEvent
from uvicorn.config import Config
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState
from websockets.frames import Frame

from loomline.server.api.connections import Connections

# The size of a message is bounded without them, but not the number of its empty parts.
_FRAGMENTS_MOST: Final = 10_000

_TOO_BIG: Final = 1009


class BoundedWebSocket(WebSocketsSansIOProtocol):
    """One WebSocket connection."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, object],
        *,
        connections: Connections,
    ) -> None:
        super().__init__(config, server_state, app_state)
        self._counted = connections

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._counted.opened()
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._counted.ended()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        # Pings are answered at once: a client that sends them and reads nothing has to wait.
        super().pause_writing()
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        super().resume_writing()
        if not self.read_paused and not self.transport.is_closing():
            self.transport.resume_reading()

    async def send(self, message: ASGISendEvent) -> None:
        await super().send(message)
        if message["type"] == "websocket.http.response.body" and not message.get("more_body"):
            # A refusal is an answer, too: uvicorn would log each as an error of the application.
            self.handshake_complete = True

    def handle_cont(self, event: Frame) -> None:
        if len(self.frames) < _FRAGMENTS_MOST:
            super().handle_cont(event)
        elif not self.close_sent:
            self.conn.fail(_TOO_BIG, "too many fragments")
            self.transport.write(b"".join(self.conn.data_to_send()))
            self.close_sent = True
            self.transport.close()


def websockets(limit_bytes: int, connections: Connections) -> dict[str, object]:
    """Return uvicorn's options for WebSockets.

    Messages are not compressed: a few kilobytes would unfold to the whole limit. Clients that offer
    compression connect without it.
    """
    return {
        "ws": partial(BoundedWebSocket, connections=connections),
        "ws_max_size": limit_bytes,
        "ws_per_message_deflate": False,
    }
