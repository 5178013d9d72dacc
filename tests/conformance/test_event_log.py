"""What every event log must do."""

import asyncio
import threading
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from tests.support import StandingClock

from loomline.server.domain.errors import EventsLost
from loomline.server.domain.events import START, Event, EventId, Live
from loomline.server.domain.json import Encoded
from loomline.server.events.memory import Bounds, MemoryEventLog


@pytest.fixture
async def log(world):
    return await world.log()


def event(number):
    return Event("values", Encoded(b"%d" % number), "values")


async def numbers(reader):
    return [int(stored.event.data) async for batch in reader for stored in batch]


async def test_reader_receives_past_events_before_new_events(log):
    await log.append("run", [event(1)])
    reader = log.read("run", START)
    first = await anext(reader)
    later = asyncio.create_task(numbers(reader))
    await log.append("run", [event(2), event(3)])
    await log.close("run", 60)
    assert [int(stored.event.data) for stored in first] == [1]
    assert await later == [2, 3]


async def test_two_readers_both_see_everything(log):
    readers = [asyncio.create_task(numbers(log.read("run", START))) for _ in range(2)]
    for number in range(100):
        await log.append("run", [event(number)])
    await log.close("run", 60)
    assert [await reader for reader in readers] == [list(range(100))] * 2


async def test_a_live_reader_starts_where_the_log_is_when_it_comes(log):
    await log.append("run", [event(1)])
    reader = log.read("run", Live())
    await log.append("run", [event(2)])
    await log.close("run", 60)
    assert await numbers(reader) == [2]


async def test_ids_increase_strictly_within_a_millisecond_and_when_the_clock_goes_back(log, world):
    await log.append("run", [event(1), event(2)])
    await log.flush("run")
    world.set_clock_back(5)
    await log.append("other", [event(3)])
    await log.flush("other")
    world.pass_time(10)
    await log.append("run", [event(4)])
    await log.close("run", 60)
    await log.close("other", 60)
    run = [stored.id for batch in [b async for b in log.read("run", START)] for stored in batch]
    other = [stored.id for batch in [b async for b in log.read("other", START)] for stored in batch]
    assert run[0] < run[1] < other[0] < run[2]


async def test_a_reader_resumes_after_any_id(log):
    await log.append("run", [event(number) for number in range(5)])
    await log.close("run", 60)
    stored = [each async for batch in log.read("run", START) for each in batch]
    for index, each in enumerate(stored):
        assert await numbers(log.read("run", each.id)) == list(range(index + 1, 5))
    assert await numbers(log.read("run", EventId(9**15, 0))) == []


async def test_a_closed_log_is_readable_until_its_time_is_up(log, world):
    await log.append("run", [event(1)])
    await log.close("run", keep_seconds=60)
    world.pass_time(59)
    await log.close("tick", 0)
    assert await numbers(log.read("run", START)) == [1]
    world.pass_time(2)
    await log.close("tock", 0)
    reader = log.read("run", START)
    reader.drain()
    assert await numbers(reader) == []


async def test_a_closed_log_takes_no_more_events_until_it_is_reopened(log):
    await log.append("run", [event(1)])
    await log.close("run", 60)
    await log.append("run", [event(2)])
    await log.reopen("run")
    await log.append("run", [event(3)])
    await log.close("run", 60)
    assert await numbers(log.read("run", START)) == [1, 3]


async def test_who_has_lost_the_run_adds_nothing_any_more(log):
    await log.append("run", [event(1)], 1)
    await log.append("run", [event(2)], 2)
    await log.append("run", [event(3)], 1)
    await log.append("run", [event(4)])
    await log.append("run", [event(5)], 2)
    await log.append("other", [event(6)], 1)
    await log.close("run", 60)
    await log.close("other", 60)
    assert await numbers(log.read("run", START)) == [1, 2, 5]
    assert await numbers(log.read("other", START)) == [6]


async def test_flushing_tells_whether_it_can_be_read(log):
    assert await log.flush("run")
    await log.append("run", [event(1)])
    assert await log.flush("run")


async def test_a_draining_reader_does_not_wait(log):
    await log.append("run", [event(1)])
    reader = log.read("run", START)
    reader.drain()
    assert await numbers(reader) == [1]


async def test_discarding_ends_readers_and_forgets(log):
    await log.append("run", [event(1)])
    reader = log.read("run", Live())
    waiting = asyncio.create_task(numbers(reader))
    await asyncio.sleep(0)
    await log.discard("run")
    assert await waiting == []
    again = log.read("run", START)
    again.drain()
    assert await numbers(again) == []


async def test_a_reader_that_fell_off_the_tail_is_told_so(world):
    log = await world.log(events=10)
    reader = log.read("run", START)
    for number in range(50):
        await log.append("run", [event(number)])
    with pytest.raises(EventsLost):
        await anext(reader)


async def test_the_log_is_bounded_by_bytes_and_keeps_the_newest(world):
    log = await world.log(bytes=1000)
    for number in range(500):
        await log.append("run", [Event("values", Encoded(b"%0100d" % number))])
    reader = log.read("run", START)
    reader.drain()
    kept = await numbers(reader)
    assert kept[-1] == 499
    assert len(kept) <= 11


async def test_closed_logs_in_memory_are_bounded_together():
    log = MemoryEventLog(StandingClock(), Bounds(closed_bytes=250))
    for number in range(10):
        await log.append(str(number), [Event("values", Encoded(b"x" * 100))])
        await log.close(str(number), keep_seconds=1000)
    found = []
    for number in range(10):
        reader = log.read(str(number), START)
        reader.drain()
        found += [number async for _ in reader]
    assert found == [8, 9]


async def test_the_last_event_comes_with_the_end(log):
    waiting = asyncio.create_task(log.read("run", START).last())
    for number in range(5):
        await log.append("run", [event(number)])
        await asyncio.sleep(0)
        assert not waiting.done()
    await log.close("run", 60)
    assert (await waiting).event == event(4)
    assert (await log.read("run", START).last()).event == event(4)
    assert await log.read("run", Live()).last() is None


async def test_waiting_for_the_last_event_of_nothing(log):
    reader = log.read("run", START)
    reader.drain()
    assert await reader.last() is None
    assert await reader.last() is None
    await log.flush("run")
    assert log.size == 0
    waiting = asyncio.create_task(log.read("run", START).last())
    await asyncio.sleep(0)
    await log.discard("run")
    assert await waiting is None


@pytest.mark.parametrize("method", ["__anext__", "last"])
async def test_a_cancelled_reader_leaves_nothing_behind(log, method):
    reader = log.read("run", START)
    waiting = asyncio.create_task(getattr(reader, method)())
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await log.flush("run")
    assert log.size == 0


async def test_appends_from_other_threads_wake_the_reader(log):
    def produce():
        for number in range(200):
            asyncio.run(log.append("run", [event(number)]))
        asyncio.run(log.close("run", 60))

    reader = log.read("run", START)
    thread = threading.Thread(target=produce)
    thread.start()
    assert await numbers(reader) == list(range(200))
    thread.join()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    sizes=st.lists(st.integers(1, 5), min_size=1, max_size=8),
    cuts=st.lists(st.integers(0, 30), max_size=4),
)
async def test_reconnecting_anywhere_loses_and_repeats_nothing(log, sizes, cuts):
    stream = str(uuid4())
    count = 0
    for size in sizes:
        await log.append(stream, [event(count + each) for each in range(size)])
        count += size
    await log.close(stream, 60)
    seen, cursor = [], START
    for cut in [*cuts, count]:
        reader = log.read(stream, cursor)
        async for batch in reader:
            for stored in batch[:cut]:
                seen.append(int(stored.event.data))
                cursor = stored.id
            break
        await reader.aclose()
    assert seen == list(range(count))


@pytest.mark.parametrize(
    "text", ["", "-", "1", "1-", "-1", "a-1", "1-b", "1-2-3", "٣-1", "9" * 50 + "-1"]
)
def test_malformed_event_id_is_no_position(text):
    assert EventId.parse(text) is None


def test_an_id_survives_its_text():
    assert EventId.parse(str(EventId(1795220370417, 12))) == (1795220370417, 12)
