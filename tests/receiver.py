"""Somebody who is told by webhooks: a real HTTP server on a thread."""

import contextlib
import json
import queue
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Received:
    path: str
    headers: dict[str, str]
    content: bytes

    @property
    def body(self):
        return json.loads(self.content)


@dataclass
class Receiver:
    """``answers`` are the statuses of the next answers; then it is always 204."""

    url: str
    came: queue.Queue[Received] = field(default_factory=queue.Queue)
    answers: queue.Queue[int] = field(default_factory=queue.Queue)
    headers: dict[str, str] = field(default_factory=dict)
    hold: threading.Event | None = None

    def next(self, seconds=150):
        return self.came.get(timeout=seconds)


@contextlib.contextmanager
def receiving(port=0):
    """Listen; yield the receiver."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            content = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            try:
                status = receiver.answers.get_nowait()
            except queue.Empty:
                status = 204
            receiver.came.put(Received(self.path, headers, content))
            if receiver.hold is not None:
                receiver.hold.wait(20)
            with contextlib.suppress(OSError):
                self.send_response(status)
                for name, value in receiver.headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", "0")
                self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    receiver = Receiver(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield receiver
    finally:
        if receiver.hold is not None:
            receiver.hold.set()
        server.shutdown()
        thread.join()
        server.server_close()
