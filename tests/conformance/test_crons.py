"""What every database must do with crons."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from tests.conformance.acts import NOW, add, thread_of
from tests.conformance.test_assistants import assistant
from tests.support import ASSISTANT, new_run

from loomline.server.domain.crons import Cron, CronFilter, CronQuery, firing, next_date, patched
from loomline.server.domain.errors import (
    AlreadyFired,
    CronNotFound,
    InvalidInput,
    ThreadBusy,
    ThreadNotFound,
)

MINUTE = timedelta(minutes=1)


def cron(number=0, **changes):
    made = Cron(
        cron_id=UUID(int=(7 << 76) | number),
        assistant_id=ASSISTANT,
        thread_id=None,
        user_id="ann",
        schedule="*/10 * * * *",
        timezone="Europe/Berlin",
        end_time=None,
        payload={"input": {"a": [1, None]}, "config": {"configurable": {"cron_id": "x"}}},
        metadata={"a": 1},
        on_run_completed="delete",
        enabled=True,
        next_run_date=NOW + 10 * MINUTE,
        created_at=NOW,
        updated_at=NOW,
    )
    return replace(made, **changes)


async def stored(storage, number=0, **changes):
    return await storage.crons.create(cron(number, **changes))


async def found(storage, where=None, **query):
    page = await storage.crons.search(CronQuery(where or CronFilter(), **{"limit": 10} | query))
    return [row.cron_id.int & 0xFFFF for row in page.rows], page.more, page.total


async def claimed(storage, now, limit=10):
    """Start the runs of crons that are due, as the server does; return the crons."""
    found = await storage.crons.due(now, limit)
    return [each.cron_id.int & 0xFFFF for each in found if await fired_now(storage, each, now)]


async def fired_now(storage, each, now):
    due = firing(each, each.next_run_date, now)
    if not due.starts:
        await storage.crons.pass_over(due)
        return False
    try:
        await storage.runs.create(new_run(uuid4(), create_thread=True, firing=due))
    except AlreadyFired:
        return False
    return True


async def test_a_cron_is_found_again(storage):
    made = await stored(storage, end_time="2030-01-31T12:00:00.5+02:00")
    assert made == await storage.crons.get(made.cron_id)
    other = await stored(
        storage, 1, timezone=None, on_run_completed=None, enabled=False, next_run_date=None
    )
    assert other == await storage.crons.get(other.cron_id)
    with pytest.raises(CronNotFound):
        await storage.crons.get(uuid4())


async def test_a_cron_of_a_thread_needs_it(storage):
    thread = await thread_of(storage)
    made = await stored(storage, thread_id=thread)
    assert made.thread_id == thread
    with pytest.raises(ThreadNotFound):
        await stored(storage, 1, thread_id=uuid4())
    assert await storage.crons.count(CronFilter()) == 1


async def test_deleted_cron_leaves_no_rows(database, storage):
    before = database.rows()
    made = await stored(storage)
    await storage.crons.delete(made.cron_id)
    with pytest.raises(CronNotFound):
        await storage.crons.delete(made.cron_id)
    assert database.rows() == before


async def test_a_deleted_thread_takes_its_crons(storage):
    thread, other = await thread_of(storage), await thread_of(storage)
    gone = await stored(storage, thread_id=thread)
    await stored(storage, 1, thread_id=other)
    await stored(storage, 2)
    await storage.threads.delete(thread)
    assert (await found(storage))[0] == [2, 1]
    with pytest.raises(CronNotFound):
        await storage.crons.get(gone.cron_id)


async def test_a_deleted_assistant_takes_its_crons(storage):
    made = await storage.assistants.create(assistant(), "raise")
    await stored(storage, assistant_id=made.assistant_id)
    await stored(storage, 1)
    await storage.assistants.delete(made.assistant_id, delete_threads=False)
    assert (await found(storage))[0] == [1]


async def test_cron_patch_replaces_the_given_fields(storage):
    made = await stored(storage)
    fields = {
        "schedule": "0 0 * * *", "timezone": "UTC", "end_time": "2030-01-01", "enabled": False,
        "metadata": {"b": None}, "config": {"tags": ["t"]}, "on_run_completed": "keep",
    }  # fmt: skip
    after = await storage.crons.update(made.cron_id, fields, NOW + MINUTE)
    assert after == await storage.crons.get(made.cron_id) == patched(made, fields, NOW + MINUTE)
    assert after.metadata == {"a": 1, "b": None}
    assert after.payload["metadata"] == {"b": None}
    assert after.payload["config"] == {
        "tags": ["t"],
        "configurable": {"cron_id": str(made.cron_id)},
    }
    assert after.payload["input"] == {"a": [1, None]}
    assert after.next_run_date == NOW + timedelta(days=1)
    assert (await storage.crons.update(made.cron_id, {"end_time": None}, NOW)).end_time is None
    with pytest.raises(CronNotFound):
        await storage.crons.update(uuid4(), fields, NOW)
    with pytest.raises(InvalidInput):
        await storage.crons.update(made.cron_id, {"schedule": "0 0 30 2 *"}, NOW)
    assert (await storage.crons.get(made.cron_id)).schedule == "0 0 * * *"


async def test_a_patch_of_other_fields_leaves_the_date(storage):
    made = await stored(storage, next_run_date=NOW - MINUTE)
    after = await storage.crons.update(made.cron_id, {"input": {}}, NOW)
    assert after.next_run_date == NOW - MINUTE
    again = await storage.crons.update(made.cron_id, {"enabled": True}, NOW)
    assert again.next_run_date == NOW + 10 * MINUTE


async def test_concurrent_patches_are_all_kept(storage):
    made = await stored(storage)
    await asyncio.gather(
        *(storage.crons.update(made.cron_id, {"metadata": {f"m{n}": n}}, NOW) for n in range(10))
    )
    assert len((await storage.crons.get(made.cron_id)).metadata) == 11


async def test_cron_filters_select_by_thread_assistant_and_metadata(storage):
    thread, mine = await thread_of(storage), uuid4()
    await stored(storage, 1, thread_id=thread, metadata={"tags": ["a", "b"]})
    await stored(storage, 2, assistant_id=mine, enabled=False, metadata={"n": 1})
    await stored(storage, 3, assistant_id=mine, metadata={"n": True})

    async def ids(**where):
        rows, _, total = await found(storage, CronFilter(**where))
        assert total == len(rows) == await storage.crons.count(CronFilter(**where))
        return sorted(rows)

    assert await ids() == [1, 2, 3]
    assert await ids(thread_id=thread) == [1]
    assert await ids(assistant_id=mine) == [2, 3]
    assert await ids(enabled=True) == [1, 3]
    assert await ids(enabled=False) == [2]
    assert await ids(metadata={"n": 1}) == [2]
    assert await ids(metadata={"tags": ["b"]}) == [1]
    assert await ids(assistant_id=mine, enabled=True) == [3]


async def test_crons_are_sorted_and_paged_by_every_column(storage):
    for number in range(4):
        await stored(
            storage,
            number,
            created_at=NOW + number // 2 * MINUTE,
            updated_at=NOW - number * MINUTE,
            next_run_date=None if number == 1 else NOW + number * MINUTE,
            end_time=[None, "2030-01-01T02:00:00+02:00", "2030-01-01", "2029-01-01"][number],
        )
    assert await found(storage) == ([3, 2, 1, 0], False, 4)
    assert await found(storage, descending=False, limit=2) == ([0, 1], True, 4)
    assert await found(storage, sort_by="updated_at", offset=1, limit=2) == ([1, 2], True, 4)
    assert await found(storage, sort_by="next_run_date") == ([3, 2, 0, 1], False, 4)
    assert await found(storage, sort_by="next_run_date", descending=False) == (
        [0, 2, 3, 1],
        False,
        4,
    )
    assert await found(storage, sort_by="end_time") == ([2, 1, 3, 0], False, 4)
    assert await found(storage, sort_by="end_time", descending=False) == ([3, 1, 2, 0], False, 4)
    assert await found(storage, sort_by="cron_id", offset=9) == ([], False, 4)
    assert (await found(storage, sort_by="thread_id"))[2] == 4
    assert (await found(storage, sort_by="assistant_id"))[0] == [3, 2, 1, 0]


async def test_a_time_is_claimed_once(storage):
    made = await stored(storage)
    assert await claimed(storage, NOW + 10 * MINUTE - timedelta(microseconds=1)) == []
    (due,) = await storage.crons.due(NOW + 10 * MINUTE, 10)
    assert due == made
    assert await storage.crons.get(made.cron_id) == made
    assert await claimed(storage, NOW + 10 * MINUTE) == [0]
    assert (await storage.crons.get(made.cron_id)).next_run_date == NOW + 20 * MINUTE
    assert await claimed(storage, NOW + 10 * MINUTE) == []
    assert await claimed(storage, NOW + 20 * MINUTE) == [0]


async def test_concurrent_claimers_fire_each_cron_once(storage):
    for number in range(20):
        await stored(storage, number)
    results = await asyncio.gather(*(claimed(storage, NOW + 11 * MINUTE, 20) for _ in range(5)))
    assert sorted(number for each in results for number in each) == list(range(20))


async def test_a_run_that_is_refused_leaves_the_time_due(database, storage):
    thread = await thread_of(storage)
    await add(storage, thread)
    made = await stored(storage, thread_id=thread)
    due = firing(made, made.next_run_date, NOW + 10 * MINUTE)
    before = database.rows()
    for where in (thread, uuid4()):
        with pytest.raises((ThreadBusy, ThreadNotFound)):
            await storage.runs.create(new_run(where, strategy="reject", firing=due))
    assert await storage.crons.get(made.cron_id) == made
    assert database.rows() == before
    assert await storage.crons.pass_over(due)
    assert not await storage.crons.pass_over(due)
    with pytest.raises(AlreadyFired):
        await storage.runs.create(new_run(thread, firing=due))
    assert database.rows() == before
    assert (await storage.crons.get(made.cron_id)).next_run_date == NOW + 20 * MINUTE


async def test_a_time_that_is_changed_meanwhile_is_not_fired(storage):
    made = await stored(storage)
    due = firing(made, made.next_run_date, NOW + 10 * MINUTE)
    await storage.crons.update(made.cron_id, {"enabled": False}, NOW)
    assert not await storage.crons.pass_over(due)
    await storage.crons.delete(made.cron_id)
    assert not await storage.crons.pass_over(due)


async def test_missed_times_are_not_made_up_for(storage):
    made = await stored(storage)
    assert await claimed(storage, NOW + 95 * MINUTE) == [0]
    assert (await storage.crons.get(made.cron_id)).next_run_date == NOW + 100 * MINUTE
    assert await claimed(storage, NOW + 99 * MINUTE) == []


async def test_the_longest_due_come_first(storage):
    for number, minutes in enumerate([3, 1, 2]):
        await stored(storage, number, next_run_date=NOW + minutes * MINUTE)
    assert await storage.crons.next_due() == NOW + MINUTE
    assert await claimed(storage, NOW + 5 * MINUTE, 2) == [1, 2]
    assert await storage.crons.next_due() == NOW + 3 * MINUTE
    assert await claimed(storage, NOW + 5 * MINUTE, 2) == [0]
    assert await storage.crons.next_due() == NOW + 10 * MINUTE


async def test_disabled_crons_are_not_due(storage):
    assert await storage.crons.next_due() is None
    await stored(storage, enabled=False)
    await stored(storage, 1, next_run_date=None)
    assert await storage.crons.next_due() is None
    assert await claimed(storage, NOW + 60 * MINUTE) == []


async def test_cron_does_not_fire_after_its_end(storage):
    await stored(storage, 1, end_time=(NOW + 25 * MINUTE).isoformat())
    await stored(storage, 2, end_time=(NOW + 15 * MINUTE).isoformat())
    await stored(storage, 3)
    assert await claimed(storage, NOW + 10 * MINUTE) == [1, 2, 3]
    ended = await storage.crons.get(cron(2).cron_id)
    assert (ended.next_run_date, ended.enabled) == (None, True)
    # This one was due before its end, but nobody asked in time.
    assert await claimed(storage, NOW + 26 * MINUTE) == [3]
    assert (await storage.crons.get(cron(1).cron_id)).next_run_date is None


async def test_a_cron_whose_schedule_went_bad_does_not_stop_the_others(storage):
    await stored(storage, 1, timezone="Mars/Phobos")
    await stored(storage, 2)
    assert await claimed(storage, NOW + 10 * MINUTE) == [2]
    assert (await storage.crons.get(cron(1).cron_id)).next_run_date is None


def test_the_date_after_the_end():
    made = cron(end_time=(NOW + 10 * MINUTE).isoformat())
    assert next_date(made, NOW) == NOW + 10 * MINUTE
    assert next_date(made, NOW + 10 * MINUTE) is None
