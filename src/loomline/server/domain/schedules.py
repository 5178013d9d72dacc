"""When a cron is due: schedules, time zones and the clocks that are put forward and back."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from croniter import CroniterBadDateError, CroniterError, croniter

from loomline.server.domain.errors import InvalidInput

_LONGEST = 1000
"""Characters of a schedule."""

_ALIASES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}

# What the library makes of these changes with every call.
_RANDOM = re.compile(r"[hr]\b", re.IGNORECASE)

_FORM = (
    "It must have five fields (minute, hour, day of month, month, day of week), or a sixth for"
    " seconds, like '*/5 * * * *' for every five minutes; or be a name like '@daily'."
)


def check_schedule(schedule: str) -> None:
    """Make sure that a schedule can be read.

    Raises:
        InvalidInput: it cannot.
    """
    fields = " ".join(_fields(schedule))
    try:
        croniter(fields)
    except (CroniterError, ValueError) as error:
        raise _invalid(schedule, f"{error}"[:_SHOWN]) from None


def check_timezone(name: str) -> None:
    """Make sure that there is a time zone.

    Raises:
        InvalidInput: there is none with this name.
    """
    _zone(name)


def next_time(schedule: str, timezone: str | None, after: datetime) -> datetime:
    """Return the first time of a schedule after a moment, in UTC.

    A time that the clocks skip is made up for when they have been put forward. One that they show
    twice counts once, unless the schedule names no hour.

    Raises:
        InvalidInput: the schedule cannot be read, never comes true, or there is no such time zone.
    """
    check_schedule(schedule)
    hourly = _fields(schedule)[1][0] == "*"
    local = after.astimezone(_zone(timezone or "UTC"))
    found = _next(schedule, local)
    if found.fold and not hourly:
        found = _next(schedule, found.replace(minute=59, second=59))
    return found.astimezone(UTC)


def parse_time(text: str, what: str) -> datetime:
    """Return the moment that an ISO 8601 text names; without a zone it is in UTC.

    Raises:
        InvalidInput: it names none.
    """
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise InvalidInput(
            f"Invalid {what} '{text[:_SHOWN]}': must be a date in ISO 8601 format, like"
            " '2030-01-31T12:00:00+00:00'."
        ) from None


_SHOWN = 200
"""Characters of a wrong value that an error repeats."""


def _next(schedule: str, local: datetime) -> datetime:
    try:
        found = croniter(" ".join(_fields(schedule)), local).get_next(datetime)
    except (CroniterBadDateError, OverflowError):
        raise _invalid(schedule, "failed to find next date: it never comes true.") from None
    return found


def _fields(schedule: str) -> list[str]:
    """Return the fields that a schedule consists of.

    Raises:
        InvalidInput: there are too few or too many, or one of them is left to chance.
    """
    fields = _ALIASES.get(schedule.strip().lower(), schedule).split()
    if len(schedule) > _LONGEST or len(fields) not in {5, 6}:
        raise _invalid(schedule, _FORM)
    if any(_RANDOM.match(field) for field in fields):
        raise _invalid(schedule, "Times that are left to chance ('H', 'R') are not supported.")
    return fields


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise InvalidInput(
            f"Invalid timezone: '{name[:_SHOWN]}'. Use IANA timezone format"
            " (e.g. 'America/New_York')."
        ) from None


def _invalid(schedule: str, reason: str) -> InvalidInput:
    return InvalidInput(f"Invalid cron schedule: '{schedule[:_SHOWN]}'. Reason: {reason}")
