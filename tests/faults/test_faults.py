"""Processes are killed, stopped and cut off while they work. bench/faults.py does more of it."""

import anyio
import pytest
from tests.faults.acts import cut, kill, pause, restart_redis, stop
from tests.faults.fleet import EMBEDDED, POSTGRES, Fleet, Shape
from tests.faults.load import Load
from tests.faults.verdict import judge

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

SCALED = Shape("C: 1 server, 2 workers, PostgreSQL, Redis", 1, 2, postgres=True, redis=True)


async def judged(folder, shape, acts):
    flags = {"lease_seconds": 4, "max_attempts": 50, "shutdown_grace_seconds": 0.1}
    with Fleet(folder, shape, **flags) as fleet:
        async with Load(fleet.urls) as load:
            await under_load(fleet, load, acts)
        verdict = judge(load, fleet)
    assert verdict.faults == []
    assert load.unanswered == 0
    assert verdict.counts["runs executed more than once"] > 0


async def under_load(fleet, load, acts):
    async with load.running(callers=12):
        while not fleet.notes.exists():
            await anyio.sleep(0.01)
        for act in acts:
            await pause()
            await act(fleet)
        await pause()
    await load.settle(60)


@pytest.mark.parametrize(
    ("shape", "acts"),
    [
        (EMBEDDED, [kill, kill]),
        (POSTGRES, [kill, cut]),
        (SCALED, [kill, restart_redis, stop]),
    ],
    ids="ABC",
)
async def test_what_is_promised_is_kept(tmp_path, shape, acts):
    await judged(tmp_path, shape, acts)
