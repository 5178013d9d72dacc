"""The answer of ``loomline dev`` while the code does not load: 503 with the reason."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Final

_REASON_BYTES: Final = 65_536
_POLL_SECONDS: Final = 0.1
_UNKNOWN: Final = "It has ended; its log says why."


class StandIn:
    """Answers requests in place of a server that has ended.

    Args:
        bound: The socket of the server, which this must not use while the server does.
        reasons: A pipe, not blocking, with the reason of a start that has failed.
    """

    def __init__(self, bound: socket.socket, reasons: int) -> None:
        self._bound = bound
        self._reasons = reasons
        self._server: HTTPServer | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Answer requests from now on."""
        self._bound.listen()
        detail = f"The server does not run. {self._reason()} It starts again when a file changes."
        self._server = _Server(self._bound, detail)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(_POLL_SECONDS,), daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Leave the socket to the server again, and forget reasons of earlier starts."""
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._thread.join()
        self._server = self._thread = None
        self._reason()

    def _reason(self) -> str:
        with contextlib.suppress(BlockingIOError):
            return os.read(self._reasons, _REASON_BYTES).decode(errors="replace")
        return _UNKNOWN


class _Server(HTTPServer):
    """A server on a socket that stays open behind it."""

    def __init__(self, bound: socket.socket, detail: str) -> None:
        super().__init__(bound.getsockname(), _Answer, bind_and_activate=False)
        self.socket.close()
        self.socket = bound
        self.body = json.dumps({"detail": detail}).encode()


class _Answer(BaseHTTPRequestHandler):
    """One answer per connection: the next one may be for the server."""

    protocol_version = "HTTP/1.1"
    timeout = 2.0
    server: _Server

    def handle_one_request(self) -> None:
        """Answer a request of any method."""
        self.close_connection = True
        self.raw_requestline = self.rfile.readline(65_537)
        if self.raw_requestline and self.parse_request():
            self._answer()

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing: the reason is in the log already."""

    def _answer(self) -> None:
        self.send_response(503)
        for name, value in (
            ("content-type", "application/json"),
            ("content-length", str(len(self.server.body))),
            ("retry-after", "1"),
            ("connection", "close"),
        ):
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(self.server.body)
