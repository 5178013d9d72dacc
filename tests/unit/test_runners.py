import asyncio
import threading
from collections import deque
from contextlib import asynccontextmanager
from functools import partial

from loomline.server.worker.runners import Job, Runner, RunnerOptions, RunnerPool


@asynccontextmanager
async def running(**options):
    pool = RunnerPool(RunnerOptions(**options), asyncio.new_event_loop)
    pool.start()
    watch = asyncio.create_task(pool.watch())
    try:
        yield pool
    finally:
        watch.cancel()
        await pool.stop()


def job(start, name="job", finishing=False):
    return Job(name, start, finishing=lambda: finishing)


async def until(condition):
    """Wait for something that no event announces."""
    async with asyncio.timeout(150):
        while not condition():
            await asyncio.sleep(0.01)


def runner_threads():
    return {thread for thread in threading.enumerate() if thread.name.startswith("loomline-runner")}


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

    async with running() as pool:
        pool.submit(job(work))
        assert (await seen.get()).startswith("loomline-runner-")


async def test_a_blocked_runner_gets_no_new_jobs(caplog):
    release = threading.Event()
    blocked = [Promise() for _ in range(3)]

    async def block(promise):
        promise.give(None)
        release.wait(20)

    async def work(promise):
        promise.give(threading.current_thread().name)

    async with running(least=2, blocked_seconds=0.1) as pool:
        for promise in blocked:
            pool.submit(job(partial(block, promise), name="blocker"))
            await promise.get()
        # Three runners are blocked, more than there were at the start: jobs run all the same.
        for _ in range(20):
            done = Promise()
            pool.submit(job(partial(work, done)))
            await done.get()
        await until(lambda: "release.wait(20)" in {r.__dict__.get("line") for r in caplog.records})
        release.set()
    record = next(r for r in caplog.records if "blocks its event loop" in r.message)
    assert record.jobs == "blocker"
    assert "test_runners.py" in record.at


async def test_a_cancelled_job_can_clean_up():
    started, ended = Promise(), Promise()

    async def work():
        started.give(None)
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            ended.give("cancelled")
            raise

    async with running() as pool:
        task = job(work)
        pool.submit(task)
        await started.get()
        pool.cancel(task)
        assert await ended.get() == "cancelled"


async def test_a_job_cancelled_before_it_starts_starts_and_can_look():
    seen = Promise()

    async def work(task):
        seen.give(task.cancelled)

    async with running() as pool:
        task = job(None)
        task.start = partial(work, task)
        task.cancelled = False
        pool.submit(task)
        pool.cancel(task)
        assert await seen.get() in {True, False}


async def test_a_finishing_job_is_left_alone():
    started, go, ended = Promise(), threading.Event(), Promise()

    async def work():
        started.give(None)
        await asyncio.to_thread(go.wait, 150)
        ended.give("finished")

    async with running() as pool:
        task = job(work, finishing=True)
        pool.submit(task)
        await started.get()
        pool.cancel(task)
        go.set()
        assert await ended.get() == "finished"


async def test_a_node_that_exits_does_not_take_the_runner_with_it(caplog):
    after = Promise()

    async def leave():
        raise SystemExit(3)

    async def work():
        after.give(True)

    async with running(least=1, most=1) as pool:
        pool.submit(job(leave))
        pool.submit(job(work))
        assert await after.get()
    assert "a job failed" in caplog.text


async def test_surplus_runners_go_when_they_are_idle():
    before = runner_threads()
    release = threading.Event()
    promises = [Promise() for _ in range(3)]

    async def block(promise):
        promise.give(None)
        release.wait(20)

    async with running(least=1) as pool:
        for promise in promises:
            pool.submit(job(partial(block, promise)))
            await promise.get()
        release.set()
        await until(lambda: pool.size == 1)
        await until(lambda: len(runner_threads() - before) == 1)
        # What the runners shared is still there for the one that is left.
        done = Promise()

        async def work():
            done.give(await asyncio.to_thread(lambda: threading.current_thread().name))

        pool.submit(job(work))
        assert (await done.get()).startswith("loomline-node")


async def test_a_runner_that_retires_ends_what_it_has_and_takes_no_more():
    queue = deque()
    runner = Runner("loomline-runner-old", lambda _: queue.popleft(), asyncio.new_event_loop())
    first, gate, ended = Promise(), threading.Event(), Promise()

    async def work():
        first.give(None)
        await asyncio.to_thread(gate.wait, 20)
        ended.give("ended")

    async def refused():
        raise AssertionError("a job that nobody would end")

    queue.append(job(work))
    runner.start()
    runner.ask(0)
    await first.get()
    queue.append(job(refused))
    runner.retire()
    runner.ask(0)
    gate.set()
    assert await ended.get() == "ended"
    assert await asyncio.to_thread(runner.join, 10)
    assert len(queue) == 1
