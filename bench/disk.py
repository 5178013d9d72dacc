"""The size of runs on disk, beside langgraph's stock savers.

    python bench/disk.py [--runs 1000] [--turns 250] [--tables]

Two-node runs through `POST /threads/{id}/runs/wait`, a new thread for each, and one thread with a
chat of so many turns. The stock savers get the checkpoints of the same graphs in process, and know
nothing of runs and threads. Bytes of the database: pages of SQLite's file, `pg_database_size`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from psycopg.conninfo import make_conninfo

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent / "graphs")]
from bench_graphs import chat, two_node
from database import database
from load import Connection
from run import answers

HERE = Path(__file__).parent
WARM = 50
CALLERS = 4
CHAT_INPUT = "Please tell me what is new about number {}, in a sentence or two."

Sizes = Mapping[str, int]


@contextmanager
def serving(folder: Path, *more: str) -> Iterator[int]:
    """Start a server with its data in a folder; yield its port."""
    with socket.create_server(("127.0.0.1", 0)) as chosen:
        port: int = chosen.getsockname()[1]
    arguments = [
        sys.executable, "-m", "loomline.server.cli", "serve", "--config",
        str(HERE / "graphs" / "langgraph.json"), "--port", str(port), "--data-dir", str(folder),
        "--log-level", "warning", *more,
    ]  # fmt: skip
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL)
    try:
        while not answers(port):
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait()


async def runs(port: int, count: int) -> None:
    """Execute two-node runs, each on a new thread."""

    async def call(times: int) -> None:
        connection = await Connection.open(port)
        for _ in range(times):
            body = {"assistant_id": "two_node", "input": {"x": 1}, "if_not_exists": "create"}
            await connection.post(f"/threads/{uuid4()}/runs/wait", json.dumps(body).encode())
        connection.close()

    await asyncio.gather(*(call(count // CALLERS) for _ in range(CALLERS)))


async def turns(port: int, count: int) -> None:
    """Have a conversation on one thread."""
    connection = await Connection.open(port)
    thread = uuid4()
    for number in range(count):
        said = {"role": "user", "content": CHAT_INPUT.format(number)}
        body = {"assistant_id": "chat", "input": {"messages": [said]}, "if_not_exists": "create"}
        await connection.post(f"/threads/{thread}/runs/wait", json.dumps(body).encode())
    connection.close()


def sqlite_sizes(path: Path) -> Sizes:
    """Return the bytes of each table and index."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return dict(connection.execute("SELECT name, sum(pgsize) FROM dbstat GROUP BY name"))


def postgres_sizes(url: str) -> Sizes:
    """Return the bytes of each table with its indexes and large values, and of each index."""
    with psycopg.connect(url, autocommit=True) as connection:
        return dict(
            connection.execute(
                """SELECT relname, CASE relkind WHEN 'i' THEN pg_relation_size(oid)
                                   ELSE pg_table_size(oid) END
                   FROM pg_class
                   WHERE relkind IN ('r', 'i') AND relnamespace = 'public'::regnamespace"""
            ).fetchall()
        )


def ours(sizes: Callable[[], Sizes], folder: Path, count: int, length: int, *more: str) -> Any:
    """Return the sizes before and after the runs, and after the chat."""
    found = []
    for act, times in ((runs, WARM), (runs, count), (turns, length)):
        with serving(folder, *more) as port:
            asyncio.run(act(port, times))
        found.append(sizes())
    return found


async def stock(saver: Any, sizes: Callable[[], Sizes], count: int, length: int) -> Any:
    """Return the same sizes for the checkpoints alone."""

    async def run(graph: Any, thread: str, given: object) -> None:
        config = {"configurable": {"thread_id": thread}}
        await graph.copy(update={"checkpointer": saver}).ainvoke(given, config)

    await saver.setup()
    for _ in range(WARM):
        await run(two_node, str(uuid4()), {"x": 1})
    found = [sizes()]
    for _ in range(count):
        await run(two_node, str(uuid4()), {"x": 1})
    found.append(sizes())
    thread = str(uuid4())
    for number in range(length):
        await run(chat, thread, {"messages": [("user", CHAT_INPUT.format(number))]})
    return [*found, sizes()]


async def stock_sqlite(path: Path, count: int, length: int) -> Any:
    async with AsyncSqliteSaver.from_conn_string(str(path)) as saver:
        return await stock(saver, lambda: sqlite_sizes(path), count, length)


async def stock_postgres(url: str, count: int, length: int) -> Any:
    async with AsyncPostgresSaver.from_conn_string(url) as saver:
        return await stock(saver, lambda: postgres_sizes(url), count, length)


def report(name: str, found: Any, count: int, *, tables: bool) -> None:
    before, after, chatted = found
    per_run = (sum(after.values()) - sum(before.values())) / count
    chat_size = sum(chatted.values()) - sum(after.values())
    print(f"{name:<20}{per_run / 1000:>12.2f} kB{chat_size / 1e6:>12.2f} MB", flush=True)
    if tables:
        grown = {each: (size - before.get(each, 0)) / count for each, size in after.items()}
        for each, size in sorted(grown.items(), key=lambda pair: -pair[1]):
            if size:
                print(f"    {each:<40}{size:>10.0f} B")


def another(url: str, name: str) -> str:
    """Make a database; return its address."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return make_conninfo(url, dbname=name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--turns", type=int, default=250)
    parser.add_argument("--tables", action="store_true", help="name tables and indexes")
    parser.add_argument("--only", default="sqlite,postgres,stock")
    args = parser.parse_args()
    only, size = args.only.split(","), (args.runs, args.turns)
    print(f"{'':<20}{'two-node run':>15}{f'chat of {args.turns}':>15}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if "sqlite" in only:
            path = folder / "loomline.db"
            found = ours(lambda: sqlite_sizes(path), folder, *size)
            report("SQLite", found, args.runs, tables=args.tables)
        if "stock" in only:
            found = asyncio.run(stock_sqlite(folder / "stock.db", *size))
            report("stock SQLite", found, args.runs, tables=args.tables)
        with database(folder) as url:
            if "postgres" in only:
                found = ours(
                    lambda: postgres_sizes(url), folder / "other", *size, "--database-url", url
                )
                report("PostgreSQL", found, args.runs, tables=args.tables)
            if "stock" in only:
                found = asyncio.run(stock_postgres(another(url, "stock"), *size))
                report("stock PostgreSQL", found, args.runs, tables=args.tables)


if __name__ == "__main__":
    main()
