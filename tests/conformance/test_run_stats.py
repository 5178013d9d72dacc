"""What every database must say about the queue of runs."""

from datetime import timedelta

from tests.conformance.acts import DONE, NOW, add, claim, thread_of

from loomline.server.domain.runs import QueueStats


async def test_queue_of_future_runs_has_no_waiting_time(storage, clock):
    assert await storage.runs.stats() == QueueStats(0, 0)
    thread = await thread_of(storage)
    await add(storage, thread, due=NOW + timedelta(hours=1))
    assert await storage.runs.stats() == QueueStats(1, 0)


async def test_waiting_times_count_only_runs_that_are_due(storage, clock):
    assert clock.now() == NOW
    blocked, free = await thread_of(storage), await thread_of(storage)
    await add(storage, blocked)
    (held,) = await claim(storage)
    for seconds in (1, 3, 7):
        await add(storage, blocked, due=NOW + timedelta(seconds=seconds))
    clock.move(10)
    assert await storage.runs.stats() == QueueStats(3, 1, 9.0, 7.0, None)
    await add(storage, free, due=NOW + timedelta(seconds=8))
    assert await storage.runs.stats() == QueueStats(4, 1, 9.0, 5.0, 2.0)
    await storage.runs.finish(held, DONE)
    assert await storage.runs.stats() == QueueStats(4, 0, 9.0, 5.0, 9.0)
