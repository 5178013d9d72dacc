"""When crons are due."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, strategies as st

from loomline.server.domain.errors import InvalidInput
from loomline.server.domain.schedules import check_schedule, check_timezone, next_time, parse_time

NOON = datetime(2026, 3, 28, 12, tzinfo=UTC)


def utc(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def times(schedule, timezone, after, count):
    found = []
    for _ in range(count):
        after = next_time(schedule, timezone, after)
        found.append(after.strftime("%d %H:%M:%S"))
    return found


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("* * * * *", "2026-03-28T12:01"),
        ("*/5 * * * *", "2026-03-28T12:05"),
        ("0 0 1 1 *", "2027-01-01T00:00"),
        ("@yearly", "2027-01-01T00:00"),
        ("@annually", "2027-01-01T00:00"),
        ("@monthly", "2026-04-01T00:00"),
        ("@weekly", "2026-03-29T00:00"),
        ("@daily", "2026-03-29T00:00"),
        ("@Midnight", "2026-03-29T00:00"),
        ("@hourly", "2026-03-28T13:00"),
        ("30 9-17/4 * * mon-fri", "2026-03-30T09:30"),
        ("0 0 * * 7", "2026-03-29T00:00"),
        ("0 0 29 FEB *", "2028-02-29T00:00"),
        ("0 0 l * *", "2026-03-31T00:00"),
        ("* * * * * *", "2026-03-28T12:00:01"),
        ("* * * * * */20", "2026-03-28T12:00:20"),
        ("0 * * * * 30", "2026-03-28T12:00:30"),
        (" 0\t0 * * * ", "2026-03-29T00:00"),
        ("0 0 13 * fri", "2026-04-03T00:00"),
    ],
)
def test_next_time_follows_the_cron_schedule(schedule, expected):
    assert next_time(schedule, None, NOON) == utc(expected)


def test_it_is_after_the_moment():
    assert next_time("0 12 * * *", None, NOON) == utc("2026-03-29T12:00")
    assert next_time("0 12 * * *", None, NOON - timedelta(microseconds=1)) == NOON


def test_next_time_follows_the_time_zone():
    assert next_time("0 0 1 1 *", "Europe/Berlin", NOON) == utc("2026-12-31T23:00")
    assert next_time("0 9 * * *", "Asia/Kolkata", NOON) == utc("2026-03-29T03:30")


def test_clocks_that_are_put_forward():
    assert times("30 2 * * *", "Europe/Berlin", NOON, 2) == ["29 01:00:00", "30 00:30:00"]
    assert times("0 * * * *", "Europe/Berlin", utc("2026-03-28T23:30"), 3) == [
        "29 00:00:00", "29 01:00:00", "29 02:00:00",
    ]  # fmt: skip


def test_clocks_that_are_put_back():
    before = utc("2026-10-24T12:00")
    assert times("30 2 * * *", "Europe/Berlin", before, 2) == ["25 00:30:00", "26 01:30:00"]
    assert times("*/30 2 * * *", "Europe/Berlin", before, 3) == [
        "25 00:00:00", "25 00:30:00", "26 01:00:00",
    ]  # fmt: skip
    assert times("30 * * * *", "Europe/Berlin", utc("2026-10-24T23:45"), 3) == [
        "25 00:30:00", "25 01:30:00", "25 02:30:00",
    ]  # fmt: skip
    # Half an hour only, and after it the same schedule goes on within the same hour.
    lord_howe = times("45 1 * * *", "Australia/Lord_Howe", utc("2026-04-03T20:00"), 3)
    assert lord_howe == ["04 14:45:00", "05 15:15:00", "06 15:15:00"]


@given(
    st.sampled_from(["30 2 * * *", "0 * * * *", "15,45 1-3 * * *", "* * * * * 30", "@weekly"]),
    st.sampled_from(["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", None]),
    st.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 31), timezones=st.just(UTC)),  # noqa: DTZ001
)
def test_times_only_go_forward(schedule, timezone, start):
    found = [start]
    for _ in range(4):
        found.append(next_time(schedule, timezone, found[-1]))
    assert all(earlier < later for earlier, later in pairwise(found))
    assert all(each.tzinfo is UTC for each in found)


@pytest.mark.parametrize(
    ("schedule", "reason"),
    [
        ("", "five fields"),
        ("x", "five fields"),
        ("* * * *", "five fields"),
        ("* * * * * * *", "five fields"),
        ("@reboot", "five fields"),
        ("@", "five fields"),
        ("61 * * * *", "out of range"),
        ("0 0 0 1 *", "out of range"),
        ("a b c d e", "not acceptable"),
        ("H * * * *", "left to chance"),
        ("R(0-9) * * * *", "left to chance"),
        ("* * * * * 60", "out of range"),
        ("0 " * 600, "five fields"),
    ],
)
def test_schedules_that_cannot_be_read(schedule, reason):
    with pytest.raises(InvalidInput) as caught:
        check_schedule(schedule)
    assert str(caught.value).startswith(f"Invalid cron schedule: '{schedule[:200]}'. Reason: ")
    assert reason in str(caught.value)


@pytest.mark.parametrize("schedule", ["0 0 30 2 *", "0 0 31 2,4 *"])
def test_schedules_that_never_come_true(schedule):
    with pytest.raises(InvalidInput, match="failed to find next date"):
        next_time(schedule, None, NOON)


@pytest.mark.parametrize(
    "name", ["Mars/Phobos", "", "America", "../etc/passwd", "/etc/passwd", "a\0b", "x" * 5000]
)
def test_time_zones_that_are_not(name):
    with pytest.raises(InvalidInput, match="Invalid timezone: '"):
        check_timezone(name)


def test_end_time_accepts_dates_times_and_offsets():
    assert parse_time("2030-01-31T12:00:00+02:00", "end_time") == utc("2030-01-31T10:00")
    assert parse_time("2030-01-31T12:00:00Z", "end_time") == utc("2030-01-31T12:00")
    assert parse_time("2030-01-31", "end_time") == utc("2030-01-31T00:00")
    for text in ("soon", "", "2030-13-01", "0001-01-01T00:00:00+14:00"):
        with pytest.raises(InvalidInput, match="Invalid end_time"):
            parse_time(text, "end_time")
