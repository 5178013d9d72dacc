"""Measure the server against the floor, in one run.

    python bench/run.py [--rounds 5] [--quick] [--only a,b,c,d,e]

a: durable two-node runs through `runs/wait`, against the same graph in process with the in-memory
   saver. b: events of messages-tuple streams, against `astream` in process. c: checkpointers.
   d: start time and memory. e: part a on PostgreSQL.
   Rounds of the two sides alternate; medians are shown.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from database import database

HERE = Path(__file__).parent
PORT = 8917


def tool(script: str, *arguments: object) -> dict[str, Any]:
    """Run one of the scripts beside this one; return the JSON it prints."""
    command = [sys.executable, str(HERE / script), *map(str, arguments)]
    found: dict[str, Any] = json.loads(subprocess.check_output(command))
    return found


@contextmanager
def server(command: str = "serve", *more: str) -> Iterator[tuple[int, float]]:
    """Start a server; yield its process id and the seconds until it answered."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = [
            sys.executable, "-m", "loomline.server.cli", command, *more, "--config",
            str(HERE / "graphs" / "langgraph.json"), "--port", str(PORT), "--data-dir", folder,
            "--log-level", "warning",
        ]  # fmt: skip
        began = time.perf_counter()
        process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL)
        try:
            while not answers():
                time.sleep(0.01)
            yield process.pid, time.perf_counter() - began
        finally:
            process.terminate()
            process.wait()


def answers(port: int = PORT) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/ok", timeout=1) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def resident_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def alternate(rounds: int, ours: list[object], floor: list[object]) -> tuple[Any, Any]:
    """Return the medians of both sides, measured in turn."""
    results: tuple[list[Any], list[Any]] = ([], [])
    for _ in range(rounds):
        results[0].append(tool("load.py", PORT, *ours))
        results[1].append(tool("inprocess.py", *floor))
    return tuple(
        {key: statistics.median(each[key] for each in side) for key in side[0]} for side in results
    )  # type: ignore[return-value]


def runs_on_postgres(rounds: int, scale: float) -> None:
    with tempfile.TemporaryDirectory() as folder, database(Path(folder)) as url:
        runs(rounds, scale, "(e) part a on PostgreSQL", "--database-url", url)


def runs(rounds: int, scale: float, title: str = "(a) durable two-node runs", *more: str) -> None:
    print(f"\n{title}, POST /threads/{{id}}/runs/wait")
    print(f"{'callers':>8}{'runs/s':>10}{'p50 ms':>9}{'p99 ms':>9}{'in process/s':>14}{'ratio':>8}")
    with server("serve", *more):
        tool("load.py", PORT, "wait", 4, 50)
        for callers, times in ((1, int(300 * scale)), (16, int(60 * scale))):
            ours, floor = alternate(rounds, ["wait", callers, times], ["runs", callers, times])
            ratio = ours["per_second"] / floor["per_second"]
            print(
                f"{callers:>8}{ours['per_second']:>10.0f}{ours['p50_ms']:>9.1f}"
                f"{ours['p99_ms']:>9.1f}{floor['per_second']:>14.0f}{ratio:>8.0%}"
            )


def events(rounds: int, scale: float) -> None:
    print("\n(b) events of messages-tuple streams, POST /threads/{id}/runs/stream")
    print(f"{'streams':>8}{'tokens':>8}{'events/s':>10}{'in process/s':>14}{'ratio':>8}")
    with server():
        tool("load.py", PORT, "stream:100", 1, 2)
        for callers, tokens, whole in ((1, 5000, 3), (1, 500, 20), (16, 500, 3)):
            times = max(1, int(whole * scale))
            ours, floor = alternate(
                rounds, [f"stream:{tokens}", callers, times], [f"events:{tokens}", callers, times]
            )
            ratio = ours["per_second"] / floor["per_second"]
            print(
                f"{callers:>8}{tokens:>8}{ours['per_second']:>10.0f}"
                f"{floor['per_second']:>14.0f}{ratio:>8.0%}"
            )


def checkpointers(rounds: int, scale: float) -> None:
    print("\n(c) checkpointers alone, two-node graph in process")
    command = [sys.executable, str(HERE / "checkpointers.py")]
    subprocess.run([*command, "--runs", str(int(300 * scale)), "--rounds", str(rounds)], check=True)


def start(rounds: int, scale: float) -> None:
    print("\n(d) start and memory")
    for name, command in (("loomline serve", ["serve"]), ("loomline dev", ["dev", "--no-reload"])):
        seconds = []
        for _ in range(rounds):
            with server(*command) as (pid, took):
                seconds.append(took)
                idle = resident_mb(pid)
                if name == "loomline serve":
                    tool("load.py", PORT, "wait", 16, int(40 * scale))
                loaded = resident_mb(pid)
        print(
            f"{name}: answers after {statistics.median(seconds):.2f} s"
            f" ({min(seconds):.2f} to {max(seconds):.2f});"
            f" {idle:.0f} MB, {loaded:.0f} MB after load"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="a third of the work, 2 rounds")
    parser.add_argument("--only", default="a,b,c,d,e")
    args = parser.parse_args()
    rounds, scale = (2, 0.34) if args.quick else (args.rounds, 1.0)
    parts = {"a": runs, "b": events, "c": checkpointers, "d": start, "e": runs_on_postgres}
    for name in args.only.split(","):
        parts[name](rounds, scale)


if __name__ == "__main__":
    main()
