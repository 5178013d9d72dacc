"""What is SQLite's own: the writer and its transactions, the lock, the migrations, a full disk."""

import asyncio
import sqlite3
import threading
from contextlib import closing

import pytest
from tests.conformance.acts import (
    DONE,
    ROLLED_BACK,
    add,
    checkpoint,
    claim,
    root,
    started,
    thread_of,
)
from tests.support import new_thread, open_descriptors, open_storage

from loomline.server.clock import SystemClock
from loomline.server.domain.errors import StorageUnavailable, ThreadNotFound
from loomline.server.domain.ids import uuid7
from loomline.server.storage.sinks import PENDING_BYTES
from loomline.server.storage.sqlite import SqliteStorage
from loomline.server.storage.sqlite.checkpoint_keys import thread_key
from loomline.server.storage.sqlite.connection import (
    BATCH_MOST,
    QUEUE_MOST,
    READERS,
    Readers,
    connect,
)
from loomline.server.storage.sqlite.migrate import migrate


@pytest.fixture
async def storage(tmp_path):
    async with open_storage(tmp_path) as opened:
        yield opened


async def count(storage):
    """Return how many threads there are."""
    (number,) = await storage._writer.write(
        lambda connection: connection.execute("SELECT count(*) FROM threads").fetchone()
    )
    return number


async def test_a_data_directory_serves_one_process(tmp_path):
    async with open_storage(tmp_path):
        with pytest.raises(StorageUnavailable, match="Another server uses the data directory"):
            async with open_storage(tmp_path):
                pass


async def test_one_bad_write_does_not_spoil_its_transaction(storage):
    writer = storage._writer

    def bad(connection):
        connection.execute("INSERT INTO threads (thread_id) VALUES ('half')")

    outcomes = await asyncio.gather(
        storage.threads.create(new_thread()), writer.write(bad), storage.threads.create(new_thread()),
        return_exceptions=True,
    )  # fmt: skip
    assert isinstance(outcomes[1], StorageUnavailable)
    assert "half" not in str(outcomes[1])
    assert await count(storage) == 2


async def test_a_full_disk_is_said_and_survived(storage):
    (pages,) = await storage._writer.write(lambda c: c.execute("PRAGMA page_count").fetchone())
    await storage._writer.write(lambda c: c.execute(f"PRAGMA max_page_count = {pages}").fetchone())
    with pytest.raises(StorageUnavailable, match="the disk is full"):
        for _ in range(200):
            await storage.threads.create(new_thread(metadata={"x": "y" * 5000}))
    await storage._writer.write(lambda c: c.execute("PRAGMA max_page_count = 100000").fetchone())
    await storage.threads.create(new_thread(metadata={"x": "y" * 5000}))


async def test_a_failed_checkpoint_fails_the_end_of_its_run(storage):
    thread = await thread_of(storage)
    run = await add(storage, thread)
    (held,) = await claim(storage)
    saver = storage.run_checkpointer(held, wait=False)
    (pages,) = await storage._writer.write(lambda c: c.execute("PRAGMA page_count").fetchone())
    await storage._writer.write(lambda c: c.execute(f"PRAGMA max_page_count = {pages}").fetchone())
    await checkpoint(saver, thread, run, "x" * 200_000)
    with pytest.raises(StorageUnavailable):
        await storage.flush(held)
    await storage._writer.write(lambda c: c.execute("PRAGMA max_page_count = 100000").fetchone())
    with pytest.raises(StorageUnavailable):
        await storage.runs.finish(held, DONE)
    await storage.runs.release(held)
    assert (await storage.runs.get(thread, run)).status == "pending"


async def test_a_cancelled_caller_leaves_the_writer_working(storage):
    tasks = [asyncio.create_task(storage.threads.create(new_thread())) for _ in range(50)]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert await count(storage) >= 25
    await storage.ping()


class Gate:
    """A write that holds the writer up, so that others gather behind it."""

    def __init__(self):
        self.reached, self._open = threading.Event(), threading.Event()

    def __call__(self, connection):
        self.reached.set()
        self._open.wait(150)

    def open(self):
        self._open.set()


async def gathered(storage, works):
    """Hand in the works while the writer is held up; return what came of them."""
    gate = Gate()
    first = asyncio.create_task(storage._writer.write(gate))
    assert await asyncio.to_thread(gate.reached.wait, 150)
    tasks = [asyncio.create_task(work) for work in works]
    await asyncio.sleep(0)
    gate.open()
    await first
    return await asyncio.gather(*tasks, return_exceptions=True)


async def test_waiting_writes_share_one_commit(storage):
    statements = []
    storage._writer._connection.set_trace_callback(statements.append)
    threads = 100
    await gathered(storage, [storage.threads.create(new_thread()) for _ in range(threads)])
    storage._writer._connection.set_trace_callback(None)
    # The upkeep looks for unfinished work in a transaction of its own.
    transactions = "\n".join(statements).split("COMMIT")
    assert sum("INSERT INTO threads" in each for each in transactions) == 1
    assert await count(storage) == threads


async def test_more_than_a_transaction_takes_is_done_in_several(storage):
    await gathered(
        storage, [storage.threads.create(new_thread()) for _ in range(2 * BATCH_MOST + 1)]
    )
    assert await count(storage) == 2 * BATCH_MOST + 1


async def test_a_refusal_undoes_its_own_statements_alone(storage):
    lost = uuid7()

    def refused(connection):
        connection.execute("DELETE FROM threads")
        raise ThreadNotFound(lost)

    outcomes = await gathered(
        storage,
        [storage.threads.create(new_thread()), storage._writer.write(refused)],
    )
    assert isinstance(outcomes[1], ThreadNotFound)
    assert await count(storage) == 1


async def test_callers_on_several_loops(storage):
    def elsewhere():
        async def create():
            return [await storage.threads.create(new_thread()) for _ in range(20)]

        return asyncio.run(create())

    made = await asyncio.gather(*(asyncio.to_thread(elsewhere) for _ in range(4)))
    for thread in (each for part in made for each in part):
        assert await storage.threads.get(thread.thread_id) == thread


async def test_a_caller_whose_loop_has_gone(storage):
    gate = Gate()

    def elsewhere():
        loop = asyncio.new_event_loop()
        task = loop.create_task(storage._writer.write(gate))
        loop.run_until_complete(asyncio.sleep(0))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            loop.run_until_complete(task)
        loop.close()

    await asyncio.to_thread(elsewhere)
    gate.open()
    await storage.threads.create(new_thread())
    assert await count(storage) == 1


async def test_closing_commits_the_waiting_writes(tmp_path):
    async with open_storage(tmp_path) as storage:
        held = await started(storage, await thread_of(storage))
        thread = held.run.thread_id
        await checkpoint(storage.run_checkpointer(held, wait=False), thread, held.run.run_id)
    for act in (
        lambda: storage.threads.create(new_thread()),
        lambda: storage.threads.get(thread),
        lambda: storage.runs.get(None, held.run.run_id),
    ):
        with pytest.raises(StorageUnavailable):
            await act()
    async with open_storage(tmp_path) as storage:
        assert await storage.checkpointer().aget_tuple(root(thread)) is not None


async def test_a_write_that_cannot_be_queued_fails_its_run(tmp_path):
    async with open_storage(tmp_path) as storage:
        held = await started(storage, await thread_of(storage))
        saver = storage.run_checkpointer(held, wait=False)
    for _ in range(2):
        with pytest.raises(StorageUnavailable, match="shutting down"):
            await checkpoint(saver, held.run.thread_id, held.run.run_id)


async def test_a_run_waits_when_too_much_of_it_is_unwritten(storage):
    held = await started(storage, await thread_of(storage))
    saver = storage.run_checkpointer(held, wait=False)
    gate = Gate()
    blocked = asyncio.create_task(storage._writer.write(gate))
    assert await asyncio.to_thread(gate.reached.wait, 150)
    small = asyncio.create_task(checkpoint(saver, held.run.thread_id, held.run.run_id))
    await asyncio.wait_for(small, 5)
    big = asyncio.create_task(
        checkpoint(saver, held.run.thread_id, held.run.run_id, "x" * PENDING_BYTES)
    )
    done, _ = await asyncio.wait([big], timeout=0.05)
    assert not done
    gate.open()
    await asyncio.gather(big, blocked)


async def test_the_schema_is_made_once_and_kept(tmp_path):
    async with open_storage(tmp_path) as storage:
        await storage.threads.create(new_thread())
    async with open_storage(tmp_path) as storage:
        assert await count(storage) == 1


async def test_a_database_of_a_newer_version_is_left_alone(tmp_path):
    with closing(connect(tmp_path / "loomline.db")) as connection:
        connection.execute("PRAGMA user_version = 999")
    for _ in range(2):  # the lock is given back
        with pytest.raises(StorageUnavailable, match="newer version of Loomline"):
            async with open_storage(tmp_path):
                pass


async def test_opening_a_file_that_is_no_database_leaves_no_connection_open(tmp_path):
    (tmp_path / "loomline.db").write_bytes(b"no database" * 1000)
    with pytest.raises(StorageUnavailable) as refused:  # keeps what the frames below refer to
        async with open_storage(tmp_path):
            pass
    assert tmp_path / "loomline.db" not in open_descriptors().values(), refused


async def test_a_data_directory_that_cannot_be_made(tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(StorageUnavailable, match="cannot be used"):
        async with open_storage(tmp_path / "taken"):
            pass


async def test_a_thread_never_has_two_running_runs(storage):
    thread = await thread_of(storage)
    await started(storage, thread)
    other = await add(storage, thread)

    def force(connection):
        connection.execute("UPDATE runs SET status = 'running' WHERE run_id = ?", (str(other),))

    with pytest.raises(StorageUnavailable):
        await storage._writer.write(force)


async def test_a_claim_is_forgotten_with_its_run(storage):
    thread = await thread_of(storage)
    held = await started(storage, thread)
    storage.run_checkpointer(held, wait=False)
    await storage.runs.delete(thread, held.run.run_id)
    with pytest.raises(Exception, match="another worker"):
        await storage.runs.finish(held, DONE)
    assert storage._savers.sinks._sinks == {}


@pytest.mark.one_interpreter
async def test_too_many_writes_are_refused_and_the_rest_is_done(storage):
    results = await gathered(
        storage, [storage._writer.write(lambda _: None) for _ in range(QUEUE_MOST + 1)]
    )
    refused = [each for each in results if each is not None]
    assert len(refused) == 1
    assert "too many writes" in str(refused[0])
    await storage.threads.create(new_thread())


async def test_storage_can_be_closed_twice(tmp_path):
    async with open_storage(tmp_path) as storage:
        await storage.close()


async def test_two_starts_at_once_make_the_schema_once(tmp_path):
    with closing(connect(tmp_path / "x.db")) as one, closing(connect(tmp_path / "x.db")) as two:
        together = threading.Barrier(2)

        def start(connection):
            together.wait(150)
            migrate(connection)

        await asyncio.gather(*(asyncio.to_thread(start, each) for each in (one, two)))
        assert one.execute("PRAGMA user_version").fetchone() > (0,)


async def test_reading_a_long_thread_uses_the_indexes(storage):
    """What a read costs must not grow with the thread or with the database."""
    steps = []

    async def cost(act):
        steps.clear()
        await act()
        return len(steps)

    def counted(connection):
        connection.set_progress_handler(lambda: steps.append(None), 100)

    thread = await thread_of(storage)
    saver = storage.checkpointer()
    gate = threading.Barrier(READERS)

    def on_each(connection):
        gate.wait(150)
        counted(connection)

    await asyncio.gather(*(storage._readers.read(on_each) for _ in range(READERS)))
    few, many = [], []
    for results, number in ((few, 10), (many, 300)):
        for _ in range(number):
            await checkpoint(saver, thread, uuid7())
        results.append(await cost(lambda: saver.aget_tuple(root(thread))))
        results.append(await cost(lambda: first(saver.alist(root(thread), limit=5))))
    assert max(many) <= max(few) + 5


async def first(source):
    return [each async for each in source]


@pytest.mark.one_interpreter
async def test_runs_of_a_long_thread_cost_no_more(storage):
    steps = []
    thread = await thread_of(storage)
    storage._writer._connection.set_progress_handler(lambda: steps.append(None), 100)

    async def cost():
        steps.clear()
        await storage.runs.finish(await started(storage, thread), DONE)
        return len(steps)

    before = await cost()
    for _ in range(300):
        await cost()
    assert await cost() <= before + 5


@pytest.mark.one_interpreter
async def test_rolling_back_on_a_long_thread_is_no_square(storage):
    steps = []
    thread = await thread_of(storage)
    saver = storage.checkpointer()

    async def cost(number):
        for _ in range(number):
            await checkpoint(saver, thread, uuid7())
        held = await started(storage, thread)
        await checkpoint(storage.run_checkpointer(held, wait=True), thread, held.run.run_id)
        steps.clear()
        await storage.runs.finish(held, ROLLED_BACK)
        return len(steps)

    storage._writer._connection.set_progress_handler(lambda: steps.append(None), 100)
    few = await cost(50)
    assert await cost(450) < 20 * few


async def test_the_number_of_a_deleted_thread_is_never_given_to_another(storage):
    keys = []
    for _ in range(3):
        thread = await thread_of(storage)
        await checkpoint(storage.checkpointer(), thread, uuid7())
        keys.append(
            await storage._writer.write(lambda c, each=str(thread): thread_key(c, each).key)
        )
        await storage.threads.delete(thread)
    assert keys == sorted(set(keys))


async def test_a_failure_without_a_loop(storage):
    def bad(connection):
        connection.execute("no statement at all")

    with pytest.raises(StorageUnavailable):
        await asyncio.to_thread(storage._writer.write_blocking, bad)


async def test_beside_a_server_nothing_is_migrated(tmp_path):
    async with open_storage(tmp_path) as server:
        beside = SqliteStorage(tmp_path / "loomline.db", clock=SystemClock(), beside=True)
        await beside.open()
        assert await beside.webhooks.dead(10) == []
        await beside.close()
        await server.ping()
    with closing(sqlite3.connect(tmp_path / "loomline.db")) as connection:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        connection.execute(f"PRAGMA user_version = {version - 1}")
    with pytest.raises(StorageUnavailable, match="another version of Loomline"):
        await SqliteStorage(tmp_path / "loomline.db", clock=SystemClock(), beside=True).open()


async def test_a_reader_that_cannot_open_the_file(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    readers = Readers(folder / "loomline.db")
    (folder / "loomline.db").rename(tmp_path / "elsewhere.db")
    (folder / "loomline.db").mkdir()
    with pytest.raises(StorageUnavailable):
        await readers.read(lambda connection: connection.execute("SELECT 1").fetchone())
    readers.close()


@pytest.mark.parametrize("number", [1, 15, 16, 255, 256, 2**40])
async def test_thread_with_a_checkpoint_is_not_fresh_whatever_its_number(tmp_path, number):
    async with open_storage(tmp_path) as storage:
        await storage._writer.write(
            lambda c: c.execute(
                "INSERT INTO sqlite_sequence (name, seq) VALUES ('checkpoint_threads', ?)",
                (number - 1,),
            )
        )
        thread = await thread_of(storage)
        held = await started(storage, thread)
        assert held.fresh
        await checkpoint(storage.run_checkpointer(held, wait=False), thread, held.run.run_id)
        await storage.runs.finish(held, DONE)
        assert not (await started(storage, thread)).fresh
