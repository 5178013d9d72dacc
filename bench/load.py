"""A load generator that costs next to nothing, so that what is measured is the server.

It speaks just enough HTTP/1.1 over plain streams: one connection per caller, kept alive.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from uuid import uuid4

Send = Callable[["Connection"], Awaitable[int]]


class Connection:
    """One connection to the server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, port: int) -> Connection:
        return cls(*await asyncio.open_connection("127.0.0.1", port, limit=2**20))

    async def post(self, path: str, body: bytes) -> bytes:
        """Send a request; return the body of its answer."""
        head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(body)}\r\n\r\n"
        self._writer.write(head.encode() + body)
        headers = await self._reader.readuntil(b"\r\n\r\n")
        if not headers.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(headers.decode())
        if b"transfer-encoding: chunked" in headers:
            return await self._chunks()
        length = int(headers.partition(b"content-length: ")[2].partition(b"\r\n")[0])
        return await self._reader.readexactly(length)

    async def _chunks(self) -> bytes:
        parts = []
        while True:
            size = int(await self._reader.readuntil(b"\r\n"), 16)
            part = await self._reader.readexactly(size + 2)
            if size == 0:
                return b"".join(parts)
            parts.append(part[:-2])

    def close(self) -> None:
        self._writer.close()


async def wait_run(connection: Connection) -> int:
    """Start a two-node run on a new thread and wait for its result."""
    body = {"assistant_id": "two_node", "input": {"x": 1}, "if_not_exists": "create"}
    answer = await connection.post(f"/threads/{uuid4()}/runs/wait", json.dumps(body).encode())
    if json.loads(answer) != {"x": 1, "a": 2, "b": 4}:
        raise RuntimeError(answer.decode())
    return 1


def stream_tokens(tokens: int) -> Send:
    """Return what streams so many tokens and counts the events."""
    body = {
        "assistant_id": "stream_tokens",
        "input": {"n": tokens},
        "stream_mode": ["messages-tuple"],
        "if_not_exists": "create",
    }
    encoded = json.dumps(body).encode()

    async def send(connection: Connection) -> int:
        answer = await connection.post(f"/threads/{uuid4()}/runs/stream", encoded)
        events = answer.count(b"event: messages\r\n")
        if events < tokens:
            raise RuntimeError(f"{events} events instead of {tokens}")
        return events

    return send


async def measure(port: int, send: Send, callers: int, times: int) -> dict[str, float]:
    """Return what so many callers get done, each sending so many times."""
    latencies: list[float] = []
    counts: list[int] = []

    async def call() -> None:
        connection = await Connection.open(port)
        for _ in range(times):
            began = time.perf_counter()
            counts.append(await send(connection))
            latencies.append(time.perf_counter() - began)
        connection.close()

    began = time.perf_counter()
    await asyncio.gather(*(call() for _ in range(callers)))
    seconds = time.perf_counter() - began
    latencies.sort()
    return {
        "per_second": sum(counts) / seconds,
        "p50_ms": latencies[len(latencies) // 2] * 1000,
        "p99_ms": latencies[int(len(latencies) * 0.99)] * 1000,
    }


def main() -> None:
    port, what, callers, times = sys.argv[1:5]
    kind, _, number = what.partition(":")
    send = wait_run if kind == "wait" else stream_tokens(int(number))
    print(json.dumps(asyncio.run(measure(int(port), send, int(callers), int(times)))))


if __name__ == "__main__":
    main()
