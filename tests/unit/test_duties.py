"""Duties: repeated acts that survive outages and errors, and stop at once."""

import asyncio
import logging
from contextlib import asynccontextmanager

import pytest
from tests.support import StandingClock

from loomline.server.domain.errors import StorageUnavailable
from loomline.server.domain.repetitions import REPORT_SECONDS, Repetitions
from loomline.server.duties import Duties, Duty, Failures, Pauses

logger = logging.getLogger("loomline.test")


class StepClock(StandingClock):
    """A clock on which sleepers wait until the test wakes them."""

    def __init__(self):
        super().__init__()
        self.sleepers = asyncio.Queue()

    async def sleep(self, seconds):
        woken = asyncio.Event()
        self.sleepers.put_nowait((seconds, woken))
        await woken.wait()
        self.move(seconds)

    async def next_sleep(self):
        """Return the seconds of the next sleep, and wake the sleeper."""
        seconds, woken = await self.sleepers.get()
        woken.set()
        return seconds


class Act:
    """Rounds with given outcomes: exceptions are raised, numbers returned."""

    def __init__(self, *outcomes, rest=1.0):
        self.outcomes = list(outcomes)
        self.rest = rest
        self.rounds = 0
        self.running = 0
        self.most_running = 0

    async def __call__(self):
        self.rounds += 1
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            await asyncio.sleep(0)
            outcome = self.outcomes.pop(0) if self.outcomes else self.rest
            if isinstance(outcome, BaseException):
                raise outcome
            return outcome
        finally:
            self.running -= 1


@pytest.fixture
def clock():
    return StepClock()


@asynccontextmanager
async def started(act, clock, **options):
    duty = Duty("test", act, logger=logger, sleep=clock.sleep, **options)
    duty.start()
    try:
        yield duty
    finally:
        await duty.stop()


@pytest.mark.parametrize(
    "error",
    [StorageUnavailable("away"), ZeroDivisionError("defect"), asyncio.CancelledError("elsewhere")],
    ids=lambda error: type(error).__name__,
)
async def test_duty_continues_after_a_failed_round(clock, error):
    act = Act(error, 7.0)
    async with started(act, clock):
        assert 0 < await clock.next_sleep() <= 0.5
        assert await clock.next_sleep() == 7.0
    assert act.rounds >= 2


async def test_pauses_after_failures_double_up_to_their_bound(clock):
    act = Act(*[StorageUnavailable("away")] * 6, 7.0, StorageUnavailable("away"))
    async with started(act, clock, pauses=Pauses(1.0, 8.0)):
        pauses = [await clock.next_sleep() for _ in range(6)]
        assert await clock.next_sleep() == 7.0
        again = await clock.next_sleep()
    for pause, most in zip([*pauses, again], [1, 2, 4, 8, 8, 8, 1], strict=True):
        assert most / 2 <= pause <= most


async def test_first_round_waits_for_the_given_time(clock):
    act = Act()
    async with started(act, clock, after_seconds=5.0):
        seconds, woken = await clock.sleepers.get()
        assert (seconds, act.rounds) == (5.0, 0)
        woken.set()
        await clock.sleepers.get()
        assert act.rounds == 1


async def test_rounds_of_a_duty_never_overlap(clock):
    act = Act(rest=0.0)
    async with started(act, clock) as duty:
        with pytest.raises(RuntimeError, match="'test' has been started already"):
            duty.start()
        while act.rounds < 10:
            await asyncio.sleep(0)
    assert act.most_running == 1


async def test_duty_can_be_started_again_after_its_stop(clock):
    act = Act()
    async with started(act, clock) as duty:
        await clock.sleepers.get()
        await duty.stop()
        duty.start()
        await clock.sleepers.get()
    assert act.rounds == 2


@pytest.mark.parametrize("where", ["before the first step", "in a round", "in a pause"])
async def test_stop_ends_the_task_wherever_it_waits(clock, where):
    begun, ended = asyncio.Event(), []

    async def act():
        begun.set()
        try:
            await asyncio.sleep(0 if where == "in a pause" else 3600)
        finally:
            ended.append(True)
        return 3600.0

    duty = Duty("test", act, logger=logger, sleep=clock.sleep)
    duty.start()
    if where == "in a round":
        await begun.wait()
    if where == "in a pause":
        await clock.sleepers.get()
    await duty.stop()
    assert ended == ([] if where == "before the first step" else [True])
    assert not any(task.get_name() == "test" for task in asyncio.all_tasks())


async def test_no_round_begins_after_a_round_that_swallows_its_cancellation(clock):
    begun, rounds = asyncio.Event(), []

    async def act():
        rounds.append(True)
        begun.set()
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            return 0.0

    async with started(act, clock) as duty:
        await begun.wait()
        await duty.stop()
    assert len(rounds) == 1


async def test_stop_leaves_no_task_when_it_is_cancelled(clock):
    begun, release = asyncio.Event(), asyncio.Event()

    async def act():
        begun.set()
        try:
            await asyncio.sleep(3600)
        finally:
            await release.wait()
        return 0.0

    async with started(act, clock) as duty:
        await begun.wait()
        stopping = asyncio.create_task(duty.stop())
        await asyncio.sleep(0)
        stopping.cancel()
        await asyncio.gather(stopping, return_exceptions=True)
        release.set()
        await duty.stop()
        assert not any(task.get_name() == "test" for task in asyncio.all_tasks())


async def test_failed_round_closes_the_context_of_the_rounds(clock):
    notes = []

    @asynccontextmanager
    async def within():
        notes.append("open")
        try:
            yield
        finally:
            notes.append("close")

    act = Act(1.0, StorageUnavailable("away"), 2.0)
    async with started(act, clock, within=within):
        for _ in range(3):
            await clock.next_sleep()
    assert notes == ["open", "close", "open", "close"]


async def test_context_that_cannot_be_opened_is_a_failed_round(clock):
    @asynccontextmanager
    async def within():
        if not tried:
            tried.append(True)
            raise StorageUnavailable("away")
        yield

    tried, act = [], Act(7.0)
    async with started(act, clock, within=within):
        assert await clock.next_sleep() <= 0.5
        assert await clock.next_sleep() == 7.0


async def test_recovery_after_an_outage_is_logged_once(clock, caplog):
    act = Act(*[StorageUnavailable("away")] * 3, 1.0, 1.0)
    with caplog.at_level("INFO", logger="loomline.test"):
        async with started(act, clock):
            for _ in range(5):
                await clock.next_sleep()
    assert [(each.levelname, each.message, each.duty) for each in caplog.records] == [
        ("WARNING", "the database is unavailable: away", "test"),
        ("INFO", "a duty works again", "test"),
    ]
    assert caplog.records[1].failures == 3


def raised(error):
    try:
        raise error
    except type(error) as found:
        return found


def test_each_kind_of_failure_is_logged_once_in_five_minutes(caplog):
    time = [0.0]
    failures = Failures("test", logger, Repetitions(lambda: time[0]))
    for time[0] in (0.0, 1.0, REPORT_SECONDS - 1, REPORT_SECONDS, REPORT_SECONDS + 1):
        failures.note(StorageUnavailable("away"))
        failures.note(raised(ValueError("defect")))
        failures.note(raised(KeyError("defect")))
    reported = [(each.levelname, each.failures) for each in caplog.records]
    assert reported == [
        ("WARNING", 1), ("ERROR", 2), ("ERROR", 3),
        ("WARNING", 10), ("ERROR", 11), ("ERROR", 12),
    ]  # fmt: skip
    assert [each.exc_info is not None for each in caplog.records] == [False, True, True] * 2


async def test_duties_start_and_stop_together(clock):
    acts = [Act(), Act()]
    duties = Duties(
        Duty(str(number), act, logger=logger, sleep=clock.sleep) for number, act in enumerate(acts)
    )
    duties.start()
    for _ in acts:
        await clock.sleepers.get()
    await duties.stop()
    assert [act.rounds for act in acts] == [1, 1]
