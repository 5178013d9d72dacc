import asyncio
import threading
from contextlib import asynccontextmanager
from functools import partial

from loomline.server.worker.runners import Job, Runner, RunnerOptions


@asynccontextmanager
async def running(**options):
    runner = Runner(RunnerOptions(**options), asyncio.new_event_loop)
    runner.start()
    try:
        yield runner
    finally:
        await runner.stop()


def job(start, name="job", finishing=False):
    return Job(name, start, finishing=lambda: finishing)


async def until(condition):
    """Wait for something that no event announces."""
    async with asyncio.timeout(150):
        while not condition():
            await asyncio.sleep(0.01)


class Promise:
    """A result that a job on another loop gives."""

    def __init__(self):
        self.loop = asyncio.get_running_loop()
        self.future = self.loop.create_future()

    def give(self, value):
        self.loop.call_soon_threadsafe(self.future.set_result, value)

    async def get(self):
        return await asyncio.wait_for(self.future, 10)


async def test_jobs_run_on_runner_threads_and_not_on_the_callers_loop():
    seen = Promise()

    async def work():
        seen.give(threading.current_thread().name)

    async with running() as runner:
        runner.submit(job(work))
        assert (await seen.get()).startswith("loomline-runner")


async def test_all_jobs_share_one_loop():
    loops = [Promise() for _ in range(60)]
    lock = asyncio.Lock()

    async def work(promise):
        async with lock:
            await asyncio.sleep(0)
        promise.give(asyncio.get_running_loop())

    async with running() as runner:
        for promise in loops:
            runner.submit(job(partial(work, promise)))
        assert len({await promise.get() for promise in loops}) == 1


async def test_a_blocked_loop_is_reported_with_the_line_and_recovers(caplog):
    release, began, after = threading.Event(), Promise(), Promise()

    async def block():
        began.give(None)
        release.wait(150)

    async def work():
        after.give("done")

    async with running(blocked_seconds=0.1) as runner:
        runner.submit(job(block, name="blocker"))
        await began.get()
        runner.submit(job(work))
        await until(lambda: "release.wait(150)" in {r.__dict__.get("line") for r in caplog.records})
        assert not runner.responsive.is_set()
        assert runner.blocked_for() >= 0.1
        assert not after.future.done()
        release.set()
        assert await after.get() == "done"
        await until(runner.responsive.is_set)
    (record,) = [r for r in caplog.records if "blocks its event loop" in r.message]
    assert record.jobs == 2
    assert "test_runners.py" in record.at


async def test_a_coroutine_of_another_thread_is_executed_on_the_loop_of_the_jobs():
    async def name():
        return threading.current_thread().name

    async def from_a_sync_node(promise):
        promise.give(await asyncio.to_thread(lambda: runner.wait_for(name())))

    async def from_an_async_node(promise):
        try:
            runner.wait_for(name())
        except RuntimeError as error:
            promise.give(str(error))

    waited, refused = Promise(), Promise()
    async with running() as runner:
        runner.submit(job(partial(from_a_sync_node, waited)))
        assert await waited.get() == "loomline-runner"
        runner.submit(job(partial(from_an_async_node, refused)))
        assert "Use the async method with 'await'" in await refused.get()


async def test_a_cancelled_job_can_clean_up():
    started, ended = Promise(), Promise()

    async def work():
        started.give(None)
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            ended.give("cancelled")
            raise

    async with running() as runner:
        task = job(work)
        runner.submit(task)
        await started.get()
        runner.cancel(task)
        assert await ended.get() == "cancelled"


async def test_a_job_cancelled_before_it_starts_starts_and_can_look():
    seen = Promise()

    async def work(task):
        seen.give(task.cancelled)

    async with running() as runner:
        task = job(None)
        task.start = partial(work, task)
        task.cancelled = False
        runner.submit(task)
        runner.cancel(task)
        assert await seen.get() in {True, False}


async def test_a_finishing_job_is_left_alone():
    started, go, ended = Promise(), threading.Event(), Promise()

    async def work():
        started.give(None)
        await asyncio.to_thread(go.wait, 150)
        ended.give("finished")

    async with running() as runner:
        task = job(work, finishing=True)
        runner.submit(task)
        await started.get()
        runner.cancel(task)
        go.set()
        assert await ended.get() == "finished"


async def test_a_node_that_exits_does_not_take_the_runner_with_it(caplog):
    after = Promise()

    async def leave():
        raise SystemExit(3)

    async def work():
        after.give(True)

    async with running() as runner:
        runner.submit(job(leave))
        runner.submit(job(work))
        assert await after.get()
    assert "a job failed" in caplog.text
