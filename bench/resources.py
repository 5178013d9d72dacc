"""How resources behave as they grow: the time at a large size as a multiple of that at a small one.

python bench/resources.py [--threads 100000] [--postgres] [--json]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import operator
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import psycopg
from database import database
from langchain_core.runnables import RunnableConfig
from langgraph.graph import START, StateGraph
from psycopg.conninfo import make_conninfo
from psycopg.sql import SQL, Identifier
from typing_extensions import TypedDict

from loomline.server.clock import SystemClock
from loomline.server.domain.ids import uuid7
from loomline.server.domain.json import EMPTY_OBJECT, Encoded
from loomline.server.domain.threads import (
    NewThread,
    ThreadFilter,
    ThreadPatch,
    ThreadQuery,
    ThreadState,
)
from loomline.server.graphs.states import Selection, read_history
from loomline.server.storage.postgres import PostgresStorage
from loomline.server.storage.sqlite import SqliteStorage

SMALL = 1_000
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
TOGETHER = 500
LONG, SHORT = 2_000, 100
LARGE_VALUES = 5_000_000

Act = Callable[[], Awaitable[object]]
Row = tuple[str, float, float]
Database = SqliteStorage | PostgresStorage


class State(TypedDict, total=False):
    items: Annotated[list[int], operator.add]
    note: str


async def middle(act: Act, times: int = 40) -> float:
    """Return the median time of an act, in milliseconds."""
    taken = []
    for _ in range(times + 5):
        began = time.perf_counter()
        await act()
        taken.append((time.perf_counter() - began) * 1000)
    return statistics.median(taken[5:])


@asynccontextmanager
async def opened(server: str | None) -> AsyncIterator[Database]:
    """Open an empty database: a file, or a schema of a server, that is removed at the end."""
    with tempfile.TemporaryDirectory() as folder, new_database(server) as url:
        clock = SystemClock()
        storage: Database = (
            PostgresStorage(url, clock=clock, connections=4)
            if url
            else SqliteStorage(Path(folder) / "loomline.db", clock=clock)
        )
        await storage.open()
        try:
            yield storage
        finally:
            await storage.close()


@contextmanager
def new_database(server: str | None) -> Iterator[str | None]:
    if server is None:
        yield None
        return
    name = f"bench_{uuid7().hex}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(SQL("CREATE DATABASE {}").format(Identifier(name)))
        yield make_conninfo(server, dbname=name)
        connection.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(name)))


async def fill(storage: Database, count: int) -> None:
    """Create threads: ten of each user, half of each kind, the oldest tenth of an old kind."""
    for start in range(0, count, TOGETHER):
        numbers = range(start, min(start + TOGETHER, count))
        await asyncio.gather(*(storage.threads.create(thread(each, count)) for each in numbers))


def thread(number: int, count: int) -> NewThread:
    metadata: dict[str, Any] = {
        "user_id": f"user-{number * 7919 % count // 10}",
        "kind": number % 2,
        "share": number % 100,
        "tenth": number % 10,
        "age": "old" if number < count // 10 else "new",
        "tags": ["all", f"t{number % 50}"],
    }
    return NewThread(uuid7(), metadata, "raise", EPOCH + timedelta(seconds=number))


SEARCHES: dict[str, dict[str, Any]] = {
    "no filter": {},
    "rare value (10 threads)": {"user_id": "user-5"},
    "1 % of all": {"share": 7},
    "10 % of all": {"tenth": 3},
    "half of all": {"kind": 1},
    "in an array, 2 % of all": {"tags": ["t7"]},
    "10 % of all, the oldest": {"age": "old"},
    "nothing": {"user_id": "nobody"},
}


async def searches(storage: Database) -> dict[str, float]:
    found = {}
    for sort_by in ("updated_at", "created_at", "status", "thread_id"):
        for name, metadata in SEARCHES.items():
            query = ThreadQuery(ThreadFilter(metadata=metadata), 10, sort_by=sort_by)
            label = f"search by {sort_by}: {name}"
            found[label] = await middle(lambda query=query: storage.threads.search(query))  # type: ignore[misc]
    where = ThreadFilter(metadata={"user_id": "user-5"})
    found["count: rare value"] = await middle(lambda: storage.threads.count(where))
    found["search: busy threads (none)"] = await middle(
        lambda: storage.threads.search(ThreadQuery(ThreadFilter(status="busy"), 10))
    )
    return found


async def upkeep(storage: Database) -> dict[str, float]:
    """Return what single threads cost among all the others."""
    number = iter(range(10**9))

    async def create() -> UUID:
        new = NewThread(uuid7(), {"user_id": f"new-{next(number)}", "kind": 0}, "raise", EPOCH)
        return (await storage.threads.create(new)).thread_id

    some = await create()
    patch = ThreadPatch(EPOCH, {"seen": True})
    return {
        "create": await middle(create),
        "update": await middle(lambda: storage.threads.update(some, patch)),
        "get": await middle(lambda: storage.threads.get(some)),
        "expire (nothing)": await middle(lambda: storage.threads.expire(EPOCH, 50)),
    }


async def by_number(server: str | None, most: int) -> list[Row]:
    times = []
    for count in (SMALL, most):
        async with opened(server) as storage:
            await fill(storage, count)
            times.append(await searches(storage) | await upkeep(storage))
    return [(name, times[0][name], times[1][name]) for name in times[0]]


async def by_history(server: str | None) -> list[Row]:
    """Return the time for 50 states of a short and of a long history."""
    async with opened(server) as storage:
        builder = StateGraph(State)
        builder.add_node("node", lambda _: {})
        builder.add_edge(START, "node")
        graph = builder.compile(checkpointer=storage.checkpointer())
        taken: dict[str, list[float]] = {
            "history of 50": [],
            "latest state": [],
            "history: all match": [],
            "history: one old state": [],
        }
        for length in (SHORT, LONG):
            config: RunnableConfig = {"configurable": {"thread_id": str(uuid7())}}
            for number in range(length):
                values = {"note": "x" * 2000 + str(number)}
                await graph.aupdate_state(config, values, as_node="node")

            async def history(metadata: dict[str, Any], config: RunnableConfig = config) -> Encoded:
                return await read_history(
                    graph, config, Selection(), metadata=metadata, before=None, limit=50
                )

            taken["history of 50"].append(await middle(lambda: history({}), 20))
            wanted = {"source": "update"}
            taken["history: all match"].append(await middle(lambda: history(wanted), 20))  # noqa: B023
            oldest = {"step": 3}
            taken["history: one old state"].append(await middle(lambda: history(oldest), 20))  # noqa: B023
            taken["latest state"].append(await middle(lambda: graph.aget_state(config), 20))  # noqa: B023
    return [(name, *pair) for name, pair in taken.items()]  # type: ignore[misc]


async def by_values(server: str | None) -> list[Row]:
    """Return what large values cost where nobody asks for them."""
    async with opened(server) as storage:
        acts: dict[str, list[float]] = {"get without values": [], "search without values": []}
        for size in (100, LARGE_VALUES):
            ids = []
            for _ in range(10):
                new = NewThread(uuid7(), {"size": size}, "raise", EPOCH)
                values = Encoded(b'{"text":"' + b"x" * size + b'"}')
                state = ThreadState("idle", values, EMPTY_OBJECT, EPOCH)
                await storage.edit(new.thread_id).commit(state, new)
                ids.append(new.thread_id)
            query = ThreadQuery(ThreadFilter(metadata={"size": size}), 10, with_values=False)
            acts["get without values"].append(
                await middle(lambda: storage.threads.get(ids[0], with_values=False))  # noqa: B023
            )
            acts["search without values"].append(
                await middle(lambda: storage.threads.search(query))  # noqa: B023
            )
    return [(name, *pair) for name, pair in acts.items()]  # type: ignore[misc]


def show(title: str, small: str, large: str, rows: list[Row]) -> None:
    print(f"\n{title:<58}{small:>12}{large:>12}{'times':>8}")
    for name, before, after in rows:
        print(f"{name:<58}{before:>9.2f} ms{after:>9.2f} ms{after / before:>8.1f}")


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=100_000)
    parser.add_argument("--postgres", action="store_true", help="instead of SQLite")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    with ExitStack() as stack:
        server = None
        if args.postgres:
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            server = stack.enter_context(database(Path(folder)))
        tables = [
            ("threads", f"{SMALL}", f"{args.threads}", await by_number(server, args.threads)),
            ("checkpoints of a thread", f"{SHORT}", f"{LONG}", await by_history(server)),
            ("bytes of values", "100", f"{LARGE_VALUES}", await by_values(server)),
        ]
    if args.json:
        print(json.dumps({title: rows for title, _, _, rows in tables}))
        return
    for table in tables:
        show(*table)


if __name__ == "__main__":
    asyncio.run(main())
