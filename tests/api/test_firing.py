"""Crons that start their runs, in real time and at the same moment from several places."""

import asyncio
import contextlib
from types import SimpleNamespace
from uuid import uuid4

import pytest
from tests.api.test_thread_stream import done, following, until

from weft.server.clock import SystemClock
from weft.server.domain.errors import ThreadBusy
from weft.server.worker.crons import CronStarter

EVERY_SECOND = "* * * * * *"
JOKE = {"topic": "tea"}


async def test_a_cron_of_a_thread(client, server):
    thread = (await client.threads.create())["thread_id"]
    async with following(server, thread) as parts:
        cron = await client.crons.create_for_thread(
            thread, "joke", schedule=EVERY_SECOND, input=JOKE, metadata={"by": "cron"}
        )
        first = await until(parts, done)
        second = await until(parts, done)
    runs = await client.runs.list(thread)
    assert {first[0][1]["run_id"], second[0][1]["run_id"]} <= {run["run_id"] for run in runs}
    assert {run["metadata"]["by"] for run in runs} == {"cron"}
    assert {run["kwargs"]["config"]["configurable"]["cron_id"] for run in runs} == {cron["cron_id"]}
    values = (await client.threads.get(thread))["values"]
    assert values["joke"] == "This is a joke about tea and cats"
    await client.threads.delete(thread)
    assert await client.crons.search(thread_id=thread) == []


async def found(client, count, **where):
    """Return threads as soon as there are so many."""
    async with asyncio.timeout(20):
        while True:
            threads = await client.threads.search(**where)
            if len(threads) >= count:
                return threads
            await asyncio.sleep(0.05)


async def test_a_cron_without_a_thread(client):
    metadata = {"test": str(uuid4())}
    cron = await client.crons.create(
        "joke", schedule=EVERY_SECOND, input=JOKE, metadata=metadata, on_run_completed="keep"
    )
    threads = await found(client, 2, metadata=metadata, status="idle")
    await client.crons.delete(cron["cron_id"])
    for thread in threads:
        assert thread["metadata"]["graph_id"] == "joke"
        await client.threads.delete(thread["thread_id"])


async def test_a_disabled_cron_waits(client):
    metadata, beside = {"test": str(uuid4())}, {"test": str(uuid4())}
    cron = await client.crons.create(
        "joke",
        schedule=EVERY_SECOND,
        metadata=metadata,
        input=JOKE,
        enabled=False,
        on_run_completed="keep",
    )
    other = await client.crons.create(
        "joke",
        schedule=EVERY_SECOND,
        metadata=beside,
        input=JOKE,
        on_run_completed="keep",
    )
    await found(client, 2, metadata=beside)
    assert await client.threads.search(metadata=metadata) == []
    await client.crons.update(cron["cron_id"], enabled=True)
    await found(client, 1, metadata=metadata)
    for each in (cron, other):
        await client.crons.delete(each["cron_id"])


class Crons:
    """The port, with as many due crons as there are, each taken once."""

    def __init__(self, due):
        self.due = list(due)
        self.empty = asyncio.Event()

    async def claim_due(self, now, limit):
        taken, self.due = self.due[:limit], self.due[limit:]
        if not taken:
            self.empty.set()
        return taken

    async def next_due(self):
        return None


@pytest.fixture
def clock():
    return SystemClock()


async def test_a_run_that_cannot_be_started_does_not_keep_the_others(clock):

    crons = [
        SimpleNamespace(
            cron_id=uuid4(),
            thread_id=None,
            payload={"assistant_id": "a"},
            metadata={},
            on_run_completed=None,
            sealing={},
        )
        for _ in range(250)
    ]
    started = []

    class Runs:
        async def create(self, thread_id, body, *, request_id):
            started.append(body)
            if len(started) == 3:
                raise ThreadBusy
            return SimpleNamespace(run_id=uuid4(), thread_id=uuid4())

    port = Crons(crons)
    starter = CronStarter(SimpleNamespace(crons=port), Runs(), clock)
    starter.start()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(5):
            await port.empty.wait()
    await starter.stop()
    assert len(started) == 250
    assert started[0] == {"assistant_id": "a", "metadata": {}, "on_completion": "delete"}
