"""Count the reads of a state that come too early, although an event has told of it.

    python bench/early_reads.py [--reads 1000] [--callers 8] [--durability async]

Every run asks in three tasks at once. The state is read on each ``__interrupt__`` of a run stream,
on each ``input.requested`` of the thread protocol, and at the end of either. A read is wrong that
does not show the question, or that shows the thread as busy after the end.

Measured with SQLite, with PostgreSQL, and with a worker apart from the server.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
from database import database, redis_server
from run import HERE, PORT, server

import loomline

Counts = collections.Counter[str]
URL = f"http://127.0.0.1:{PORT}"
CHANNELS = ["input", "lifecycle"]
ENDS = {"completed", "failed", "interrupted"}


class Reader:
    """Starts runs and reads states, until there are enough reads."""

    def __init__(self, reads: int, durability: str) -> None:
        self.counts: Counts = collections.Counter()
        self._reads = reads
        self._durability = durability

    async def work(self) -> None:
        async with (
            loomline.get_client(url=URL) as client,
            httpx.AsyncClient(base_url=URL, timeout=60) as http,
        ):
            while self.counts["reads"] < self._reads:
                await self._stream(client)
                await self._protocol(client, http)

    async def _stream(self, client: Any) -> None:
        thread = (await client.threads.create())["thread_id"]
        stream = client.runs.stream(
            thread, "asking", input={}, stream_mode="updates", durability=self._durability
        )
        async for part in stream:
            for each in part.data.get("__interrupt__", ()):
                await self._question(client, thread, each["id"])
        await self._end(client, thread)

    async def _protocol(self, client: Any, http: httpx.AsyncClient) -> None:
        thread = str(uuid4())
        params = {"assistant_id": "asking", "input": {}}
        body = {"id": 1, "method": "run.start", "params": params}
        await http.post(f"/threads/{thread}/commands", json=body)
        path = f"/threads/{thread}/stream/events"
        async with http.stream("POST", path, json={"channels": CHANNELS}) as answer:
            async for line in answer.aiter_lines():
                if not line.startswith("data: "):
                    continue
                event = json.loads(line.removeprefix("data: "))
                data = event["params"]["data"]
                if event["method"] == "input.requested":
                    await self._question(client, thread, data["interrupt_id"])
                elif data["event"] in ENDS:
                    break
        await self._end(client, thread)

    async def _question(self, client: Any, thread: str, interrupt: str) -> None:
        state = await client.threads.get_state(thread)
        row = await client.threads.get(thread)
        self.counts["reads"] += 1
        self.counts["wrong states"] += interrupt not in json.dumps(state["tasks"])
        self.counts["wrong rows"] += interrupt not in json.dumps(row["interrupts"])

    async def _end(self, client: Any, thread: str) -> None:
        row = await client.threads.get(thread)
        self.counts["ends"] += 1
        asked = sum(map(len, (row["interrupts"] or {}).values()))
        self.counts["wrong ends"] += row["status"] != "interrupted" or asked != 3


async def measure(name: str, given: argparse.Namespace) -> None:
    reader = Reader(given.reads, given.durability)
    await asyncio.gather(*(reader.work() for _ in range(given.callers)))
    counts = reader.counts
    print(
        f"{name}, durability {given.durability}: {counts['reads']} reads at questions,"
        f" {counts['wrong states']} states and {counts['wrong rows']} rows wrong;"
        f" {counts['ends']} ends, {counts['wrong ends']} wrong",
        flush=True,
    )


@contextlib.contextmanager
def worker(folder: str, *options: str) -> Iterator[None]:
    arguments = [
        sys.executable, "-m", "loomline.server.cli", "worker", *options, "--data-dir", folder,
        "--config", str(HERE / "graphs" / "langgraph.json"), "--log-level", "warning",
    ]  # fmt: skip
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--reads", type=int, default=1000)
    parser.add_argument("--callers", type=int, default=8)
    parser.add_argument("--durability", default="async", choices=["async", "sync"])
    parser.add_argument("--only", default="sqlite,postgres,apart")
    given = parser.parse_args()
    shapes = given.only.split(",")
    os.environ["LANGSMITH_TRACING"] = "false"
    if "sqlite" in shapes:
        with server():
            asyncio.run(measure("SQLite", given))
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        if {"postgres", "apart"}.isdisjoint(shapes):
            return
        url = stack.enter_context(database(Path(folder)))
        if "postgres" in shapes:
            with server("serve", "--database-url", url):
                asyncio.run(measure("PostgreSQL", given))
        if "apart" in shapes:
            shared = ["--database-url", url, "--redis-url", stack.enter_context(redis_server())]
            with server("serve", *shared, "--worker", "false"), worker(folder, *shared):
                asyncio.run(measure("a worker apart", given))


if __name__ == "__main__":
    main()
