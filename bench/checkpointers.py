"""Time per run of the two-node graph with each checkpointer, in one process, alternating.

python bench/checkpointers.py [--runs 300] [--rounds 5] [--json]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

sys.path.insert(0, str(Path(__file__).parent / "graphs"))
from bench_graphs import two_node

from weft.server.clock import SystemClock
from weft.server.domain.ids import uuid7
from weft.server.domain.json import Encoded
from weft.server.domain.runs import NewRun, Outcome
from weft.server.storage.sqlite import SqliteStorage

Run = Callable[[], Awaitable[object]]


async def run_graph(saver: Any, thread_id: str) -> object:
    graph = two_node if saver is None else two_node.copy(update={"checkpointer": saver})
    config = {"configurable": {"thread_id": thread_id}}
    durability = None if saver is None else "async"
    return await graph.ainvoke({"x": 1}, config, durability=durability)


def new_run() -> NewRun:
    now = datetime.now(UTC)
    return NewRun(
        run_id=uuid7(),
        thread_id=uuid7(),
        assistant_id=UUID(int=0),
        graph_id="two_node",
        assistant_metadata={},
        metadata={},
        kwargs=Encoded(b"{}"),
        multitask_strategy="enqueue",
        create_thread=True,
        temporary=False,
        resumable=False,
        thread_config={},
        created_at=now,
        now=now,
    )


@asynccontextmanager
async def contenders(folder: Path) -> AsyncIterator[dict[str, Any]]:
    storage = SqliteStorage(folder / "weft.db", clock=SystemClock())
    await storage.open()
    memory = InMemorySaver()
    direct = storage.checkpointer()

    async def behind() -> None:
        await storage.runs.create(new_run())
        (claim,) = await storage.runs.claim("bench", 1, 60)
        thread_id = str(claim.run.thread_id)
        began = time.perf_counter()
        await run_graph(storage.run_checkpointer(claim, wait=False), thread_id)
        await storage.flush(claim)
        spent.append(time.perf_counter() - began)
        await storage.runs.finish(claim, Outcome("success", "idle"))

    spent: list[float] = []
    async with AsyncSqliteSaver.from_conn_string(str(folder / "stock.db")) as stock:
        yield {
            "none": (lambda: run_graph(None, str(uuid7())), None),
            "memory": (lambda: run_graph(memory, str(uuid7())), None),
            "stock": (lambda: run_graph(stock, str(uuid7())), None),
            "ours": (lambda: run_graph(direct, str(uuid7())), None),
            "ours behind a run": (behind, spent),
        }
    await storage.close()


async def measure(run: Run, spent: list[float] | None, runs: int) -> float:
    """Return the milliseconds per run: by the clock, or as the runs have noted them."""
    if spent is not None:
        spent.clear()
    began = time.perf_counter()
    for _ in range(runs):
        await run()
    seconds = time.perf_counter() - began if spent is None else sum(spent)
    return seconds / runs * 1000


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        async with contenders(Path(folder)) as runs:
            times: dict[str, list[float]] = {name: [] for name in runs}
            for _ in range(args.rounds):
                for name, (run, spent) in runs.items():
                    times[name].append(await measure(run, spent, args.runs))
    middle = {name: statistics.median(each) for name, each in times.items()}
    if args.json:
        print(json.dumps(middle))
        return
    print(f"{'checkpointer':<20}{'ms per run':>12}{'of stock':>12}")
    for name, value in middle.items():
        print(f"{name:<20}{value:>12.2f}{value / middle['stock']:>11.0%}")
    print("'ours behind a run' is what runs use; its time includes waiting until all is on disk.")


if __name__ == "__main__":
    asyncio.run(main())
