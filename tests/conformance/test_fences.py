"""A worker whose lease was taken can write neither state nor events nor a status."""

import asyncio
import json
from contextlib import asynccontextmanager

import pytest
from tests.conformance.acts import DONE, checkpoint, claim, thread_of
from tests.serving import PROJECT
from tests.support import new_run

from loomline.server.domain.errors import LeaseLost
from loomline.server.domain.events import START
from loomline.server.domain.json import Encoded
from loomline.server.domain.retention import Retention
from loomline.server.events.memory import MemoryEventLog
from loomline.server.events.signals import MemorySignals
from loomline.server.graphs.registry import Graphs
from loomline.server.settings import load_settings
from loomline.server.worker.execute import Assignment, ExecuteOptions, Executor, Lost
from loomline.server.worker.plan import ServerFacts


async def taken_over(storage, clock, **fields):
    """Return two claims of a run, the first of which is no longer valid."""
    thread = await thread_of(storage)
    await storage.runs.create(new_run(thread, now=clock.now(), **fields))
    (first,) = await claim(storage)
    yield first
    # A run that is being written to at this moment is not taken over.
    await storage.flush(first)
    clock.move(16)
    found = await storage.runs.reclaim(max_attempts=3)
    assert found.requeued == (first.run.run_id,)
    (second,) = await storage.runs.claim("other", 1, 15)
    yield second


@pytest.mark.parametrize("wait", [True, False])
async def test_nothing_that_it_writes_is_stored(storage, database, clock, wait):
    first, second = [each async for each in taken_over(storage, clock)]
    thread, run = first.run.thread_id, first.run.run_id
    before = database.rows()
    with pytest.raises(LeaseLost):
        await checkpoint(storage.run_checkpointer(first, wait=wait), thread, run)
        await storage.flush(first)
    for act in (storage.runs.finish(first, DONE), storage.runs.release(first)):
        with pytest.raises(LeaseLost):
            await act
    assert (await storage.runs.renew("worker", [first], 15)).lost == (run,)
    assert database.rows() == before
    assert (await storage.runs.get(thread, run)).status == "running"
    await storage.runs.finish(second, DONE)
    assert (await storage.runs.get(thread, run)).status == "success"


def request(**changes):
    fields = {
        "input": None,
        "command": None,
        "config": {},
        "context": {},
        "stream_mode": ["updates"],
        "subgraphs": False,
        "interrupt_before": None,
        "interrupt_after": None,
        "durability": "async",
    }
    return Encoded(json.dumps(fields | changes).encode())


def executor(storage, events, clock):
    settings = load_settings({"config": str(PROJECT)}, {}, dev=False)
    return Executor(
        storage=storage,
        events=events,
        signals=MemorySignals(),
        graphs=Graphs.load(settings.graphs),
        clock=clock,
        options=ExecuteOptions(ServerFacts("0"), True, 60.0, Retention(60.0)),
    )


@asynccontextmanager
async def executing(work, assignment):
    """Execute a run meanwhile. It ends with this block: the database is still there then."""
    task = asyncio.create_task(work.execute(assignment))
    try:
        yield task
    finally:
        if not task.done():
            assignment.order = Lost()
            task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def begun(folder, count):
    notes = folder / "begun"
    while not notes.exists() or len(notes.read_text().split()) < count:
        await asyncio.sleep(0.01)


async def test_a_graph_that_goes_on_without_its_lease(storage, clock, tmp_path):
    events = MemoryEventLog(clock)
    work = executor(storage, events, clock)
    kwargs = request(input={"folder": str(tmp_path)})
    claims = taken_over(storage, clock, graph_id="steps", kwargs=kwargs)
    old = Assignment(await anext(claims))
    async with executing(work, old) as first:
        await begun(tmp_path, 1)
        new = Assignment(await anext(claims))
        async with executing(work, new) as second:
            await begun(tmp_path, 2)
            for name in ("one", "two", "three"):
                (tmp_path / f"go-{name}").touch()
            await asyncio.gather(first, second)
    assert (old.result, new.result) == ("lost", "success")
    run = await storage.runs.get(None, old.claim.run.run_id)
    assert (run.status, run.attempt) == ("success", 2)
    reader = events.read(str(run.run_id), START)
    seen = [each.event async for batch in reader for each in batch]
    assert [event.name for event in seen].count("updates") == 3
    assert [json.loads(event.data)["attempt"] for event in seen if event.name == "metadata"] == [
        1,
        2,
    ]
    thread = await storage.threads.get(run.thread_id)
    assert json.loads(thread.values)["log"] == ["one", "two", "three"]
    config = {"configurable": {"thread_id": str(run.thread_id), "checkpoint_ns": ""}}
    saved = [each async for each in storage.checkpointer().alist(config)]
    assert len(saved) == len({each.metadata["step"] for each in saved}) == 5


async def test_a_run_that_is_handed_over_goes_on_with_its_next_step(storage, clock, tmp_path):
    events = MemoryEventLog(clock)
    work = executor(storage, events, clock)
    thread = await thread_of(storage)
    kwargs = request(input={"folder": str(tmp_path)})
    await storage.runs.create(new_run(thread, now=clock.now(), graph_id="steps", kwargs=kwargs))
    (held,) = await claim(storage)
    assignment = Assignment(held)
    async with executing(work, assignment) as task:
        await begun(tmp_path, 1)
        assignment.hand_over()
        for name in ("one", "two", "three"):
            (tmp_path / f"go-{name}").touch()
        await task
    assert assignment.result == "handed over"
    (held,) = await claim(storage)
    assert (held.run.attempt, held.number) == (1, 2)
    await work.execute(Assignment(held))
    assert (tmp_path / "begun").read_text().split() == ["one", "two", "three"]
    assert json.loads((await storage.threads.get(thread)).values)["log"] == ["one", "two", "three"]


async def test_a_graph_cannot_hand_itself_over_for_ever(storage, clock):
    events = MemoryEventLog(clock)
    thread = await thread_of(storage)
    await storage.runs.create(
        new_run(thread, now=clock.now(), graph_id="drained", kwargs=request(input={}))
    )
    (held,) = await claim(storage)
    await executor(storage, events, clock).execute(Assignment(held))
    assert (await storage.runs.get(thread, held.run.run_id)).status == "error"
