"""Processes are killed, stopped and cut off while they work. bench/faults.py does more of it."""

import anyio
import pytest
from tests.faults.acts import (
    cancel_writes,
    cut,
    cut_writes,
    fill_disk_now_and_then,
    freeze_backends,
    kill,
    lock_file,
    lock_tables,
    pause,
    restart_redis,
    stop,
)
from tests.faults.fleet import EMBEDDED, POSTGRES, Fleet, Shape
from tests.faults.load import Load
from tests.faults.verdict import verdict_on

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SCALED = Shape("C: 1 server, 2 workers, PostgreSQL, Redis", 1, 2, postgres=True, redis=True)


async def judged(folder, shape, acts):
    flags = {"lease_seconds": 4, "max_attempts": 50, "shutdown_grace_seconds": 0.1}
    with Fleet(folder, shape, **flags) as fleet:
        async with Load(fleet.urls) as load:
            await under_load(fleet, load, acts)
            await anyio.to_thread.run_sync(fleet.end)
            verdict = verdict_on(load, fleet.record())
    assert not verdict.faults, "\n".join(verdict.faults[:20])
    assert load.unanswered == 0
    assert verdict.counts["states checked at takeovers"] > 0


async def under_load(fleet, load, acts):
    async with load.running(callers=12):
        while not fleet.facts():
            await anyio.sleep(0.01)
        for act in acts:
            await pause()
            await act(fleet)
        await pause()
    await load.settle(240)


@pytest.mark.parametrize(
    ("shape", "acts"),
    [
        (EMBEDDED, [kill, fill_disk_now_and_then, lock_file, kill]),
        (POSTGRES, [cut_writes, kill, cancel_writes, cut, lock_tables]),
        (SCALED, [kill, restart_redis, cut_writes, freeze_backends, stop]),
    ],
    ids="ABC",
)
async def test_a_promise_survives_kills_cuts_and_stalls(tmp_path, shape, acts):
    await judged(tmp_path, shape, acts)
