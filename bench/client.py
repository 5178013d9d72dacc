"""Measure the client against the official one, its HTTP library and the floor, in one run.

    python bench/client.py [--rounds 5] [--only imports,requests,sse,threads]

imports: time of a cold import, by `-X importtime`, against httpx alone and the official client.
requests: `threads.get` against a server that does nothing, one caller and 64 at once.
sse: events decoded per second from memory, against the floor: cut at the blank line, take the data
   field, parse the JSON. Small events and large ones, both line ends, two sizes of pieces.
threads: events of a thread per second of CPU time, read with `threads.stream(...).subscribe(...)`
   from a server that sends what it has made before, and the pieces of one message; both colours.
Sides alternate; the best of the rounds is shown, in CPU time where it says so.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import functools
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import langgraph_sdk.client as official
import orjson
import uvicorn

from loomline import client as ours
from loomline._client import transports
from loomline._client.fast import AiohttpTransport
from loomline.sse import Decoder

PORT = 8918
URL = f"http://127.0.0.1:{PORT}"
BODY = orjson.dumps(
    {
        "type": "success",
        "id": 1,
        "result": {"run_id": "r"},
        "thread_id": "t" * 36,
        "metadata": {"a": "b" * 100},
        "values": {"c": "d" * 100},
    }
)


EVENTS = 20_000
PIECE = 64 * 1024
VALUES, PIECES = "/threads/values", "/threads/pieces"


def thread_event(seq: int, method: str, data: Any) -> bytes:
    params = {"namespace": [], "timestamp": 1795220565712, "data": data}
    event = {"type": "event", "event_id": f"1795220565712-{seq}", "seq": seq, "method": method}
    text = orjson.dumps({**event, "params": params})
    return b"event: %b\r\ndata: %b\r\nid: %d\r\n\r\n" % (method.encode(), text, seq)


@functools.cache
def thread_text(path: str, channels: frozenset[str]) -> bytes:
    """Return what a thread has to tell: many values, or one message of many pieces."""
    running, completed = {"event": "running"}, {"event": "completed"}
    found = [thread_event(1, "lifecycle", running)]
    if path.startswith(PIECES) and "messages" in channels:
        start = {"event": "message-start", "role": "ai", "id": "m"}
        block = {
            "event": "content-block-start",
            "index": 0,
            "content": {"type": "text", "text": ""},
        }
        found += [thread_event(2, "messages", start), thread_event(3, "messages", block)]
        delta = {"type": "text-delta", "text": "word "}
        piece = {"event": "content-block-delta", "index": 0, "delta": delta}
        found += [thread_event(n, "messages", piece) for n in range(4, EVENTS)]
        found.append(thread_event(EVENTS, "messages", {"event": "message-finish"}))
    elif "values" in channels:
        value = {"messages": [{"type": "ai", "content": "x" * 60, "id": "run-1"}]}
        found += [thread_event(n, "values", {**value, "step": n}) for n in range(2, EVENTS + 2)]
    return b"".join([*found, thread_event(EVENTS + 2, "lifecycle", completed)])


async def stream_thread(scope: Any, receive: Any, send: Any) -> None:
    body = orjson.loads((await receive())["body"])
    text = thread_text(scope["path"], frozenset(body["channels"]))
    headers = [(b"content-type", b"text/event-stream")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    for start in range(0, len(text), PIECE):
        piece = text[start : start + PIECE]
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    while (await receive())["type"] != "http.disconnect":
        continue


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["path"].endswith("/stream/events"):
        await stream_thread(scope, receive, send)
        return
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(BODY))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": BODY})


@contextlib.contextmanager
def server() -> Iterator[None]:
    command = [sys.executable, __file__, "--serve"]
    process = subprocess.Popen(command)
    try:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            with contextlib.suppress(httpx.TransportError):
                httpx.get(URL)
                break
            threading.Event().wait(0.05)
        yield
    finally:
        process.terminate()
        process.wait()


def imports(rounds: int) -> None:
    programs = {
        "httpx": "import httpx",
        "loomline": "import loomline",
        "from loomline import Auth": "from loomline import Auth",
        "loomline.get_client()": "import loomline; loomline.get_client(url='http://h')",
        "official": "import langgraph_sdk",
    }
    for name, program in programs.items():
        print(f"  {name:24} {min(import_ms(program) for _ in range(rounds)):6.1f} ms")


def import_ms(program: str) -> float:
    command = [sys.executable, "-X", "importtime", "-c", program]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stderr.splitlines()
    own = [line.split("|")[0].removeprefix("import time:").strip() for line in lines]
    total = sum(int(text) for text in own if text.isdigit())
    blank = subprocess.run([*command[:-1], "pass"], capture_output=True, text=True, check=True)
    start = [
        line.split("|")[0].removeprefix("import time:").strip()
        for line in blank.stderr.splitlines()
    ]
    return (total - sum(int(text) for text in start if text.isdigit())) / 1000


def clients() -> dict[str, Callable[[], Any]]:
    def over(transport: httpx.AsyncBaseTransport) -> Any:
        return ours.LangGraphClient(httpx.AsyncClient(base_url=URL, transport=transport))

    return {
        "official": lambda: official.get_client(url=URL),
        "ours, httpx": lambda: over(httpx.AsyncHTTPTransport(limits=transports.LIMITS)),
        "ours, aiohttp (loomline[fast])": lambda: over(
            AiohttpTransport(limits=transports.LIMITS, retries=2)
        ),
        "httpx alone": lambda: httpx.AsyncClient(base_url=URL, limits=transports.LIMITS),
    }


async def requests_per(client: Any, callers: int, count: int) -> tuple[float, float]:
    """Return microseconds of wall and of CPU time per request."""
    one = client.get if isinstance(client, httpx.AsyncClient) else client.http.get

    async def caller(numbers: Iterator[int]) -> None:
        for _ in numbers:
            await one("/threads/550e8400-e29b-41d4-a716-446655440000")

    async def load() -> None:
        numbers = iter(range(count))
        await asyncio.gather(*[caller(numbers) for _ in range(callers)])

    await load()
    wall, cpu = time.perf_counter(), time.process_time()
    await load()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return wall / count * 1e6, cpu / count * 1e6


def requests(rounds: int) -> None:
    async def measure(make: Callable[[], Any], callers: int) -> tuple[float, float]:
        client = make()
        try:
            return await requests_per(client, callers, 1500)
        finally:
            await client.aclose()

    with server():
        found: dict[tuple[str, int], list[tuple[float, float]]] = {}
        for _ in range(rounds):
            for name, make in clients().items():
                for callers in (1, 64):
                    found.setdefault((name, callers), []).append(
                        asyncio.run(measure(make, callers))
                    )
    for (name, callers), each in found.items():
        wall, cpu = min(each)
        print(f"  {name:28} {callers:3} callers {1e6 / wall:7.0f}/s  {cpu:5.0f} us CPU each")


def event(number: int, size: int) -> bytes:
    text = "x" * max(1, size - 100)
    data = orjson.dumps(
        {"messages": [{"type": "ai", "content": text, "id": "run-1"}], "step": number}
    )
    return b"event: values\ndata: %b\nid: %d\n\n" % (data, number)


def floor(pieces: list[bytes]) -> int:
    count, rest = 0, b""
    for piece in pieces:
        *blocks, rest = (rest + piece).split(b"\n\n") if len(rest) < 4096 else [rest + piece]
        for block in blocks:
            at = block.find(b"data: ")
            orjson.loads(block[at + 6 : block.find(b"\n", at)])
            count += 1
    return count


def large_floor(pieces: list[bytes]) -> int:
    count, waiting = 0, []
    for piece in pieces:
        if b"\n" not in piece:
            waiting.append(piece)
            continue
        text = b"".join([*waiting, piece])
        start = 0
        while (end := text.find(b"\n", start)) >= 0:
            if text.startswith(b"data: ", start):
                orjson.loads(memoryview(text)[start + 6 : end])
                count += 1
            start = end + 1
        waiting = [text[start:]]
    return count


def decoded(pieces: list[bytes]) -> int:
    decoder, count = Decoder(), 0
    for piece in pieces:
        for _ in decoder.feed(piece):
            count += 1
    return count + len(decoder.finish())


def sse(rounds: int) -> None:
    for number, size, simple in ((100_000, 200, floor), (1_000, 100_000, large_floor)):
        text = b"".join(event(n % 1000, size) for n in range(number))
        for ending, body in (("LF", text), ("CR LF", text.replace(b"\n", b"\r\n"))):
            for piece in (65536, 4096):
                pieces = [body[i : i + piece] for i in range(0, len(body), piece)]
                plain = [text[i : i + piece] for i in range(0, len(text), piece)]
                assert decoded(pieces) == simple(plain) == number
                us, least = best(decoded, pieces, rounds), best(simple, plain, rounds)
                print(
                    f"  {size:6} B, {ending:5}, pieces of {piece:5}: {number / us / 1000:7.0f}k/s, "
                    f"{us / least:.2f} of the floor with LF"
                )


async def read_thread(client: Any, path: str) -> int:
    count = 0
    thread_id = path.rpartition("/")[2]
    async with client, client.threads.stream(thread_id, assistant_id="a") as thread:
        await thread.run.start()
        if path == VALUES:
            async for _ in thread.subscribe(["values"]):
                count += 1
            return count
        async for message in thread.messages:
            async for _ in message.text:
                count += 1
        return count + 4


def read_thread_sync(client: Any, path: str) -> int:
    count = 0
    thread_id = path.rpartition("/")[2]
    with client, client.threads.stream(thread_id, assistant_id="a") as thread:
        thread.run.start()
        if path == VALUES:
            for _ in thread.subscribe(["values"]):
                count += 1
            return count
        for message in thread.messages:
            for _ in message.text:
                count += 1
        return count + 4


def threads(rounds: int) -> None:
    def asynchronous(module: Any) -> Callable[[str], int]:
        async def work(path: str) -> int:
            return await asyncio.wait_for(read_thread(module.get_client(url=URL), path), 30)

        return lambda path: asyncio.run(work(path))

    def synchronous(module: Any) -> Callable[[str], int]:
        return lambda path: read_thread_sync(module.get_sync_client(url=URL), path)

    sides = {
        "official, async": asynchronous(official),
        "ours, async": asynchronous(ours),
        "official, sync": synchronous(official),
        "ours, sync": synchronous(ours),
    }
    with server():
        for name, work in sides.items():
            print(f"  {name:16} events              {thread_rate(work, VALUES, rounds)}")
        # The official client's messages do not end here, so there is nothing to compare with.
        for name in ("ours, async", "ours, sync"):
            print(f"  {name:16} pieces of a message {thread_rate(sides[name], PIECES, rounds)}")


def thread_rate(work: Callable[[str], int], path: str, rounds: int) -> str:
    """Return events per second of CPU time of this process; the server is another one."""
    least, count = float("inf"), 0
    for _ in range(rounds):
        began = time.process_time()
        count = work(path)
        least = min(least, time.process_time() - began)
    missing = "" if count >= EVENTS else f", {EVENTS - count} of {EVENTS} missing"
    return f"{count / least / 1000:6.1f}k/s{missing}"


def best(work: Callable[[list[bytes]], int], pieces: list[bytes], rounds: int) -> float:
    times = []
    for _ in range(rounds):
        began = time.process_time()
        work(pieces)
        times.append(time.process_time() - began)
    return min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="imports,requests,sse,threads")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        uvicorn.run(app, port=PORT, log_level="error", access_log=False)
        return
    for name, part in (
        ("imports", imports),
        ("requests", requests),
        ("sse", sse),
        ("threads", threads),
    ):
        if name in given.only.split(","):
            print(name)
            part(given.rounds)


if __name__ == "__main__":
    main()
