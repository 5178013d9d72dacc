"""What every database must do with requests that are sent twice, and with too many of them."""

import asyncio
from datetime import timedelta
from uuid import uuid4

import pytest
from tests.conformance.acts import DONE, NOW, add, claim, thread_of
from tests.support import new_run

from loomline.server.domain.access import Equal
from loomline.server.domain.errors import ThreadBusy, ThreadNotFound, TooManyRuns
from loomline.server.domain.idempotency import IdempotencyKey, IdempotencyKeyReused
from loomline.server.domain.ids import uuid7
from loomline.server.domain.runs import QueueLimits
from loomline.server.domain.threads import ThreadPatch

KEY = IdempotencyKey("here", "one", "print")


@pytest.fixture
async def thread(storage):
    return await thread_of(storage)


async def create(storage, thread, now=NOW, **fields):
    return await storage.runs.create(new_run(thread, now=now, **fields))


async def test_the_same_key_gives_the_same_run(database, storage, thread):
    first = await create(storage, thread, key=KEY)
    before = database.rows()
    again = await create(storage, thread, key=KEY)
    assert not first.replayed
    assert again.replayed
    assert again.run == first.run
    assert database.rows() == before
    (held,) = await claim(storage)
    await storage.runs.finish(held, DONE)
    assert (await create(storage, thread, key=KEY)).run.status == "success"


async def test_another_body_is_refused(database, storage, thread):
    await create(storage, thread, key=KEY)
    before = database.rows()
    with pytest.raises(IdempotencyKeyReused):
        await create(storage, thread, key=IdempotencyKey("here", "one", "other"))
    assert database.rows() == before


async def test_scopes_and_names_are_apart(storage, thread):
    keys = [KEY, IdempotencyKey("there", "one", "x"), IdempotencyKey("here", "two", "y")]
    made = {(await create(storage, thread, key=key)).run.run_id for key in keys}
    assert len(made) == 3
    assert KEY.part(1) not in {KEY, KEY.part(2)}


async def test_concurrent_requests_create_one_run(database, storage, thread):
    made = await asyncio.gather(*[create(storage, thread, key=KEY) for _ in range(12)])
    assert len({each.run.run_id for each in made}) == 1
    assert sum(not each.replayed for each in made) == 1
    assert database.rows()["runs"] == 1


async def test_concurrent_requests_on_threads_of_their_own(database, storage):
    fields = {"key": KEY, "create_thread": True, "own_thread": True}
    made = await asyncio.gather(*[create(storage, uuid4(), **fields) for _ in range(12)])
    assert len({each.run.thread_id for each in made}) == 1
    assert database.rows()["threads"] == 1


async def test_refused_request_leaves_its_key_unused(database, storage, thread):
    with pytest.raises(ThreadNotFound):
        await create(storage, uuid4(), key=KEY)
    await add(storage, thread)
    with pytest.raises(ThreadBusy):
        await create(storage, thread, key=KEY, strategy="reject")
    assert database.rows()["idempotency_keys"] == 0
    assert not (await create(storage, thread, key=KEY)).replayed


async def test_a_run_that_is_gone_is_not_made_again(database, storage):
    fields = {"key": KEY, "create_thread": True, "temporary": True, "webhook": "https://x.example"}
    first = await create(storage, uuid4(), **fields)
    (held,) = await claim(storage)
    await storage.runs.finish(held, DONE)
    again = await create(storage, uuid4(), **fields)
    assert again.replayed
    assert (again.run.run_id, again.run.thread_id) == (first.run.run_id, first.run.thread_id)
    assert database.rows()["runs"] == database.rows()["threads"] == 0


async def test_a_key_counts_for_a_day(database, storage, thread):
    await create(storage, thread, key=KEY)
    day = timedelta(hours=24)
    almost = NOW + day - timedelta(seconds=1)
    assert (await create(storage, thread, almost, key=KEY)).replayed
    later = await create(storage, thread, NOW + day, key=KEY)
    assert not later.replayed
    assert (await create(storage, thread, NOW + day, key=KEY)).run.run_id == later.run.run_id
    await create(storage, thread, NOW + 2 * day, key=KEY.part(1))
    assert await storage.runs.forget_keys(NOW, 10) == 0
    assert await storage.runs.forget_keys(NOW + day, 10) == 1
    assert database.rows()["idempotency_keys"] == 1
    assert await storage.runs.forget_keys(NOW + 3 * day, 10) == 1


async def test_a_thread_has_room_for_so_many(database, storage, thread):
    limits = QueueLimits(thread=2)
    await add(storage, thread)
    await claim(storage)  # what runs does not wait
    for _ in range(2):
        await create(storage, thread, limits=limits)
    before = database.rows()
    with pytest.raises(TooManyRuns, match="2 are allowed"):
        await create(storage, thread, limits=limits, key=KEY)
    assert database.rows() == before
    await create(storage, await thread_of(storage), limits=limits)
    await create(storage, thread, limits=limits, strategy="rollback")


async def test_the_server_has_room_for_so_many(database, storage):
    limits = QueueLimits(thread=100, total=3)
    for _ in range(3):
        await create(storage, uuid4(), limits=limits, create_thread=True)
    before = database.rows()
    with pytest.raises(TooManyRuns, match="3 are allowed"):
        await create(storage, uuid4(), limits=limits, create_thread=True)
    assert database.rows() == before
    await claim(storage)
    await create(storage, uuid4(), limits=limits, create_thread=True)


BOB = Equal("owner", "bob")


async def test_key_of_a_run_on_a_lost_thread_finds_no_thread(storage):
    thread = await thread_of(storage, metadata={"owner": "bob"})
    first = await create(storage, thread, key=KEY, access=BOB)
    assert (await create(storage, thread, key=KEY, access=BOB)).run == first.run
    await storage.threads.update(thread, ThreadPatch(NOW, {"owner": "ada"}))
    with pytest.raises(ThreadNotFound):
        await create(storage, thread, key=KEY, access=BOB)


async def test_key_of_a_run_on_a_deleted_thread_finds_no_thread(storage, thread):
    await create(storage, thread, key=KEY)
    await storage.threads.delete(thread)
    with pytest.raises(ThreadNotFound):
        await create(storage, thread, key=KEY)


def on_its_own(**fields):
    return {"create_thread": True, "own_thread": True, "key": KEY, "access": BOB, **fields}


async def test_key_of_a_kept_run_on_a_lost_thread_finds_no_thread(storage):
    asked = on_its_own(metadata={"owner": "bob"})
    first = await create(storage, uuid7(), **asked)
    assert (await create(storage, uuid7(), **asked)).run == first.run
    patch = ThreadPatch(NOW, {"owner": "ada"})
    await storage.threads.update(first.run.thread_id, patch)
    with pytest.raises(ThreadNotFound):
        await create(storage, uuid7(), **asked)


async def test_key_of_a_run_whose_own_thread_no_filter_ever_found_gives_the_run(storage):
    first = await create(storage, uuid7(), **on_its_own(temporary=True))
    assert (await create(storage, uuid7(), **on_its_own(temporary=True))).run == first.run


async def test_key_of_an_ended_temporary_run_repeats_its_answer(storage):
    first = await create(storage, uuid7(), **on_its_own(temporary=True))
    (held,) = await claim(storage)
    await storage.runs.finish(held, DONE)
    again = await create(storage, uuid7(), **on_its_own(temporary=True))
    assert (again.replayed, again.run.run_id) == (True, first.run.run_id)
