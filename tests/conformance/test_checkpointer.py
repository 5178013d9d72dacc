"""langgraph's own conformance kit, on every saver that the storage gives out."""

from contextlib import asynccontextmanager
from uuid import uuid4

import pytest
from langgraph.checkpoint.conformance import checkpointer_test, validate
from tests.support import new_run, new_thread, open_storage


@asynccontextmanager
async def direct(tmp_path):
    async with open_storage(tmp_path / uuid4().hex) as storage:
        yield storage.checkpointer()


@asynccontextmanager
async def behind(tmp_path):
    async with open_storage(tmp_path / uuid4().hex) as storage:
        thread = await storage.threads.create(new_thread())
        await storage.runs.create(new_run(thread.thread_id))
        (claim,) = await storage.runs.claim("worker", 1, 600)
        yield storage.run_checkpointer(claim, wait=False)


@pytest.mark.parametrize("open_saver", [direct, behind])
async def test_conformance(tmp_path, open_saver):
    @checkpointer_test(name=f"sqlite-{open_saver.__name__}")
    async def saver():
        async with open_saver(tmp_path) as opened:
            yield opened

    report = await validate(saver)
    failures = [
        f"{name}: {failure}"
        for name, result in report.results.items()
        for failure in result.failures
    ]
    assert not failures, "\n".join(failures)
    assert all(result.passed for result in report.results.values())
