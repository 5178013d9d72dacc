"""Measure one server and one worker on PostgreSQL and Redis.

    python bench/scale.py [--rounds 3] [--quick] [--only runs,tokens,viewers]

runs: durable two-node runs through `runs/wait`. tokens: events of messages-tuple streams.
viewers: what 1,000 idle viewers of one run add to the memory of the server.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from database import database, redis_server
from run import HERE, PORT, answers, resident_mb, tool

VIEWERS = 1000


@contextmanager
def scaled() -> Iterator[int]:
    """Start everything; yield the process id of the server."""
    with (
        tempfile.TemporaryDirectory() as folder,
        database(Path(folder)) as database_url,
        redis_server() as redis_url,
    ):
        common = [
            "--config", str(HERE / "graphs" / "langgraph.json"), "--log-level", "warning",
            "--database-url", database_url, "--redis-url", redis_url,
        ]  # fmt: skip
        python = [sys.executable, "-m", "loomline.server.cli"]
        processes = [
            subprocess.Popen([*python, *more, *common], stdout=subprocess.DEVNULL)
            for more in (["serve", "--no-worker", "--port", str(PORT)], ["worker"])
        ]
        try:
            while not answers():
                time.sleep(0.01)
            tool("load.py", PORT, "wait", 4, 25)
            yield processes[0].pid
        finally:
            for process in processes:
                process.terminate()
            for process in processes:
                process.wait()


def load(rounds: int, what: str, callers: int, times: int) -> dict[str, float]:
    found = [tool("load.py", PORT, what, callers, times) for _ in range(rounds)]
    return {key: statistics.median(each[key] for each in found) for key in found[0]}


def runs(rounds: int, scale: float, _: int) -> None:
    print("\ndurable two-node runs, POST /threads/{id}/runs/wait")
    print(f"{'callers':>8}{'runs/s':>10}{'p50 ms':>9}{'p99 ms':>9}")
    for callers, times in ((1, int(200 * scale)), (16, int(40 * scale))):
        found = load(rounds, "wait", callers, times)
        print(
            f"{callers:>8}{found['per_second']:>10.0f}{found['p50_ms']:>9.1f}{found['p99_ms']:>9.1f}"
        )


def tokens(rounds: int, scale: float, _: int) -> None:
    print("\nevents of messages-tuple streams, POST /threads/{id}/runs/stream")
    print(f"{'streams':>8}{'tokens':>8}{'events/s':>10}")
    for callers, number, whole in ((1, 5000, 3), (16, 500, 3)):
        found = load(rounds, f"stream:{number}", callers, max(1, int(whole * scale)))
        print(f"{callers:>8}{number:>8}{found['per_second']:>10.0f}")


def viewers(_rounds: int, _scale: float, server: int) -> None:
    print(f"\n{VIEWERS} idle viewers of one run")
    print("{before:.0f} MB, {after:.0f} MB with them".format(**asyncio.run(_view(server))))


async def _view(server: int) -> dict[str, float]:
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    thread = str(uuid4())
    body = {"assistant_id": "sleepy", "input": {"ms": 60_000}, "if_not_exists": "create"}
    run = _post(f"/threads/{thread}/runs", body)["run_id"]
    before = resident_mb(server)
    path = f"/threads/{thread}/runs/{run}/stream"
    request = f"GET {path} HTTP/1.1\r\nhost: x\r\n\r\n".encode()
    writers = []
    for _ in range(VIEWERS):
        reader, writer = await asyncio.open_connection("127.0.0.1", PORT)
        writer.write(request)
        await reader.readuntil(b"\r\n\r\n")
        writers.append(writer)
    await asyncio.sleep(2)
    after = resident_mb(server)
    _post(f"/threads/{thread}/runs/{run}/cancel", None)
    for writer in writers:
        writer.close()
    return {"before": before, "after": after}


def _post(path: str, body: object) -> Any:
    request = urllib.request.Request(
        f"http://127.0.0.1:{PORT}{path}", data=json.dumps(body).encode(), method="POST"
    )
    with urllib.request.urlopen(request) as answer:
        return json.loads(answer.read() or b"null")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="a third of the work, 1 round")
    parser.add_argument("--only", default="runs,tokens,viewers")
    args = parser.parse_args()
    rounds, scale = (1, 0.34) if args.quick else (args.rounds, 1.0)
    parts = {"runs": runs, "tokens": tokens, "viewers": viewers}
    with scaled() as server:
        for name in args.only.split(","):
            parts[name](rounds, scale, server)


if __name__ == "__main__":
    main()
