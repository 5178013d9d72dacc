"""When the worker looks for runs again."""

from datetime import timedelta

from tests.support import StandingClock, new_run, new_thread, open_storage, worker_of


class RushingClock(StandingClock):
    """A clock that goes on by a second whenever somebody looks."""

    def now(self):
        self.move(1)
        return self.time


async def test_a_run_that_becomes_due_between_two_looks_is_not_late(tmp_path):
    clock = RushingClock()
    async with open_storage(tmp_path, clock) as storage:
        thread = await storage.threads.create(new_thread(now=clock.time))
        worker = worker_of(storage, clock, concurrency=1)
        due = clock.time + timedelta(seconds=4)
        await storage.runs.create(new_run(thread.thread_id, now=clock.time, due=due))
        assert not await worker._claim()
        assert worker.active == 0
        assert clock.time < due
        while clock.time < due:
            clock.now()
        assert await worker._patience() == 0
