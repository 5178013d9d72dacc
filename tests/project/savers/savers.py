"""Savers as users write them. OWN_SAVER is the place of the checkpoints, or of a protocol."""

import asyncio
import contextlib
import os
import threading
from pathlib import Path

from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver


def place():
    return os.environ["OWN_SAVER"]


@contextlib.asynccontextmanager
async def sqlite():
    async with AsyncSqliteSaver.from_conn_string(place()) as saver:
        yield saver


@contextlib.asynccontextmanager
async def postgres():
    async with AsyncPostgresSaver.from_conn_string(place()) as saver:
        await saver.setup()
        yield saver


class Whole(AsyncSqliteSaver):
    """A saver with every optional method."""

    async def adelete_for_runs(self, run_ids):
        for run_id in run_ids:
            await self._change(
                "DELETE FROM checkpoints"
                " WHERE json_extract(CAST(metadata AS TEXT), '$.run_id') = ?",
                run_id,
            )

    async def acopy_thread(self, source_thread_id, target_thread_id):
        for table, columns in (
            ("checkpoints", "checkpoint_ns, checkpoint_id, parent_checkpoint_id, type, checkpoint, metadata"),
            ("writes", "checkpoint_ns, checkpoint_id, task_id, idx, channel, type, value"),
        ):  # fmt: skip
            await self._change(
                f"INSERT INTO {table} (thread_id, {columns})"
                f" SELECT ?, {columns} FROM {table} WHERE thread_id = ?",
                target_thread_id,
                source_thread_id,
            )

    async def aprune(self, thread_ids, *, strategy="keep_latest"):
        assert strategy == "keep_latest"
        for thread_id in thread_ids:
            await self._change(
                "DELETE FROM checkpoints AS c WHERE thread_id = ? AND checkpoint_id < ("
                " SELECT max(checkpoint_id) FROM checkpoints"
                " WHERE thread_id = c.thread_id AND checkpoint_ns = c.checkpoint_ns)",
                thread_id,
            )

    async def _change(self, statement, *given):
        async with self.lock:
            await self.conn.execute(statement, given)
            await self.conn.commit()


@contextlib.asynccontextmanager
async def whole():
    async with Whole.from_conn_string(place()) as saver:
        yield saver


class Watched(InMemorySaver):
    """A saver that notes on which threads its methods are called."""

    def note(self, what):
        with Path(place()).open("a") as file:
            file.write(f"{what} {threading.current_thread().name}\n")

    async def aget_tuple(self, config):
        self.note("aget_tuple")
        return await super().aget_tuple(config)

    async def aput(self, *given):
        self.note("aput")
        return await super().aput(*given)

    async def aput_writes(self, *given):
        self.note("aput_writes")
        return await super().aput_writes(*given)

    async def adelete_thread(self, thread_id):
        self.note("adelete_thread")
        await super().adelete_thread(thread_id)

    async def alist(self, *given, **named):
        self.note("alist")
        async for each in super().alist(*given, **named):
            yield each


@contextlib.asynccontextmanager
async def watched():
    saver = Watched()
    # Held over the whole life: only the task that has entered a timeout may leave it.
    async with asyncio.timeout(None):
        saver.note("opened")
        yield saver
        saver.note("closed")


class Failing(InMemorySaver):
    async def adelete_thread(self, thread_id):
        raise ConnectionError("secret.example is away")


instance = InMemorySaver()
failing = Failing()


def function():
    return InMemorySaver()


async def coroutine():
    return InMemorySaver()


async def generator():
    yield InMemorySaver()


@contextlib.contextmanager
def blocking():
    yield InMemorySaver()


def manager():
    return AsyncSqliteSaver.from_conn_string(place())


# Objects that cannot be used.

number = 7


def asks(url):
    return InMemorySaver()


async def makes_text():
    return "saver"


@contextlib.asynccontextmanager
async def away():
    raise ConnectionError("the database is away")
    yield


@contextlib.asynccontextmanager
async def without_setup():
    async with AsyncPostgresSaver.from_conn_string(place()) as saver:
        yield saver


class NotAsync(InMemorySaver):
    async def aget_tuple(self, config):
        raise NotImplementedError("use the sync methods")


def sync_sqlite():
    return SqliteSaver.from_conn_string(":memory:")


def sync_postgres():
    return PostgresSaver.from_conn_string(place())
