"""What every database must do with runs: the queue, the leases and the outcomes."""

import asyncio
import dataclasses
from datetime import timedelta

import pytest
from tests.conformance.acts import (
    DONE,
    INTERRUPT,
    NOW,
    ROLLBACK,
    ROLLED_BACK,
    add,
    checkpoint,
    claim,
    root,
    started,
    thread_of,
)
from tests.support import ASSISTANT, new_run

from loomline.server.domain.errors import (
    LeaseLost,
    NothingToCancel,
    RunNotFound,
    ThreadBusy,
    ThreadNotFound,
)
from loomline.server.domain.ids import uuid7
from loomline.server.domain.json import Encoded
from loomline.server.domain.outputs import Output
from loomline.server.domain.runs import Outcome, Stop


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
    assert await storage.runs.next_due(NOW) == due
    clock.move(31)
    assert await storage.runs.next_due(NOW) == due
    assert await storage.runs.next_due(due) is None
    assert len(await claim(storage)) == 1
    assert await storage.runs.next_due(NOW) is None


async def test_a_lost_lease_cannot_write(database, storage, clock):
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
    # The first write may be refused before the second one is handed over, or not before the flush.
    with pytest.raises(LeaseLost):
        await checkpoint(zombie, thread, run)
        await storage.flush(dead)
    assert database.rows()["checkpoints"] == 0
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


async def test_rolling_back_takes_the_checkpoints_of_the_run_alone(database, storage):
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
    counted = database.rows()
    assert (counted["checkpoints"], counted["checkpoint_blobs"], counted["checkpoint_writes"]) == (
        1,
        1,
        1,
    )
    assert (await storage.threads.get(thread)).values == b'{"a":1}'


@pytest.mark.parametrize("end", ["finish", "cancel", "rollback", "give up"])
async def test_a_temporary_thread_goes_with_its_run(database, storage, clock, end):
    before = database.rows()
    run = new_run(
        uuid7(), create_thread=True, temporary=True, own_thread=True, metadata={"m": 1}, now=NOW
    )
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
    assert database.rows() == before


async def test_runs_of_a_thread_are_listed_newest_first(storage, clock):
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


async def test_active_runs_are_found_across_threads(storage, clock):
    thread, other = await thread_of(storage), await thread_of(storage)
    runs = [
        (place, (await storage.runs.create(new_run(place, now=clock.now()))).run.run_id)
        for place in (thread, thread, other, other)
    ]
    (claim, _) = await storage.runs.claim("w", 2, 10.0)
    running = claim.run.run_id

    async def active(status, after=None, limit=9):
        return list(await storage.runs.active(status, after=after, limit=limit))

    ordered = sorted(runs, key=lambda each: each[1])
    assert await active(None) == ordered
    assert await active(None, after=ordered[1][1]) == ordered[2:]
    assert await active(None, limit=1) == ordered[:1]
    assert (claim.run.thread_id, running) in await active("running")
    assert (claim.run.thread_id, running) not in await active("pending")
    assert len(await active("running")) == len(await active("pending")) == 2
    await storage.runs.finish(claim, Outcome("success", "idle"))
    assert len(await active(None)) == 3


async def test_deleting_a_run_settles_its_thread(storage):
    thread = await thread_of(storage)
    run = await add(storage, thread)
    assert (await storage.runs.delete(thread, run)).status == "pending"
    assert (await storage.threads.get(thread)).status == "idle"
    with pytest.raises(RunNotFound):
        await storage.runs.delete(thread, run)


async def test_a_run_that_is_asked_for_twice_is_cancelled_once(storage):
    thread = await thread_of(storage)
    first, second = await add(storage, thread), await add(storage, thread)
    cancelled = await storage.runs.cancel(thread, [first, second, first], ROLLBACK)
    assert cancelled.ended == (first, second)
    assert await storage.runs.list(thread, limit=9, offset=0, status=None) == []


async def test_the_order_of_a_thread_lets_other_threads_run(storage):
    busy, free = await thread_of(storage), await thread_of(storage)
    await started(storage, busy)
    for _ in range(5):
        await add(storage, busy)
    wanted = await add(storage, free)
    assert [each.run.run_id for each in await claim(storage, 1)] == [wanted]


async def test_deleting_a_running_run_takes_the_lease_away(storage):
    thread = await thread_of(storage)
    held = await started(storage, thread)
    await storage.runs.delete(thread, held.run.run_id)
    assert (await storage.runs.renew("worker", [held], 15)).lost == (held.run.run_id,)
    with pytest.raises(LeaseLost):
        await storage.runs.finish(held, DONE)
    assert (await storage.threads.get(thread)).status == "idle"


async def test_deleting_a_middle_run_keeps_values_that_later_runs_share(database, storage):
    thread = await thread_of(storage)
    held = []
    for number in range(3):
        held.append(await started(storage, thread))
        saver = storage.run_checkpointer(held[-1], wait=False)
        await checkpoint(saver, thread, held[-1].run.run_id, str(number) * 1000)
        await storage.runs.finish(held[-1], DONE)
    await storage.runs.delete(thread, held[1].run.run_id)
    left = [each async for each in storage.checkpointer().alist(root(thread))]
    assert [each.checkpoint["channel_values"]["big"][0] for each in left] == ["2", "0"]
    assert database.rows()["checkpoint_blobs"] == 2


@pytest.mark.parametrize("state", ["pending", "running"])
async def test_deleting_a_temporary_run_takes_its_thread_along(database, storage, state):
    before = database.rows()
    run = new_run(uuid7(), create_thread=True, temporary=True, now=NOW)
    await storage.runs.create(run)
    if state == "running":
        await claim(storage)
    await storage.runs.delete(run.thread_id, run.run_id)
    assert database.rows() == before


async def test_a_refused_run_leaves_no_thread(database, storage):
    before = database.rows()
    with pytest.raises(ThreadNotFound):
        await add(storage, uuid7())
    assert database.rows() == before


async def test_an_outcome_with_an_error_and_one_without(storage):
    thread = await thread_of(storage)
    failed = Outcome("error", "error", error=Encoded(b'{"error":"E","message":"m"}'))
    held = await started(storage, thread)
    await storage.runs.finish(held, failed)
    after = await storage.threads.get(thread)
    assert (after.status, after.error) == ("error", failed.error)
    assert (await storage.runs.get(thread, held.run.run_id)).error == failed.error
    await storage.runs.finish(await started(storage, thread), DONE)
    after = await storage.threads.get(thread)
    assert (after.status, after.error) == ("idle", None)


async def test_orphaned_runs_go_back_into_the_queue_at_once(storage):
    thread = await thread_of(storage)
    held = await started(storage, thread)
    found = await storage.runs.reclaim(max_attempts=3, orphaned=True)
    assert found.requeued == (held.run.run_id,)
    with pytest.raises(LeaseLost):
        await storage.runs.finish(held, DONE)


async def test_a_thread_is_fresh_until_it_has_a_checkpoint(storage):
    thread = await thread_of(storage)
    held = await started(storage, thread)
    assert held.fresh
    await checkpoint(storage.run_checkpointer(held, wait=False), thread, held.run.run_id)
    await storage.runs.release(held)
    (again,) = await claim(storage)
    assert not again.fresh
    await storage.runs.finish(again, ROLLED_BACK)
    assert (await started(storage, thread)).fresh


async def test_claims_are_counted_also_where_attempts_are_not(storage):
    thread = await thread_of(storage)
    held = await started(storage, thread)
    assert (held.number, held.run.attempt) == (1, 1)
    await storage.runs.release(held)
    (held,) = await claim(storage)
    assert (held.number, held.run.attempt) == (2, 1)
    await storage.runs.reclaim(max_attempts=3, orphaned=True)
    (held,) = await claim(storage)
    assert (held.number, held.run.attempt) == (3, 2)


async def test_which_runs_are_over(storage):
    thread = await thread_of(storage)
    assert await storage.runs.over([]) == frozenset()
    done = (await started(storage, thread)).run.run_id
    waiting = await add(storage, thread)
    nothing = uuid7()
    asked = [waiting, nothing, done]
    assert await storage.runs.over(asked) == {nothing}
    await storage.runs.cancel(thread, [waiting], INTERRUPT)
    assert await storage.runs.over(asked) == {nothing, waiting}


async def test_a_result_that_could_not_be_told_is_kept_for_a_while(storage):
    run = new_run(uuid7(), create_thread=True, temporary=True, now=NOW)
    await storage.runs.create(run)
    (held,) = await claim(storage)
    await storage.runs.finish(held, dataclasses.replace(DONE, untold=True))
    thread = await storage.threads.get(run.thread_id)
    assert (thread.status, thread.values) == ("idle", DONE.values)
    assert (await storage.runs.get(None, run.run_id)).status == "success"
    expired = await storage.threads.expire(thread.updated_at + timedelta(minutes=6), 10)
    assert expired.threads == (run.thread_id,)


STOPPED = Outcome("interrupted", "interrupted")


async def test_cancel_reason_of_a_running_run_is_told_once_the_run_is_interrupted(storage):
    thread = await thread_of(storage)
    held = await started(storage, thread)
    await storage.runs.cancel(thread, [held.run.run_id], Stop("interrupt", "first"))
    await storage.runs.cancel(thread, [held.run.run_id], Stop("interrupt", "second"))
    assert (await storage.runs.get(thread, held.run.run_id)).cancel_reason is None
    await storage.runs.finish(held, STOPPED)
    assert (await storage.runs.get(thread, held.run.run_id)).cancel_reason == "first"


async def test_cancel_reason_of_a_pending_run_is_stored(storage):
    thread = await thread_of(storage)
    run = await add(storage, thread)
    await storage.runs.cancel(thread, [run], Stop("interrupt", "left"))
    assert (await storage.runs.get(thread, run)).cancel_reason == "left"


async def test_cancel_reason_of_superseded_runs_names_the_new_run(storage):
    thread = await thread_of(storage)
    held = await started(storage, thread)
    queued = await add(storage, thread)
    new = await add(storage, thread, strategy="interrupt")
    await storage.runs.finish(held, STOPPED)
    for run in (held.run.run_id, queued):
        reason = (await storage.runs.get(thread, run)).cancel_reason
        assert reason == f"superseded by run {new} (multitask_strategy=interrupt)"
    assert (await storage.runs.get(thread, new)).cancel_reason is None


async def test_cancel_reason_of_a_run_that_succeeded_first_is_none(storage):
    thread = await thread_of(storage)
    held = await started(storage, thread)
    await storage.runs.cancel(thread, [held.run.run_id], INTERRUPT)
    await storage.runs.finish(held, DONE)
    assert (await storage.runs.get(thread, held.run.run_id)).cancel_reason is None


async def test_open_questions_are_in_the_row_of_the_thread_while_the_run_goes_on(storage):
    thread = await thread_of(storage)
    held = await started(storage, thread)
    asked = Encoded(b'{"task":[{"id":"i","value":"q"}]}')
    await storage.runs.ask(held, asked, [])
    row = await storage.threads.get(thread)
    assert (row.status, row.interrupts) == ("busy", asked)
    await storage.runs.finish(held, DONE)
    assert (await storage.threads.get(thread)).interrupts == b"{}"
    with pytest.raises(LeaseLost):
        await storage.runs.ask(held, asked, [])
    assert (await storage.threads.get(thread)).interrupts == b"{}"


@pytest.mark.parametrize("channels", [None, "one", ("one", "two"), ()])
async def test_a_run_remembers_its_output(storage, channels):
    thread = await thread_of(storage)
    held = await started(storage, thread)
    assert held.run.output == Output()
    await storage.runs.finish(held, dataclasses.replace(DONE, output=Output(channels)))
    run = await storage.runs.get(thread, held.run.run_id)
    assert run.output == Output(channels)


async def test_last_events_of_a_run_are_kept_until_the_run_is_deleted(storage):
    thread = await thread_of(storage)
    held = await started(storage, thread)
    run_id = held.run.run_id
    assert await storage.runs.last_events(run_id) is None
    events = Encoded(b'[[3,"lifecycle",{"seq":3}]]')
    await storage.runs.finish(held, dataclasses.replace(DONE, last_events=events))
    assert await storage.runs.last_events(run_id) == events
    await storage.runs.delete(thread, run_id)
    assert await storage.runs.last_events(run_id) is None
