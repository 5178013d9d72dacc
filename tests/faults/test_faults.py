"""Processes are killed, stopped and cut off while they work. bench/faults.py does more of it."""

import pytest
from tests.faults.acts import cut, kill, pause, stop
from tests.faults.fleet import EMBEDDED, POSTGRES, Fleet
from tests.faults.load import Load
from tests.faults.verdict import judge

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


async def judged(folder, shape, acts, **flags):
    fleet = Fleet(folder, shape, lease_seconds=3, max_attempts=50, **flags)
    with fleet:
        async with Load(fleet.urls) as load:
            await under_load(fleet, load, acts)
        verdict = judge(load, fleet)
    assert verdict.faults == []
    assert load.unanswered == 0
    return verdict


async def under_load(fleet, load, acts):
    async with load.running(callers=12):
        for act in acts:
            await pause()
            await act(fleet)
        await pause()
    await load.settle(60)


@pytest.mark.parametrize("shape", [EMBEDDED, POSTGRES], ids=lambda shape: shape.name[0])
async def test_killed_and_stopped_under_load(tmp_path, shape):
    verdict = await judged(tmp_path, shape, [kill, stop, kill, stop], shutdown_grace_seconds=0.1)
    assert verdict.counts["runs executed more than once"] > 0


async def test_connections_to_the_database_are_cut(tmp_path):
    await judged(tmp_path, POSTGRES, [cut] * 5)
