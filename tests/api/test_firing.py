"""Crons that start their runs, in real time and at the same moment from several places."""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from tests.api.test_thread_stream import done, following, until
from tests.postgres import new_schema
from tests.redis_server import new_prefix
from tests.serving import Process

import loomline

pytestmark = [pytest.mark.two_servers, pytest.mark.one_client]

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
    async with asyncio.timeout(150):
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


async def test_a_run_that_cannot_be_started_does_not_keep_the_others(client):
    """A busy thread refuses its cron, for which there will be another time."""
    thread = (await client.threads.create())["thread_id"]
    blocker = await client.runs.create(thread, "sleepy", input={"seconds": 60})
    refused = await client.crons.create_for_thread(
        thread, "joke", schedule=EVERY_SECOND, input=JOKE, multitask_strategy="reject"
    )
    metadata = {"test": str(uuid4())}
    cron = await client.crons.create(
        "joke", schedule=EVERY_SECOND, input=JOKE, metadata=metadata, on_run_completed="keep"
    )
    await found(client, 2, metadata=metadata)
    assert len(await client.runs.list(thread)) == 1
    (after,) = await client.crons.search(thread_id=thread)
    assert after["next_run_date"] > refused["next_run_date"]
    await client.runs.cancel(thread, blocker["run_id"], wait=True)

    async def started():
        return len(await client.runs.list(thread)) > 1

    async with asyncio.timeout(150):
        while not await started():
            await asyncio.sleep(0.05)
    await client.crons.delete(refused["cron_id"])
    await client.crons.delete(cron["cron_id"])


@pytest.fixture
async def two_processes(tmp_path, redis_url):
    shared = {
        "database_url": new_schema(),
        "redis_url": redis_url,
        "redis_prefix": new_prefix(),
    }
    with (
        Process(tmp_path / "a", **shared) as one,
        Process(tmp_path / "b", **shared) as two,
    ):
        yield one, two


@pytest.mark.slow
@pytest.mark.timeout(400)
async def test_two_servers_fire_each_time_once(two_processes):
    one, _ = two_processes
    metadata = {"test": str(uuid4())}
    began = time.monotonic()
    async with loomline.get_client(url=one.url) as client:
        made = [
            await client.crons.create(
                "joke", schedule=EVERY_SECOND, input=JOKE, metadata=metadata,
                on_run_completed="keep",
            )
            for _ in range(5)
        ]  # fmt: skip
        await found(client, 20, metadata=metadata, limit=100)
        for cron in made:
            await client.crons.delete(cron["cron_id"])
        seconds = time.monotonic() - began
        threads = await client.threads.search(metadata=metadata, limit=1000)
    assert len(threads) <= 5 * (seconds + 1)


@pytest.mark.slow
@pytest.mark.timeout(400)
async def test_the_time_that_passed_while_the_server_was_dead(tmp_path):
    """One run for all of the times that were missed, then those to come; none after the end."""
    metadata = {"test": "missed"}
    with Process(tmp_path) as server:
        end = datetime.now(UTC) + timedelta(seconds=5)
        async with loomline.get_client(url=server.url) as client:
            thread = (await client.threads.create())["thread_id"]
            cron = await client.crons.create_for_thread(
                thread, "joke", schedule=EVERY_SECOND, input=JOKE, metadata=metadata
            )
            ending = await client.crons.create(
                "joke", schedule="* * * * * *", input=JOKE, end_time=end,
                metadata={"test": "ended"}, on_run_completed="keep",
            )  # fmt: skip
            server.kill()
    before = datetime.now(UTC)
    while datetime.now(UTC) < max(end, before) + timedelta(seconds=2):
        await asyncio.sleep(0.1)
    began = time.monotonic()

    async def caught_up(client):
        """Return whether both crons have been looked at since the server is back."""
        ended = await client.http.get(f"/runs/crons/{ending['cron_id']}")
        assert ended["enabled"]
        runs = await client.runs.list(thread, limit=1000)
        fired = any(datetime.fromisoformat(run["created_at"]) > before for run in runs)
        return fired and ended["next_run_date"] is None

    with Process(tmp_path) as server:
        async with loomline.get_client(url=server.url) as client:
            while not await caught_up(client):
                await asyncio.sleep(0.02)
            await client.crons.delete(cron["cron_id"])
            alive = time.monotonic() - began
            runs = await client.runs.list(thread, limit=1000)
    starts = [datetime.fromisoformat(run["created_at"]) for run in runs]
    assert len([each for each in starts if each > before]) <= alive + 2
