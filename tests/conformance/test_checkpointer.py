"""langgraph's own conformance kit, on every saver that the storage gives out."""

import asyncio
from contextlib import asynccontextmanager
from uuid import uuid4

import pytest
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.conformance import checkpointer_test, validate
from tests.conformance.conftest import DATABASES
from tests.support import new_run, new_thread


class InThreads(BaseCheckpointSaver[str]):
    """Another saver, through its methods for threads without a loop."""

    def __init__(self, saver):
        super().__init__()
        self._saver = saver

    def get_next_version(self, current, channel):
        return self._saver.get_next_version(current, channel)

    async def aget_tuple(self, config):
        return await asyncio.to_thread(self._saver.get_tuple, config)

    async def alist(self, config, **options):
        for each in await asyncio.to_thread(lambda: list(self._saver.list(config, **options))):
            yield each

    async def aput(self, *arguments):
        return await asyncio.to_thread(self._saver.put, *arguments)

    async def aput_writes(self, config, writes, task_id, task_path=""):
        await asyncio.to_thread(self._saver.put_writes, config, writes, task_id, task_path)

    async def adelete_thread(self, thread_id):
        await asyncio.to_thread(self._saver.delete_thread, thread_id)

    async def adelete_for_runs(self, run_ids):
        await asyncio.to_thread(self._saver.delete_for_runs, run_ids)

    async def acopy_thread(self, source_thread_id, target_thread_id):
        await asyncio.to_thread(self._saver.copy_thread, source_thread_id, target_thread_id)

    async def aprune(self, thread_ids, *, strategy="keep_latest"):
        await asyncio.to_thread(lambda: self._saver.prune(thread_ids, strategy=strategy))


async def claimed(storage):
    thread = await storage.threads.create(new_thread())
    await storage.runs.create(new_run(thread.thread_id))
    (claim,) = await storage.runs.claim("worker", 1, 600)
    return claim


async def direct(storage):
    return storage.checkpointer()


async def in_threads(storage):
    return InThreads(storage.checkpointer())


async def behind(storage):
    return storage.run_checkpointer(await claimed(storage), wait=False)


async def behind_in_threads(storage):
    return InThreads(await behind(storage))


async def waiting(storage):
    return storage.run_checkpointer(await claimed(storage), wait=True)


@pytest.mark.parametrize("make", [direct, in_threads, behind, behind_in_threads, waiting])
@pytest.mark.parametrize("kind", DATABASES)
async def test_saver_passes_the_conformance_kit_of_langgraph(tmp_path, kind, make):
    @asynccontextmanager
    async def opened():
        async with DATABASES[kind](tmp_path / uuid4().hex).open() as storage:
            yield await make(storage)

    @checkpointer_test(name=f"{kind}-{make.__name__}")
    async def saver():
        async with opened() as made:
            yield made

    report = await validate(saver)
    failures = [
        f"{name}: {failure}"
        for name, result in report.results.items()
        for failure in result.failures
    ]
    assert not failures, "\n".join(failures)
    assert len(report.results) >= 8
    assert all(result.passed for result in report.results.values())
