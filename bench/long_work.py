"""How long trivial runs wait while a thread with 100 MB of checkpoints is worked on.

    python bench/long_work.py [--megabytes 100] [--every 0.02] [--sqlite-only]

A two-node run on a new thread begins every 20 ms, whether the runs before have ended or not, so a
server that stops for a second shows in fifty runs. A machine that is busy with other work cannot
execute fifty runs a second; there, runs have to begin less often (``--every 0.2``). The 95th
percentile of each window with work is divided by that of a window without. To compare two commits,
execute this file in both.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Awaitable
from pathlib import Path
from uuid import uuid4

from database import database
from load import Connection
from run import PORT, server

WINDOW_SECONDS = 4.0
IDLE_SECONDS = 2.0  # the server closes connections that are idle for 5 s
VALUE = 400_000


class Pool:
    """Connections, as many as requests are under way at a time."""

    def __init__(self, every: float) -> None:
        self.every = every
        self._free: list[tuple[float, Connection]] = []

    async def post(self, path: str, body: object) -> bytes:
        connection = self._recent() or await Connection.open(PORT)
        answer = await connection.post(path, json.dumps(body).encode())
        self._free.append((time.perf_counter(), connection))
        return answer

    def _recent(self) -> Connection | None:
        """Return the connection that was used last, unless the server may have closed it."""
        if not self._free:
            return None
        used, connection = self._free.pop()
        if time.perf_counter() - used < IDLE_SECONDS:
            return connection
        connection.close()
        self.close()
        return None

    def close(self) -> None:
        for _, connection in self._free:
            connection.close()
        self._free.clear()


async def trivial(pool: Pool) -> float:
    """Execute a run on a new thread; return how many milliseconds it took."""
    body = {"assistant_id": "two_node", "input": {"x": 1}, "if_not_exists": "create"}
    began = time.perf_counter()
    answer = await pool.post(f"/threads/{uuid4()}/runs/wait", body)
    if b'"b":4' not in answer:
        raise RuntimeError(answer.decode())
    return (time.perf_counter() - began) * 1000


async def large_thread(pool: Pool, megabytes: int) -> str:
    thread = str(uuid4())
    await pool.post("/threads", {"thread_id": thread, "metadata": {"graph_id": "two_node"}})
    for number in range(megabytes * 1_000_000 // VALUE):
        values = {"a": f"{number % 10}" * VALUE}
        await pool.post(f"/threads/{thread}/state", {"values": values, "as_node": "node_b"})
    return thread


async def window(pool: Pool, act: Awaitable[object]) -> tuple[float, float, float]:
    """Return the 95th percentile and the longest of the runs, and the seconds of the act."""
    began = time.perf_counter()
    task = asyncio.ensure_future(act)
    took: list[float] = []
    task.add_done_callback(lambda _: took.append(time.perf_counter() - began))
    runs = []
    while not task.done() or time.perf_counter() - began < WINDOW_SECONDS:
        runs.append(asyncio.create_task(trivial(pool)))
        await asyncio.sleep(pool.every)
    times = await asyncio.gather(*runs)
    await task
    return statistics.quantiles(times, n=20)[-1], max(times), took[0]


async def nothing(_pool: Pool, _thread: str) -> None:
    return None


async def copy(pool: Pool, thread: str) -> None:
    await pool.post(f"/threads/{thread}/copy", {})


async def short_history(pool: Pool, thread: str) -> None:
    for _ in range(5):
        await pool.post(f"/threads/{thread}/history", {"limit": 10})


async def long_history(pool: Pool, thread: str) -> None:
    await pool.post(f"/threads/{thread}/history", {"limit": 200})


async def history_of_ids(pool: Pool, thread: str) -> None:
    await pool.post(f"/threads/{thread}/history", {"limit": 1000, "select": ["checkpoint_id"]})


async def prune(pool: Pool, thread: str) -> None:
    await pool.post("/threads/prune", {"thread_ids": [thread], "strategy": "keep_latest"})


async def delete(pool: Pool, thread: str) -> None:
    await pool.post("/threads/prune", {"thread_ids": [thread], "strategy": "delete"})


ACTS = (nothing, short_history, history_of_ids, long_history, copy, prune, delete)


async def measure(megabytes: int, every: float) -> None:
    pool = Pool(every)
    for _ in range(50):
        await trivial(pool)
    threads = [await large_thread(pool, megabytes) for _ in range(2)]
    idle = 0.0
    for act in ACTS:
        # Pruning leaves nothing to delete, so the deletion has a thread of its own.
        p95, longest, seconds = await window(pool, act(pool, threads[act is delete]))
        idle = idle or p95
        print(
            f"  {act.__name__:<16}{p95:>9.1f} ms{p95 / idle:>8.1f} times"
            f"{longest:>9.1f} ms longest{seconds:>8.2f} s"
        )
    pool.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=100)
    parser.add_argument("--every", type=float, default=0.02, help="seconds between two runs")
    parser.add_argument("--sqlite-only", action="store_true")
    args = parser.parse_args()
    print("SQLite")
    with server("serve"):
        asyncio.run(measure(args.megabytes, args.every))
    if args.sqlite_only:
        return
    print("PostgreSQL")
    with (
        tempfile.TemporaryDirectory() as folder,
        database(Path(folder)) as url,
        server("serve", "--database-url", url),
    ):
        asyncio.run(measure(args.megabytes, args.every))


if __name__ == "__main__":
    main()
