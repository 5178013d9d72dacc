"""The floor: the same graphs in this process, with langgraph alone."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from uuid import uuid4

from langgraph.checkpoint.memory import InMemorySaver

sys.path.insert(0, str(Path(__file__).parent / "graphs"))
from bench_graphs import stream_tokens, two_node


async def runs(tasks: int, times: int) -> dict[str, float]:
    """Run the two-node graph with the in-memory saver, a new thread each."""
    graph = two_node.copy(update={"checkpointer": InMemorySaver()})
    latencies: list[float] = []

    async def work() -> None:
        for _ in range(times):
            began = time.perf_counter()
            config = {"configurable": {"thread_id": str(uuid4())}}
            await graph.ainvoke({"x": 1}, config, durability="async")
            latencies.append(time.perf_counter() - began)

    began = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(tasks)))
    seconds = time.perf_counter() - began
    latencies.sort()
    middle = latencies[len(latencies) // 2] * 1000
    return {"per_second": tasks * times / seconds, "p50_ms": middle}


async def events(tasks: int, tokens: int, times: int) -> dict[str, float]:
    """Stream tokens from the fake model with `astream`."""
    count = 0

    async def work() -> None:
        nonlocal count
        for _ in range(times):
            async for _ in stream_tokens.astream({"n": tokens}, stream_mode="messages"):
                count += 1

    began = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(tasks)))
    return {"per_second": count / (time.perf_counter() - began)}


def main() -> None:
    what, tasks, times = sys.argv[1:4]
    kind, _, number = what.partition(":")
    made = runs(int(tasks), int(times))
    if kind == "events":
        made.close()
        made = events(int(tasks), int(number), int(times))
    print(json.dumps(asyncio.run(made)))


if __name__ == "__main__":
    main()
