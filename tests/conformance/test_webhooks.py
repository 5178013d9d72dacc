"""What every database must do with the outbox of webhooks."""

import asyncio
import json
from datetime import timedelta
from uuid import uuid4

import pytest
from tests.conformance.acts import (
    DONE,
    INTERRUPT,
    NOW,
    ROLLBACK,
    ROLLED_BACK,
    add,
    claim,
    started,
    thread_of,
)

from loomline.server.domain.errors import LeaseLost, WebhookNotFound
from loomline.server.domain.json import Encoded
from loomline.server.domain.runs import Outcome
from loomline.server.domain.webhooks import body

URL = "https://example.com/hook"


@pytest.fixture
async def thread(storage):
    return await thread_of(storage)


async def ended(storage, thread, outcome=DONE, **fields):
    run_id = await add(storage, thread, webhook=URL, **fields)
    (held,) = await claim(storage)
    await storage.runs.finish(held, outcome)
    return run_id


async def bodies_sent(storage):
    """Take everything out of the outbox; return the bodies."""
    found = []
    for delivery in await storage.webhooks.claim(10, 30.0):
        found.append(json.loads(body(delivery, NOW)))
        await storage.webhooks.delivered(delivery)
    return found


async def test_the_end_of_a_run_writes_a_row(database, storage, clock, thread):
    before = database.rows()["webhooks"]
    run_id = await add(storage, thread, webhook=URL)
    assert (await storage.runs.get(thread, run_id)).webhook == URL
    clock.move(5)
    (held,) = await claim(storage)
    assert database.rows()["webhooks"] == before
    clock.move(5)
    await storage.runs.finish(held, DONE)
    (delivery,) = await storage.webhooks.claim(10, 30.0)
    assert (delivery.url, delivery.run_id, delivery.attempt) == (URL, run_id, 1)
    sent = json.loads(body(delivery, clock.now()))
    assert (sent["status"], sent["values"]) == ("success", {"a": 1})
    assert sent["run_started_at"] == (NOW + timedelta(seconds=5)).isoformat()
    assert sent["run_ended_at"] == sent["webhook_sent_at"] == clock.now().isoformat()
    await storage.webhooks.delivered(delivery)
    assert database.rows()["webhooks"] == before


async def test_runs_without_a_webhook_write_none(database, storage, thread):
    await add(storage, thread)
    (held,) = await claim(storage)
    await storage.runs.finish(held, DONE)
    assert database.rows()["webhooks"] == 0


async def test_a_refused_end_tells_nothing(storage, clock, thread):
    await add(storage, thread, webhook=URL)
    (held,) = await claim(storage)
    clock.move(100)
    await storage.runs.reclaim(max_attempts=3)
    with pytest.raises(LeaseLost):
        await storage.runs.finish(held, DONE)
    assert await storage.webhooks.next_due() is None


async def test_webhook_tells_the_status_of_each_kind_of_end(storage, thread):
    await ended(storage, thread)
    failed = Encoded(b'{"error":"E","message":"m"}')
    await ended(storage, thread, Outcome("error", "error", error=failed))
    await ended(storage, thread, ROLLED_BACK)
    bodies = await bodies_sent(storage)
    assert [(each["status"], each["values"], each.get("error")) for each in bodies] == [
        ("success", {"a": 1}, None),
        ("error", {"a": 1}, {"error": "E", "message": "m"}),
        ("rollback", None, None),
    ]


async def test_temporary_threads_have_no_values(storage):
    await ended(storage, uuid4(), create_thread=True, temporary=True)
    (sent,) = await bodies_sent(storage)
    assert (sent["status"], sent["values"]) == ("success", None)


@pytest.mark.parametrize(("stop", "status"), [(INTERRUPT, "interrupted"), (ROLLBACK, "rollback")])
async def test_runs_that_are_cancelled_before_they_begin(storage, thread, stop, status):
    run_id = await add(storage, thread, webhook=URL)
    silent = await add(storage, thread)
    await storage.runs.cancel(thread, [run_id, silent], stop)
    (sent,) = await bodies_sent(storage)
    assert (sent["status"], sent["run_id"], sent["run_started_at"]) == (status, str(run_id), None)


@pytest.mark.parametrize(
    ("strategy", "status"), [("interrupt", "interrupted"), ("rollback", "rollback")]
)
async def test_runs_that_are_superseded(storage, thread, strategy, status):
    first = await add(storage, thread, webhook=URL)
    await add(storage, thread, strategy=strategy)
    (sent,) = await bodies_sent(storage)
    assert (sent["status"], sent["run_id"]) == (status, str(first))


async def test_webhook_of_a_superseded_run_with_a_temporary_thread_has_no_values(storage, thread):
    await storage.runs.finish(await started(storage, thread), DONE)
    await add(storage, thread, webhook=URL, temporary=True)
    await add(storage, thread, strategy="interrupt")
    (sent,) = await bodies_sent(storage)
    assert (sent["status"], sent["values"]) == ("interrupted", None)
    assert sent["cancel_reason"].startswith("superseded by run")


async def test_runs_that_are_given_up(storage, clock, thread):
    await add(storage, thread, webhook=URL)
    await claim(storage)
    clock.move(100)
    await storage.runs.reclaim(max_attempts=1)
    (sent,) = await bodies_sent(storage)
    assert (sent["status"], sent["error"]["error"]) == ("error", "RunAttemptsExhausted")


async def test_it_outlives_its_thread(storage, thread):
    await ended(storage, thread)
    await storage.threads.delete(thread)
    assert len(await bodies_sent(storage)) == 1


async def test_claimed_webhook_is_given_to_one_sender(storage, clock, thread):
    for _ in range(6):
        await ended(storage, thread)
    claims = await asyncio.gather(*[storage.webhooks.claim(4, 30.0) for _ in range(6)])
    taken = [each.webhook_id for found in claims for each in found]
    assert len(taken) == len(set(taken)) == 6
    assert await storage.webhooks.claim(10, 30.0) == []
    clock.move(31)
    again = await storage.webhooks.claim(10, 30.0)
    assert {each.webhook_id for each in again} == set(taken)
    assert {each.attempt for each in again} == {2}


async def test_hosts_that_are_busy_are_passed_over(storage, thread):
    for url in ("https://A.example/1", "https://b.example:8443/2", "/3", "https://a.example/4"):
        await add(storage, thread, webhook=url)
        (held,) = await claim(storage)
        await storage.runs.finish(held, DONE)
    found = await storage.webhooks.claim(10, 30.0, avoid=["a.example", "x'\"]"])
    assert sorted(each.url for each in found) == ["/3", "https://b.example:8443/2"]
    due, later = [await storage.webhooks.next_due(avoid=each) for each in ([], ["a.example"])]
    assert due < later
    assert len(await storage.webhooks.claim(10, 30.0)) == 2


async def test_a_sender_that_is_late_changes_nothing(storage, clock, thread):
    await ended(storage, thread)
    (late,) = await storage.webhooks.claim(1, 30.0)
    clock.move(31)
    (now,) = await storage.webhooks.claim(1, 30.0)
    await storage.webhooks.delivered(late)
    await storage.webhooks.failed(late, "no", None)
    assert (await storage.webhooks.stats()).pending == 1
    await storage.webhooks.delivered(now)
    assert (await storage.webhooks.stats()).pending == 0


async def test_a_failure_is_due_again_later(storage, clock, thread):
    await ended(storage, thread)
    (delivery,) = await storage.webhooks.claim(1, 30.0)
    at = clock.now() + timedelta(seconds=60)
    await storage.webhooks.failed(delivery, "status 500", at)
    assert await storage.webhooks.next_due() == at
    assert await storage.webhooks.claim(1, 30.0) == []
    clock.move(60)
    (again,) = await storage.webhooks.claim(1, 30.0)
    assert (again.attempt, again.payload, again.values) == (2, delivery.payload, delivery.values)


async def test_dead_webhooks_are_listed_and_can_be_retried(storage, clock, thread):
    runs = [await ended(storage, thread) for _ in range(3)]
    for delivery in await storage.webhooks.claim(3, 30.0):
        await storage.webhooks.failed(delivery, "status 500", None)
        clock.move(1)
    assert (await storage.webhooks.stats()).dead == 3
    assert await storage.webhooks.next_due() is None
    latest, *others = await storage.webhooks.dead(2)
    assert len(others) == 1
    assert latest.run_id in runs
    assert (latest.error, latest.attempts, latest.url) == ("status 500", 1, URL)
    assert latest.dead_at > others[0].dead_at > latest.created_at
    with pytest.raises(WebhookNotFound):
        await storage.webhooks.retry(uuid4())
    assert await storage.webhooks.retry(latest.webhook_id) == 1
    with pytest.raises(WebhookNotFound):
        await storage.webhooks.retry(latest.webhook_id)
    (again,) = await storage.webhooks.claim(10, 30.0)
    assert (again.webhook_id, again.attempt) == (latest.webhook_id, 1)
    assert await storage.webhooks.retry(None) == 2
    assert len(await storage.webhooks.claim(10, 30.0)) == 2


async def test_dead_webhooks_expire_after_their_time(storage, clock, thread):
    for _ in range(3):
        await ended(storage, thread)
    for delivery in (await storage.webhooks.claim(3, 30.0))[:2]:
        await storage.webhooks.failed(delivery, "no", None)
    assert await storage.webhooks.expire(clock.now(), 10) == 0
    later = clock.now() + timedelta(seconds=1)
    assert await storage.webhooks.expire(later, 1) == 1
    assert await storage.webhooks.expire(later, 10) == 1
    assert await storage.webhooks.expire(later, 10) == 0
    assert (await storage.webhooks.stats()).pending == 1


async def test_webhooks_of_a_dead_sender_are_released(storage, thread):
    await ended(storage, thread)
    await storage.webhooks.claim(1, 30.0)
    assert await storage.webhooks.claim(1, 30.0) == []
    await storage.webhooks.release()
    (again,) = await storage.webhooks.claim(1, 30.0)
    assert again.attempt == 2


async def test_stats_count_pending_and_dead_webhooks(storage, clock, thread):
    assert (await storage.webhooks.stats()).oldest_seconds is None
    await ended(storage, thread)
    clock.move(10)
    await ended(storage, thread)
    clock.move(5)
    stats = await storage.webhooks.stats()
    assert (stats.pending, stats.dead, stats.oldest_seconds) == (2, 0, 15.0)
