"""Measure the thread protocol: one server, one client process that reads bytes and counts.

    python bench/thread_stream.py [--tokens 5000] [--rounds 5]

live: a run of so many tokens, from its start to its end, read while it goes on, over server-sent
   events and over a WebSocket; `astream` is the model iterated by the node itself.
   native: the same graph in this process, langgraph's own events, read and thrown away.
replay: everything of a finished thread, from `since=0`.
slow: a reader that reads nothing until the run is over; it must get all, and the server's memory
   is shown before and after.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
import time
import warnings
from pathlib import Path
from typing import Any
from uuid import uuid4

from load import Connection
from run import PORT, resident_mb, server
from websockets.asyncio.client import connect

sys.path.insert(0, str(Path(__file__).parent / "graphs"))
from bench_graphs import stream_tokens

CHANNELS = ["messages", "lifecycle"]
END = b'"data":{"event":"completed","graph_name":"stream_tokens"}'


async def start(thread: str, tokens: int, via: str) -> None:
    given = {"n": tokens, **({"via": "astream"} if via == "astream" else {})}
    params = {"assistant_id": "stream_tokens", "input": given}
    body = {"id": 1, "method": "run.start", "params": params}
    connection = await Connection.open(PORT)
    answer = await connection.post(f"/threads/{thread}/commands", json.dumps(body).encode())
    connection.close()
    if b"success" not in answer:
        raise RuntimeError(answer.decode())


async def open_sse(thread: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", PORT)
    body = json.dumps({"channels": CHANNELS, "since": 0}).encode()
    path = f"/threads/{thread}/stream/events"
    head = f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    await reader.readuntil(b"\r\n\r\n")
    return reader, writer


async def read_sse(thread: str) -> int:
    """Return how many events come up to the end of a run."""
    reader, writer = await open_sse(thread)
    found = await count(reader)
    writer.close()
    return found


async def count(reader: asyncio.StreamReader) -> int:
    found, tail = 0, b""
    while True:
        piece = await reader.read(1 << 16)
        if not piece:
            raise RuntimeError("the stream has ended")
        found += (tail + piece).count(b"\r\ndata: ") - tail.count(b"\r\ndata: ")
        if END in tail + piece:
            return found
        tail = piece[-200:]


async def read_websocket(thread: str) -> int:
    async with connect(f"ws://127.0.0.1:{PORT}/threads/{thread}/stream/events") as socket:
        params = {"channels": CHANNELS}
        await socket.send(
            json.dumps({"id": 1, "method": "subscription.subscribe", "params": params})
        )
        found = 0
        async for message in socket:
            found += 1
            if END in (message if isinstance(message, bytes) else message.encode()):
                return found - 1
    raise RuntimeError("the connection has been closed")


async def live(tokens: int, via: str, transport: str) -> float:
    """Return events per second."""
    thread = str(uuid4())
    read = read_sse if transport == "sse" else read_websocket
    began = time.perf_counter()
    reading = asyncio.create_task(read(thread))
    await start(thread, tokens, via)
    found = await reading
    if found < tokens:
        raise RuntimeError(f"{found} events instead of {tokens}")
    return found / (time.perf_counter() - began)


async def native(tokens: int) -> tuple[float, float]:
    """Return events per second, and the seconds of processor time."""
    began, used, found = time.perf_counter(), time.process_time(), 0
    given: Any = {"n": tokens}
    async for _ in await stream_tokens.astream_events(given, version="v3"):
        found += 1
    return found / (time.perf_counter() - began), time.process_time() - used


def processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def slow(tokens: int, pid: int) -> tuple[int, float, float]:
    """Return the events that a reader who was behind gets, and the server's memory in MB."""
    thread = str(uuid4())
    before = resident_mb(pid)
    readers = [await open_sse(thread) for _ in range(20)]
    await start(thread, tokens, "")
    await read_sse(thread)
    behind = resident_mb(pid)
    found = [await count(reader) for reader, _ in readers]
    for _, writer in readers:
        writer.close()
    if min(found) < tokens:
        raise RuntimeError(f"{min(found)} events instead of {tokens}")
    return min(found), before, behind


async def measure(tokens: int, rounds: int, pid: int) -> None:
    kinds = [("", "sse"), ("", "websocket"), ("astream", "sse")]
    results: dict[tuple[str, str], list[tuple[float, float]]] = {kind: [] for kind in kinds}
    floor: list[tuple[float, float]] = []
    for _ in range(rounds):
        for kind in kinds:
            used = processor_seconds(pid)
            speed = await live(tokens, *kind)
            results[kind].append((speed, processor_seconds(pid) - used))
        floor.append(await native(tokens))
    print(
        f"{f'live, 1 x {tokens}':>22}{'events/s':>10}{'of native':>11}{'processor, us/event':>21}"
    )
    base = statistics.median(speed for speed, _ in floor)
    for (via, transport), found in results.items():
        show(f"{via} {transport}".strip(), found, base, tokens)
    show("native", floor, base, tokens)
    await measure_past(tokens, rounds, pid)


def show(name: str, found: list[tuple[float, float]], base: float, tokens: int) -> None:
    speed = statistics.median(each for each, _ in found)
    used = statistics.median(each for _, each in found) / tokens * 1e6
    print(f"{name:>22}{speed:>10.0f}{speed / base:>11.2f}{used:>14.0f}")


async def measure_past(tokens: int, rounds: int, pid: int) -> None:
    thread = str(uuid4())
    for _ in range(2):
        await start(thread, tokens, "")
        await read_sse(thread)
    # The first end is that of the first run: this reads both.
    times = [await both(thread) for _ in range(rounds)]
    seconds = statistics.median(each for _, each in times)
    print(f"{'replay':>22}{times[0][0]:>10} events in {seconds:.3f} s")
    found, before, behind = await slow(2 * tokens, pid)
    print(f"{'20 slow readers':>22}{found:>10} events each; {before:.0f} MB, then {behind:.0f} MB")


async def both(thread: str) -> tuple[int, float]:
    began = time.perf_counter()
    reader, writer = await open_sse(thread)
    found, seen, tail = 0, 0, b""
    while seen < 2:
        piece = await reader.read(1 << 16)
        found += (tail + piece).count(b"\r\ndata: ") - tail.count(b"\r\ndata: ")
        seen += (tail + piece).count(END) - tail.count(END)
        tail = piece[-200:]
    writer.close()
    return found, time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    with server() as (pid, _):
        asyncio.run(measure(given.tokens, given.rounds, pid))


if __name__ == "__main__":
    main()
