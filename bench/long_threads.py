"""What the 200th run of a thread costs, as a multiple of the first one.

    python bench/long_threads.py [--rounds 60] [--length 200]

Two-node runs through `POST /threads/{id}/runs/wait`, and the same streamed, by one caller. Runs on
new threads and on threads with so many runs before alternate; medians are shown.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from pathlib import Path
from uuid import uuid4

from database import database
from load import Connection
from run import PORT, server

OLD_THREADS = 8


async def run(connection: Connection, thread: str, how: str, x: int) -> float:
    """Execute a run on a thread that exists; return how many milliseconds it took."""
    body = {"assistant_id": "two_node", "input": {"x": x}}
    encoded = json.dumps(body).encode()
    began = time.perf_counter()
    answer = await connection.post(f"/threads/{thread}/runs/{how}", encoded)
    taken = (time.perf_counter() - began) * 1000
    if f'"b":{2 * x + 2}'.encode() not in answer:
        raise RuntimeError(answer.decode())
    return taken


async def new_thread(connection: Connection) -> str:
    answer = await connection.post("/threads", json.dumps({"thread_id": str(uuid4())}).encode())
    return str(json.loads(answer)["thread_id"])


async def measure(rounds: int, length: int) -> dict[str, tuple[float, float]]:
    """Return the medians of first runs and of runs after so many, by how they are made."""
    connection = await Connection.open(PORT)
    old = [await new_thread(connection) for _ in range(OLD_THREADS)]
    for number in range(length - 1):
        for thread in old:
            await run(connection, thread, "wait", number)
    found = {}
    for how in ("wait", "stream"):
        first, later = [], []
        for number in range(rounds):
            young = await new_thread(connection)
            first.append(await run(connection, young, how, number))
            later.append(await run(connection, old[number % OLD_THREADS], how, number))
        found[how] = statistics.median(first), statistics.median(later)
    connection.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--length", type=int, default=200)
    args = parser.parse_args()
    print(f"{'':<14}{'':<8}{'run 1':>10}{f'run {args.length}':>12}{'times':>8}")
    with tempfile.TemporaryDirectory() as folder, database(Path(folder)) as url:
        for name, more in (("SQLite", []), ("PostgreSQL", ["--database-url", url])):
            with server("serve", *more):
                for how, (first, later) in asyncio.run(measure(args.rounds, args.length)).items():
                    print(
                        f"{name:<14}{how:<8}{first:>7.2f} ms{later:>9.2f} ms{later / first:>8.2f}"
                    )


if __name__ == "__main__":
    main()
