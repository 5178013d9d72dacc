"""A receiver of webhooks that keeps the bodies."""

import asyncio
import json
from collections import defaultdict


class Receiver:
    """An HTTP server on this machine; ``received`` has the bodies, by run."""

    def __init__(self):
        self.received = defaultdict(list)
        self._server = None
        self.url = ""

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}/ended"
        return self

    async def __aexit__(self, *_):
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader, writer):
        try:
            body = json.loads(await _body(reader))
            self.received[body["run_id"]].append(body)
            writer.write(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n")
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass  # the sender was killed, and sends it again
        finally:
            writer.close()


async def _body(reader):
    head = await reader.readuntil(b"\r\n\r\n")
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return await reader.readexactly(int(value))
    raise AssertionError(f"a webhook without a length: {head}")
