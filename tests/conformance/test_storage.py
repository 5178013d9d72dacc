"""What every database must do, resource by resource."""

import asyncio
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from langgraph.checkpoint.base import empty_checkpoint
from tests.support import ASSISTANT, StandingClock, new_run, new_thread, open_storage

from weft.server.domain.assistants import default_assistant
from weft.server.domain.errors import (
    AssistantNotFound,
    LeaseLost,
    NothingToCancel,
    RunNotFound,
    StorageUnavailable,
    ThreadBusy,
    ThreadExists,
    ThreadNotFound,
)
from weft.server.domain.ids import default_assistant_id, uuid7
from weft.server.domain.json import Encoded
from weft.server.domain.runs import Outcome, Stop

NOW = datetime(2026, 1, 1, tzinfo=UTC)
DONE = Outcome("success", "idle", values=Encoded(b'{"a":1}'))
INTERRUPT = Stop("interrupt", "asked")
ROLLBACK = Stop("rollback", "asked")


@pytest.fixture
def clock():
    return StandingClock()


@pytest.fixture
async def storage(tmp_path, clock):
    async with open_storage(tmp_path, clock) as opened:
        yield opened


async def thread_of(storage, **fields):
    return (await storage.threads.create(new_thread(now=NOW, **fields))).thread_id


async def add(storage, thread_id, **fields):
    return (await storage.runs.create(new_run(thread_id, now=NOW, **fields))).run.run_id


async def claim(storage, limit=1, seconds=15.0):
    return list(await storage.runs.claim("worker", limit, seconds))


def rows(storage):
    """Count the rows of every table."""
    with closing(sqlite3.connect(storage._path)) as connection:
        tables = [
            name
            for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        ]
        return {
            name: connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0]
            for name in tables
        }


async def checkpoint(saver, thread_id, run_id, value="x" * 1000):
    config = {
        "configurable": {"thread_id": str(thread_id), "checkpoint_ns": "", "run_id": str(run_id)}
    }
    saved = empty_checkpoint()
    saved["channel_values"] = {"big": value}
    version = saver.get_next_version(None, None)
    saved["channel_versions"] = {"big": version}
    metadata = {"source": "loop", "step": 0, "run_id": str(run_id)}
    stored = await saver.aput(config, saved, metadata, {"big": version})
    await saver.aput_writes(stored, [("big", value)], str(uuid4()))
    return stored


async def test_default_assistants_are_stored_once(storage):
    first = default_assistant("agent", "agent", "An agent", NOW)
    await storage.assistants.ensure([first])
    await storage.assistants.ensure([default_assistant("agent", "renamed", None, NOW)])
    assert await storage.assistants.get(default_assistant_id("agent")) == first
    with pytest.raises(AssistantNotFound):
        await storage.assistants.get(uuid4())


def test_the_ids_of_default_assistants():
    assert str(default_assistant_id("agent")) == "fe096781-5601-53d2-b2f6-0d3403f7e9ca"
    assert str(default_assistant_id("chat")) == "eb6db400-e3c8-5d06-a834-015cb89efe69"


async def test_a_new_thread(storage):
    new = new_thread(metadata={"a": {"b": [1, None]}}, now=NOW)
    made = await storage.threads.create(new)
    assert made == await storage.threads.get(new.thread_id)
    assert (made.status, made.metadata, made.created_at) == ("idle", {"a": {"b": [1, None]}}, NOW)
    assert made.values is made.interrupts is made.error is None


async def test_a_thread_id_is_taken_once(storage):
    new = new_thread(metadata={"first": True})
    await storage.threads.create(new)
    with pytest.raises(ThreadExists):
        await storage.threads.create(new_thread(new.thread_id))
    again = await storage.threads.create(new_thread(new.thread_id, {"second": True}, "do_nothing"))
    assert again.metadata == {"first": True}


async def test_many_creators_of_one_thread(storage):
    thread_id = uuid7()
    made = await asyncio.gather(
        *(storage.threads.create(new_thread(thread_id)) for _ in range(20)), return_exceptions=True
    )
    assert sum(isinstance(each, ThreadExists) for each in made) == 19
    assert rows(storage)["threads"] == 1


async def test_a_run_goes_from_pending_to_success(storage, clock):
    thread = await thread_of(storage, metadata={"t": 1})
    created = await storage.runs.create(new_run(thread, metadata={"r": 1}, now=NOW))
    run = created.run
    assert run.status == "pending"
    assert run.metadata == {
        "created_by": "system", "t": 1, "r": 1, "graph_id": "graph", "assistant_id": str(ASSISTANT),
    }  # fmt: skip
    busy = await storage.threads.get(thread)
    assert busy.status == "busy"
    assert busy.metadata == {"t": 1, "graph_id": "graph", "assistant_id": str(ASSISTANT)}
    (held,) = await claim(storage)
    assert (held.run.run_id, held.run.status, held.run.attempt, held.fresh) == (
        run.run_id,
        "running",
        1,
        True,
    )
    clock.move(5)
    assert not (await storage.runs.finish(held, DONE)).waiting
    after = await storage.threads.get(thread)
    assert (after.status, after.values, after.interrupts, after.error) == (
        "idle",
        b'{"a":1}',
        b"{}",
        None,
    )
    assert after.state_updated_at == clock.now()
    assert (await storage.runs.get(thread, run.run_id)).status == "success"


async def test_one_run_at_a_time_per_thread_in_order(storage):
    thread, other = await thread_of(storage), await thread_of(storage)
    first, second = await add(storage, thread), await add(storage, thread)
    third = await add(storage, other)
    held = await claim(storage, 10)
    assert {each.run.run_id for each in held} == {first, third}
    assert await claim(storage, 10) == []
    mine = next(each for each in held if each.run.run_id == first)
    assert (await storage.runs.finish(mine, DONE)).waiting
    assert (await storage.threads.get(thread)).status == "busy"
    (next_one,) = await claim(storage, 10)
    assert next_one.run.run_id == second


async def test_claims_are_never_given_twice(storage):
    threads = [await thread_of(storage) for _ in range(30)]
    for thread in threads:
        await add(storage, thread)
    taken = await asyncio.gather(*(claim(storage, 4) for _ in range(20)))
    ids = [held.run.run_id for each in taken for held in each]
    assert len(ids) == len(set(ids)) == 30


async def test_a_run_waits_for_its_time(storage, clock):
    thread = await thread_of(storage)
    due = NOW + timedelta(seconds=30)
    await add(storage, thread, due=due)
    assert await claim(storage) == []
    assert await storage.runs.next_due() == due
    clock.move(31)
    assert len(await claim(storage)) == 1
    assert await storage.runs.next_due() is None


async def test_a_lost_lease_cannot_write(storage, clock):
    thread = await thread_of(storage)
    run = await add(storage, thread)
    (dead,) = await claim(storage, seconds=15)
    assert (await storage.runs.reclaim(max_attempts=3)).requeued == ()
    clock.move(16)
    assert (await storage.runs.reclaim(max_attempts=3)).requeued == (run,)
    (alive,) = await claim(storage)
    assert alive.run.attempt == 2
    assert (await storage.runs.renew("worker", [dead, alive], 15)).lost == (run,)
    with pytest.raises(LeaseLost):
        await storage.runs.finish(dead, DONE)
    with pytest.raises(LeaseLost):
        await storage.runs.release(dead)
    zombie = storage.run_checkpointer(dead, wait=False)
    await checkpoint(zombie, thread, run)
    with pytest.raises(LeaseLost):
        await storage.flush(dead)
    assert rows(storage)["checkpoints"] == 0
    await storage.runs.finish(alive, DONE)


async def test_renewing_keeps_a_lease(storage, clock):
    await add(storage, await thread_of(storage))
    (held,) = await claim(storage, seconds=15)
    clock.move(10)
    await storage.runs.renew("worker", [held], 15)
    clock.move(10)
    assert (await storage.runs.reclaim(max_attempts=3)).requeued == ()


async def test_a_run_is_given_up_after_its_last_attempt(storage, clock):
    thread = await thread_of(storage)
    run = await add(storage, thread)
    for attempt in (1, 2, 3):
        (held,) = await claim(storage)
        assert held.run.attempt == attempt
        clock.move(60)
        found = await storage.runs.reclaim(max_attempts=3)
    assert found.given_up == (run,)
    assert (await storage.runs.get(thread, run)).status == "error"
    after = await storage.threads.get(thread)
    assert after.status == "error"
    assert b"RunAttemptsExhausted" in after.error


async def test_a_released_run_keeps_its_attempts(storage):
    thread = await thread_of(storage)
    run = await add(storage, thread)
    (held,) = await claim(storage)
    await storage.runs.release(held)
    assert (await storage.runs.get(thread, run)).status == "pending"
    (again,) = await claim(storage)
    assert again.run.attempt == 1


async def test_the_strategies_of_a_busy_thread(storage):
    thread = await thread_of(storage)
    running, pending = await add(storage, thread), await add(storage, thread)
    (held,) = await claim(storage)
    with pytest.raises(ThreadBusy):
        await add(storage, thread, strategy="reject")
    created = await storage.runs.create(new_run(thread, strategy="interrupt", now=NOW))
    assert (created.superseded, created.ended) == ((running,), (pending,))
    assert (await storage.runs.get(thread, pending)).status == "interrupted"
    stop = (await storage.runs.renew("worker", [held], 15)).stops[running]
    assert stop.action == "interrupt"
    assert str(created.run.run_id) in stop.reason
    created = await storage.runs.create(new_run(thread, strategy="rollback", now=NOW))
    with pytest.raises(RunNotFound):
        await storage.runs.get(thread, created.ended[0])
    # The first order stands: the run is being interrupted already.
    assert (await storage.runs.renew("worker", [held], 15)).stops[running].action == "interrupt"


async def test_an_order_outlives_the_worker_that_should_have_followed_it(storage, clock):
    thread = await thread_of(storage)
    run = await add(storage, thread)
    await claim(storage)
    assert (await storage.runs.cancel(thread, [run], INTERRUPT)).stopping == (run,)
    clock.move(60)
    await storage.runs.reclaim(max_attempts=3)
    (again,) = await claim(storage)
    assert again.stop == INTERRUPT


@pytest.mark.parametrize("settled", ["idle", "interrupted", "error"])
async def test_cancelling_a_pending_run_gives_the_thread_back_its_status(storage, settled):
    thread = await thread_of(storage)
    await add(storage, thread)
    (held,) = await claim(storage)
    outcome = Outcome(
        "success" if settled != "error" else "error", settled, values=Encoded(b'{"v":1}')
    )
    await storage.runs.finish(held, outcome)
    run = await add(storage, thread)
    assert (await storage.threads.get(thread)).status == "busy"
    assert (await storage.runs.cancel(thread, [run], INTERRUPT)).ended == (run,)
    after = await storage.threads.get(thread)
    assert (after.status, after.values) == (settled, b'{"v":1}')
    with pytest.raises(NothingToCancel):
        await storage.runs.cancel(thread, [run], INTERRUPT)


async def test_rolling_back_takes_the_checkpoints_of_the_run_alone(storage):
    thread = await thread_of(storage)
    first = await add(storage, thread)
    (held,) = await claim(storage)
    kept = await checkpoint(storage.run_checkpointer(held, wait=False), thread, first)
    await storage.runs.finish(held, DONE)
    second = await add(storage, thread)
    (held,) = await claim(storage)
    assert not held.fresh
    await checkpoint(storage.run_checkpointer(held, wait=False), thread, second, "y" * 1000)
    await storage.runs.finish(held, Outcome("interrupted", "idle", roll_back=True))
    latest = await storage.checkpointer().aget_tuple({"configurable": {"thread_id": str(thread)}})
    assert latest.config["configurable"]["checkpoint_id"] == kept["configurable"]["checkpoint_id"]
    assert latest.checkpoint["channel_values"] == {"big": "x" * 1000}
    counted = rows(storage)
    assert (counted["checkpoints"], counted["checkpoint_blobs"], counted["checkpoint_writes"]) == (
        1,
        1,
        1,
    )
    assert (await storage.threads.get(thread)).values == b'{"a":1}'


async def test_deleting_a_thread_leaves_no_row(storage):
    before = rows(storage)
    thread = await thread_of(storage)
    run = await add(storage, thread)
    (held,) = await claim(storage)
    await checkpoint(storage.run_checkpointer(held, wait=False), thread, run)
    await storage.runs.finish(held, DONE)
    pending = await add(storage, thread)
    assert await storage.threads.delete(thread) == (pending,)
    assert rows(storage) == before
    with pytest.raises(ThreadNotFound):
        await storage.threads.delete(thread)


@pytest.mark.parametrize("end", ["finish", "cancel", "rollback", "give up"])
async def test_a_temporary_thread_goes_with_its_run(storage, clock, end):
    before = rows(storage)
    run = new_run(uuid7(), create_thread=True, temporary=True, metadata={"m": 1}, now=NOW)
    await storage.runs.create(run)
    assert (await storage.threads.get(run.thread_id)).metadata["m"] == 1
    if end == "finish":
        (held,) = await claim(storage)
        await checkpoint(storage.run_checkpointer(held, wait=False), run.thread_id, run.run_id)
        await storage.runs.finish(held, DONE)
    elif end == "give up":
        await claim(storage)
        await storage.runs.reclaim(max_attempts=1, orphaned=True)
    else:
        await storage.runs.cancel(
            run.thread_id, [run.run_id], ROLLBACK if end == "rollback" else INTERRUPT
        )
    assert rows(storage) == before


async def test_listing_runs(storage, clock):
    thread = await thread_of(storage)
    ids = []
    for _ in range(5):
        ids.append((await storage.runs.create(new_run(thread, now=clock.now()))).run.run_id)
        clock.move(1)
    listed = await storage.runs.list(thread, limit=2, offset=1, status=None)
    assert [run.run_id for run in listed] == [ids[3], ids[2]]
    assert await storage.runs.list(thread, limit=9, offset=0, status="success") == []
    with pytest.raises(ThreadNotFound):
        await storage.runs.list(uuid7(), limit=1, offset=0, status=None)
    with pytest.raises(RunNotFound):
        await storage.runs.get(uuid7(), ids[0])
    assert (await storage.runs.get(None, ids[0])).thread_id == thread


async def test_deleting_a_run_settles_its_thread(storage):
    thread = await thread_of(storage)
    run = await add(storage, thread)
    assert (await storage.runs.delete(thread, run)).status == "pending"
    assert (await storage.threads.get(thread)).status == "idle"
    with pytest.raises(RunNotFound):
        await storage.runs.delete(thread, run)


async def test_everything_is_there_after_a_restart(tmp_path, clock):
    async with open_storage(tmp_path, clock) as storage:
        thread = await thread_of(storage, metadata={"a": 1})
        run = await add(storage, thread)
        (held,) = await claim(storage)
        saved = await checkpoint(storage.run_checkpointer(held, wait=False), thread, run)
    async with open_storage(tmp_path, clock) as storage:
        assert (await storage.threads.get(thread)).metadata["a"] == 1
        assert (await storage.runs.reclaim(max_attempts=3, orphaned=True)).requeued == (run,)
        found = await storage.checkpointer().aget_tuple(saved)
        assert found.checkpoint["channel_values"] == {"big": "x" * 1000}


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
    assert rows(storage)["threads"] == 2


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
    assert rows(storage)["threads"] >= 25
    await storage.ping()


async def test_a_saver_that_waits_has_its_writes_on_disk(storage):
    thread = await thread_of(storage)
    run = await add(storage, thread)
    (held,) = await claim(storage)
    await checkpoint(storage.run_checkpointer(held, wait=True), thread, run)
    assert rows(storage)["checkpoints"] == 1


async def test_a_saver_reads_its_own_unwritten_writes(storage):
    thread = await thread_of(storage)
    run = await add(storage, thread)
    (held,) = await claim(storage)
    saver = storage.run_checkpointer(held, wait=False)
    root = {"configurable": {"thread_id": str(thread), "checkpoint_ns": ""}}
    assert await saver.aget_tuple(root) is None
    for number in range(20):
        saved = await checkpoint(saver, thread, run, number)
        found = await saver.aget_tuple(root)
        assert (
            found.config["configurable"]["checkpoint_id"] == saved["configurable"]["checkpoint_id"]
        )
        assert found.pending_writes[0][2] == number
    assert len([each async for each in saver.alist(root)]) == 20
    assert len(await asyncio.to_thread(lambda: list(saver.list(root, limit=3)))) == 3
    found = await asyncio.to_thread(saver.get_tuple, root)
    assert found.checkpoint["channel_values"] == {"big": 19}


async def test_pruning_keeps_what_a_delta_channel_is_built_from(storage):
    saver = storage.checkpointer()
    config = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}
    for step in range(5):
        saved = empty_checkpoint()
        if step == 1:
            saved["channel_values"] = {"delta": ["snapshot"]}
        saved["channel_versions"] = {"delta": str(step)}
        counters = {"delta": (step - 1, step - 1)} if step > 1 else {}
        metadata = {
            "step": step,
            **({"counters_since_delta_snapshot": counters} if counters else {}),
        }
        config = await saver.aput(config, saved, metadata, {"delta": str(step)})
        await saver.aput_writes(config, [("delta", step)], f"task-{step}")
    before = await saver.aget_delta_channel_history(config=config, channels=["delta"])
    await saver.aprune(["t"])
    assert await saver.aget_delta_channel_history(config=config, channels=["delta"]) == before
    left = [each async for each in saver.alist({"configurable": {"thread_id": "t"}})]
    assert [each.metadata["step"] for each in left] == [4, 3, 2, 1]
