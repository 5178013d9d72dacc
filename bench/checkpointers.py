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
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from psycopg_pool import AsyncConnectionPool

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent / "graphs")]
from bench_graphs import two_node
from database import database

from loomline.server.clock import SystemClock
from loomline.server.domain.ids import uuid7
from loomline.server.domain.json import Encoded
from loomline.server.domain.run_spec import StoredSpec
from loomline.server.domain.runs import NewRun, Outcome
from loomline.server.ports.storage import Storage
from loomline.server.storage.postgres import PostgresStorage
from loomline.server.storage.sqlite import SqliteStorage

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
        request=StoredSpec(Encoded(b"{}")),
        multitask_strategy="enqueue",
        create_thread=True,
        thread_config={},
        created_at=now,
        now=now,
    )


def behind(storage: Storage, spent: list[float]) -> Run:
    """Return what executes the graph as the server does; it notes its time without the queue's."""

    async def run() -> None:
        await storage.runs.create(new_run())
        (claim,) = await storage.runs.claim("bench", 1, 60)
        thread_id = str(claim.run.thread_id)
        began = time.perf_counter()
        await run_graph(storage.run_checkpointer(claim, wait=False), thread_id)
        await storage.flush(claim)
        spent.append(time.perf_counter() - began)
        await storage.runs.finish(claim, Outcome("success", "idle"))

    return run


@asynccontextmanager
async def opened(storage: Storage) -> AsyncIterator[Storage]:
    await storage.open()
    try:
        yield storage
    finally:
        await storage.close()


@asynccontextmanager
async def contenders(folder: Path) -> AsyncIterator[dict[str, Any]]:
    memory = InMemorySaver()
    async with AsyncExitStack() as stack:
        url = stack.enter_context(database(folder))
        lite = await stack.enter_async_context(
            opened(SqliteStorage(folder / "loomline.db", clock=SystemClock()))
        )
        storage = PostgresStorage(url, clock=SystemClock(), connections=4)
        large = await stack.enter_async_context(opened(storage))
        stock_lite = await stack.enter_async_context(
            AsyncSqliteSaver.from_conn_string(str(folder / "stock.db"))
        )
        pool = await stack.enter_async_context(
            AsyncConnectionPool(
                url, kwargs={"autocommit": True, "prepare_threshold": 0}, open=False
            )
        )
        stock_large = AsyncPostgresSaver(pool)  # type: ignore[arg-type]
        spent_lite: list[float] = []
        spent_large: list[float] = []

        def alone(saver: Any) -> tuple[Run, None]:
            return lambda: run_graph(saver, str(uuid7())), None

        yield {
            "none": alone(None),
            "memory": alone(memory),
            "stock": alone(stock_lite),
            "ours": alone(lite.checkpointer()),
            "ours behind a run": (behind(lite, spent_lite), spent_lite),
            "stock PostgreSQL": alone(stock_large),
            "ours PostgreSQL": alone(large.checkpointer()),
            "ours PostgreSQL behind a run": (behind(large, spent_large), spent_large),
        }


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
    print(f"{'checkpointer':<30}{'ms per run':>12}{'of stock':>12}")
    for name, value in middle.items():
        stock = middle["stock PostgreSQL" if "PostgreSQL" in name else "stock"]
        print(f"{name:<30}{value:>12.2f}{value / stock:>11.0%}")
    print("'behind a run' is what runs use; its time includes waiting until all is on disk.")


if __name__ == "__main__":
    asyncio.run(main())
