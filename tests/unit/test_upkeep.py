"""Long work on the rows of a large thread: pieces between which other writes are executed."""

import asyncio
import json
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import asynccontextmanager, closing

import pytest
from langgraph.checkpoint.base import create_checkpoint, empty_checkpoint
from tests.conformance.acts import DONE, NOW, ROLLED_BACK, claim, root, started, thread_of
from tests.support import new_run, new_thread, open_storage

from loomline.server.domain.assistants import Assistant
from loomline.server.domain.errors import (
    RunNotFound,
    StateChanged,
    ThreadInFlight,
    ThreadNotFound,
)
from loomline.server.domain.ids import uuid7
from loomline.server.domain.json import Encoded
from loomline.server.domain.threads import ThreadPatch, ThreadState, Ttl
from loomline.server.storage.sqlite.checkpoint_keys import thread_key
from loomline.server.storage.sqlite.checkpoint_rows import delete_run_checkpoints
from loomline.server.storage.sqlite.pieces import PIECE_BYTES

VALUE = 100_000
CHECKPOINTS = 20
OTHER = "INSERT INTO idempotency_keys"
VALUES, NOTHING = Encoded(b"{}"), Encoded(b"{}")
TABLES = (
    "checkpoints", "checkpoint_blobs", "checkpoint_writes", "checkpoint_facts", "thread_values", "runs",
)  # fmt: skip


async def fill(saver, thread, number=CHECKPOINTS, parent=None):
    """Put checkpoints with large values and writes on a thread; return the latest."""
    for each in range(number):
        config = root(thread)
        if parent is not None:
            config["configurable"]["checkpoint_id"] = parent["configurable"]["checkpoint_id"]
        made = create_checkpoint(empty_checkpoint(), None, 1)
        version = saver.get_next_version(None, None)
        made["channel_values"] = {"big": f"{each}" * VALUE}
        made["channel_versions"] = {"big": version}
        parent = await saver.aput(
            config, made, {"source": "loop", "step": each, "user": "u"}, made["channel_versions"]
        )
        await saver.aput_writes(parent, [("big", "w" * VALUE)], "task")
    return parent


async def large_thread(storage, **given):
    thread = await thread_of(storage, **given)
    await fill(storage.checkpointer(), thread)
    return thread


class Trace:
    """The statements of the writer, by transaction.

    The first piece of long work makes another caller queue a write. ``then`` is called at each
    piece, on the thread of the writer.
    """

    def __init__(self, writer, then=None):
        self._writer, self._then = writer, then
        self.transactions = [[]]
        self.pieces = 0

    def __call__(self, statement):
        words = " ".join(statement.split())
        self.transactions[-1].append(words)
        if words == "COMMIT":
            self.transactions.append([])
        if words.startswith(("DELETE FROM checkpoint", "INSERT INTO checkpoint")):
            self.pieces += 1
            if self.pieces == 1:
                self._writer.post(other_write, lambda error: None)
            if self._then is not None:
                self._then(self.pieces)

    def long(self):
        """Return the numbers of the transactions with long work."""
        return [
            number
            for number, each in enumerate(self.transactions)
            if any(words.startswith(("DELETE FROM checkpoint", "INSERT INTO checkpoint"))
                   for words in each)
        ]  # fmt: skip

    def other(self):
        """Return the number of the transaction with the other write."""
        return next(
            number
            for number, each in enumerate(self.transactions)
            if any(words.startswith(OTHER) for words in each)
        )


def other_write(connection):
    connection.execute(f"{OTHER} VALUES ('s', 'n', 'f', 't', 'r', 0)")


@asynccontextmanager
async def traced(storage, then=None):
    trace = Trace(storage._writer, then)
    await storage._writer.write(lambda connection: connection.set_trace_callback(trace))
    yield trace
    await storage._writer.write(lambda connection: connection.set_trace_callback(None))


@asynccontextmanager
async def held(storage):
    """Keep the upkeep thread busy with a job of another caller."""
    reached, opened = threading.Event(), threading.Event()

    def job():
        reached.set()
        opened.wait(300)

    task = asyncio.create_task(storage._upkeep.do(job))
    await asyncio.to_thread(reached.wait, 300)
    try:
        yield opened
    finally:
        opened.set()
        await task


def rows(path, thread):
    """Count the rows of a thread, and rows of checkpoints that belong to no thread."""
    with closing(sqlite3.connect(path)) as connection:
        others = [
            thread_key(connection, other).key
            for (other,) in connection.execute("SELECT thread_id FROM checkpoint_threads")
            if other != str(thread)
        ]
        return {
            table: connection.execute(
                f"SELECT count(*) FROM {table} WHERE thread_id = ?"
                " OR substr(thread_id, 1, 1) = '#'"
                "    AND thread_id NOT IN (SELECT value FROM json_each(?))",
                (str(thread), json.dumps(others)),
            ).fetchone()[0]
            for table in TABLES
        }


async def upkeep_is_over(storage, path):
    """Return once the table of work is empty. Each look is a job behind the work before it."""
    for _ in range(10_000):
        await storage._upkeep.do(lambda: None)
        with closing(sqlite3.connect(path)) as connection:
            if connection.execute("SELECT count(*) FROM upkeep").fetchone() == (0,):
                return
        await storage._writer.write(lambda connection: None)
    raise AssertionError("the work is not done")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "loomline.db"


@pytest.fixture
async def storage(tmp_path):
    async with open_storage(tmp_path) as opened:
        yield opened


@pytest.fixture
async def thread(storage):
    return await large_thread(storage)


async def copy(storage, thread):
    await storage.threads.copy(thread, uuid7(), NOW)


async def delete(storage, thread):
    await storage.threads.delete(thread)


async def prune_away(storage, thread):
    await storage.threads.prune([thread], "delete")


async def prune(storage, thread):
    await storage.threads.prune([thread], "keep_latest")


async def expire(storage, thread):
    await storage.threads.update(thread, ThreadPatch(NOW, ttl=Ttl(1)))
    assert (await storage.threads.expire(storage._clock.now(), 10)).threads == (thread,)


async def expire_old_checkpoints(storage, thread):
    await storage.threads.update(thread, ThreadPatch(NOW, ttl=Ttl(1, "keep_latest")))
    assert (await storage.threads.expire(storage._clock.now(), 10)).threads == (thread,)


async def delete_assistant(storage, thread):
    key = uuid7()
    assistant = Assistant(key, "graph", "one", None, {}, {}, {}, 1, NOW, NOW)
    await storage.assistants.create(assistant, "raise")
    await storage.threads.update(thread, ThreadPatch(NOW, {"assistant_id": str(key)}))
    await storage.assistants.delete(key, delete_threads=True)
    with pytest.raises(ThreadNotFound):
        await storage.threads.get(thread)


@pytest.mark.parametrize(
    "act",
    [copy, delete, prune_away, prune, expire, expire_old_checkpoints, delete_assistant],
    ids=lambda act: act.__name__,
)
async def test_long_work_on_a_large_thread_lets_other_writes_in_between(storage, path, thread, act):
    async with traced(storage) as trace:
        await act(storage, thread)
        await upkeep_is_over(storage, path)
    long = trace.long()
    assert len(long) >= CHECKPOINTS * VALUE // (PIECE_BYTES + VALUE)
    assert trace.other() < long[-1]


async def test_a_run_that_is_rolled_back_lets_other_writes_in_between(storage, path):
    thread = await thread_of(storage)
    claimed = await started(storage, thread)
    await fill(storage.run_checkpointer(claimed, wait=True), thread)
    async with traced(storage) as trace:
        await storage.runs.finish(claimed, ROLLED_BACK)
        assert await storage.checkpointer().aget_tuple(root(thread)) is None
        await upkeep_is_over(storage, path)
    assert len(trace.long()) >= CHECKPOINTS * VALUE // (PIECE_BYTES + VALUE)
    assert trace.other() < trace.long()[-1]
    assert rows(path, thread) == dict.fromkeys(TABLES, 0)


async def test_values_are_kept_while_a_run_may_refer_to_them(storage, path):
    thread = await thread_of(storage)
    first = await started(storage, thread)
    latest = await fill(storage.run_checkpointer(first, wait=True), thread)
    await storage.runs.finish(first, DONE)
    second = await started(storage, thread)
    await storage.runs.delete(thread, first.run.run_id)
    await storage._upkeep.do(lambda: None)
    assert rows(path, thread)["checkpoint_blobs"] == CHECKPOINTS
    # The next checkpoint refers to a value of the deleted run.
    saver = storage.run_checkpointer(second, wait=True)
    with closing(sqlite3.connect(path)) as connection:
        (version,) = connection.execute(
            "SELECT version FROM checkpoint_blobs ORDER BY rowid DESC LIMIT 1"
        ).fetchone()
    made = create_checkpoint(empty_checkpoint(), None, 1)
    made["channel_values"], made["channel_versions"] = {"big": "x" * VALUE}, {"big": version}
    await saver.aput(latest, made, {"source": "loop", "step": 1}, {})
    await storage.runs.finish(second, DONE)
    storage._upkeep._wake()
    await upkeep_is_over(storage, path)
    found = await storage.checkpointer().aget_tuple(root(thread))
    assert len(found.checkpoint["channel_values"]["big"]) > VALUE
    assert rows(path, thread)["checkpoint_blobs"] == 1


async def test_a_large_thread_is_gone_as_soon_as_it_is_deleted(storage, path, thread):
    run = await storage.runs.create(new_run(thread, now=NOW))
    (done,) = await claim(storage)
    await storage.runs.finish(done, DONE)
    waiting = (await storage.runs.create(new_run(thread, now=NOW))).run.run_id
    saver = storage.checkpointer()
    async with held(storage):
        assert await storage.threads.delete(thread) == (waiting,)
        assert rows(path, thread)["checkpoint_blobs"] == CHECKPOINTS
        with pytest.raises(ThreadNotFound):
            await storage.threads.get(thread)
        with pytest.raises(RunNotFound):
            await storage.runs.get(None, run.run.run_id)
        assert not await claim(storage)
        assert await saver.aget_tuple(root(thread)) is None
        assert [each async for each in saver.alist(root(thread))] == []
    await upkeep_is_over(storage, path)
    assert rows(path, thread) == dict.fromkeys(TABLES, 0)


@pytest.mark.parametrize("by", ["thread", "run"])
async def test_a_thread_with_the_id_of_a_deleted_one_begins_empty(storage, path, thread, by):
    async def create():
        if by == "thread":
            await storage.threads.create(new_thread(thread_id=thread))
        else:
            await storage.runs.create(new_run(thread, now=NOW, create_thread=True))

    async with held(storage) as opened:
        await storage.threads.delete(thread)
        task = asyncio.create_task(create())
        await storage._writer.write(lambda connection: None)
        with pytest.raises(ThreadNotFound):
            await storage.threads.get(thread)
        opened.set()
        await task
    await storage.threads.get(thread)
    assert rows(path, thread)["checkpoint_blobs"] == 0
    assert await storage.checkpointer().aget_tuple(root(thread)) is None


async def test_a_copy_of_a_large_thread_appears_when_it_is_complete(storage, path, thread):
    target, seen = uuid7(), set()

    def look(piece):
        with closing(sqlite3.connect(path)) as connection:
            where = "WHERE thread_id = ?"
            found = connection.execute(f"SELECT 1 FROM threads {where}", (str(target),)).fetchall()
        seen.add(len(found))

    async with traced(storage, look):
        await storage.threads.copy(thread, target, NOW)
    assert seen == {0}
    saver = storage.checkpointer()
    before = [each async for each in saver.alist(root(thread))]
    after = [each async for each in saver.alist(root(target))]
    assert [each.checkpoint for each in after] == [each.checkpoint for each in before]
    assert [each.pending_writes for each in after] == [each.pending_writes for each in before]
    assert rows(path, target) == rows(path, thread)


async def test_a_copy_begins_again_when_a_run_of_the_source_is_rolled_back(storage, path, thread):
    latest = await storage.checkpointer().aget_tuple(root(thread))
    claimed = await started(storage, thread)
    await fill(storage.run_checkpointer(claimed, wait=True), thread, 5, latest.config)
    key, plans = (str(claimed.run.run_id), str(thread)), []

    def roll_back(statement):
        if "FROM checkpoint_writes WHERE thread_id" in statement:
            plans.append(statement)
            if len(plans) == 1:
                storage._writer.post(lambda c: delete_run_checkpoints(c, *key), lambda error: None)

    storage._upkeep._reader.set_trace_callback(roll_back)
    target = uuid7()
    await storage.threads.copy(thread, target, NOW)
    storage._upkeep._reader.set_trace_callback(None)
    assert len(plans) == 2
    found = [each async for each in storage.checkpointer().alist(root(target))]
    assert len(found) == CHECKPOINTS
    assert found[0].checkpoint == latest.checkpoint
    await storage.runs.finish(claimed, ROLLED_BACK)
    storage._upkeep._wake()
    await upkeep_is_over(storage, path)
    assert rows(path, target)["checkpoint_blobs"] == CHECKPOINTS


async def test_pruning_a_large_thread_keeps_the_latest_checkpoint(storage, path, thread):
    saver = storage.checkpointer()
    latest = await saver.aget_tuple(root(thread))
    assert (await storage.threads.prune([thread], "keep_latest")).threads == (thread,)
    (kept,) = [each async for each in saver.alist(root(thread))]
    assert (kept.checkpoint, kept.pending_writes) == (latest.checkpoint, latest.pending_writes)
    assert rows(path, thread) == {
        "checkpoints": 1, "checkpoint_blobs": 1, "checkpoint_writes": 1, "checkpoint_facts": 1,
        "thread_values": 0, "runs": 0,
    }  # fmt: skip


async def test_no_run_begins_and_no_edit_is_made_while_a_thread_is_pruned(storage, path, thread):
    saver = storage.checkpointer()
    edit = storage.edit(thread)
    await fill(edit.checkpointer, thread, 1, (await saver.aget_tuple(root(thread))).config)
    async with held(storage) as opened:
        pruning = asyncio.create_task(storage.threads.prune([thread], "keep_latest"))
        await storage._writer.write(lambda connection: None)
        editing = asyncio.create_task(edit.commit(ThreadState("idle", VALUES, NOTHING, NOW)))
        await storage._writer.write(lambda connection: None)
        run = await storage.runs.create(new_run(thread, now=NOW))
        assert not await claim(storage)
        opened.set()
        await pruning
        with pytest.raises((StateChanged, ThreadInFlight)):
            await editing
    (claimed,) = await claim(storage)
    assert claimed.run.run_id == run.run.run_id
    assert len([each async for each in saver.alist(root(thread))]) == 1


async def test_large_webhooks_expire_in_pieces(storage):
    def fill_outbox(connection):
        for number in range(10):
            connection.execute(
                """INSERT INTO webhooks (webhook_id, run_id, url, host, payload, content,
                                         created_at, due_at, dead_at)
                   VALUES (?, 'r', 'u', 'h', '{}', zeroblob(?), 0, 0, 0)""",
                (str(number), VALUE),
            )

    await storage._writer.write(fill_outbox)
    statements = []
    await storage._writer.write(lambda c: c.set_trace_callback(statements.append))
    assert await storage.webhooks.expire(NOW, 500) == 10
    await storage._writer.write(lambda c: c.set_trace_callback(None))
    deletions = [each for each in statements if "DELETE FROM webhooks" in each]
    assert len(deletions) >= 10 * VALUE // (PIECE_BYTES + VALUE)
    assert statements.count("COMMIT") >= len(deletions)
    assert await storage.webhooks.expire(NOW, 500) == 0


KILLED = """
import asyncio, os, signal, sys
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

from loomline.server.clock import SystemClock
from loomline.server.storage.sqlite import SqliteStorage

LONG = ("DELETE FROM checkpoint", "INSERT INTO checkpoint")


async def main(path, act, thread, target):
    storage = SqliteStorage(Path(path), clock=SystemClock())
    await storage.open()
    pieces, commits = [], []

    def trace(statement):
        if statement.strip().startswith(LONG):
            pieces.append(statement)
            if len(commits) == 3:
                os.kill(os.getpid(), signal.SIGKILL)
        if statement == "COMMIT" and pieces:
            commits.append(pieces.copy())
            pieces.clear()

    await storage._writer.write(lambda connection: connection.set_trace_callback(trace))
    now = datetime.now(UTC)
    threads = storage.threads
    if act == "copy":
        await threads.copy(thread, target, now)
    elif act == "delete":
        await threads.delete(thread)
    else:
        await threads.prune([thread], "keep_latest")
    await asyncio.sleep(3600)


asyncio.run(main(sys.argv[1], sys.argv[2], UUID(sys.argv[3]), UUID(sys.argv[4])))
"""


async def killed_during(tmp_path, act):
    """Return a thread and the target of its copy, after a kill in the middle of long work."""
    target = uuid7()
    async with open_storage(tmp_path) as storage:
        thread = await large_thread(storage)
    arguments = [str(tmp_path / "loomline.db"), act, str(thread), str(target)]
    process = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", KILLED, *arguments], check=False
    )
    assert process.returncode == -signal.SIGKILL
    return thread, target


async def test_a_deletion_is_completed_after_the_process_was_killed(tmp_path, path):
    thread, _ = await killed_during(tmp_path, "delete")
    left = rows(path, thread)
    assert 0 < left["checkpoint_blobs"] + left["checkpoint_writes"] <= 2 * CHECKPOINTS
    async with open_storage(tmp_path) as storage:
        with pytest.raises(ThreadNotFound):
            await storage.threads.get(thread)
        await upkeep_is_over(storage, path)
    assert rows(path, thread) == dict.fromkeys(TABLES, 0)


async def test_a_copy_leaves_nothing_after_the_process_was_killed(tmp_path, path):
    thread, target = await killed_during(tmp_path, "copy")
    assert rows(path, target)["checkpoints"] > 0
    async with open_storage(tmp_path) as storage:
        with pytest.raises(ThreadNotFound):
            await storage.threads.get(target)
        assert await storage.checkpointer().aget_tuple(root(target)) is None
        await upkeep_is_over(storage, path)
        assert len([each async for each in storage.checkpointer().alist(root(thread))]) == 20
    assert rows(path, target) == dict.fromkeys(TABLES, 0)


async def test_pruning_is_completed_after_the_process_was_killed(tmp_path, path):
    thread, _ = await killed_during(tmp_path, "prune")
    async with open_storage(tmp_path) as storage:
        assert await storage.checkpointer().aget_tuple(root(thread)) is not None
        await upkeep_is_over(storage, path)
        assert len([each async for each in storage.checkpointer().alist(root(thread))]) == 1
    assert rows(path, thread)["checkpoint_blobs"] == 1
