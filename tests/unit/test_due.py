"""When the worker looks for runs again."""

import asyncio
from datetime import timedelta

from tests.support import StandingClock, new_run, new_thread, open_storage

from loomline.server.events.memory import MemoryEventLog
from loomline.server.events.signals import MemorySignals
from loomline.server.worker.loop import Worker, WorkerOptions
from loomline.server.worker.runners import Runner, RunnerOptions


class RushingClock(StandingClock):
    """A clock that goes on by a second whenever somebody looks."""

    def now(self):
        self.move(1)
        return self.time


async def test_a_run_that_becomes_due_between_two_looks_is_not_late(tmp_path):
    clock = RushingClock()
    async with open_storage(tmp_path, clock) as storage:
        thread = await storage.threads.create(new_thread(now=clock.time))
        worker = Worker(
            storage=storage,
            events=MemoryEventLog(clock),
            signals=MemorySignals(),
            clock=clock,
            executor=None,
            runner=Runner(RunnerOptions(), asyncio.new_event_loop),
            options=WorkerOptions(name="w", concurrency=1, lease_seconds=60, max_attempts=3),
        )
        due = clock.time + timedelta(seconds=4)
        await storage.runs.create(new_run(thread.thread_id, now=clock.time, due=due))
        assert not await worker._claim()
        assert worker.active == 0
        assert clock.time < due
        while clock.time < due:
            clock.now()
        assert await worker._patience() == 0
