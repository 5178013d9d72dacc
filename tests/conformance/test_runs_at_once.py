"""What callers and workers do to the runs of a few threads at the same time, in a real database."""

import asyncio
import random
from collections import Counter

import pytest
from tests.conformance.acts import checkpoint, root, thread_of
from tests.support import new_run

from loomline.server.domain.errors import (
    LeaseLost,
    NothingToCancel,
    RunNotFound,
    ThreadBusy,
    ThreadNotFound,
)
from loomline.server.domain.runs import Outcome, Stop

EXPECTED = (LeaseLost, NothingToCancel, RunNotFound, ThreadBusy, ThreadNotFound)

OUTCOMES = [
    Outcome("success", "idle"),
    Outcome("error", "error"),
    Outcome("interrupted", "idle", roll_back=True),
]


class Crowd:
    """Tasks that do one thing after the other, each on its own."""

    def __init__(self, storage, clock, threads):
        self.storage = storage
        self.clock = clock
        self.threads = threads
        self.ids = []  # (thread, run)
        self.claims = []
        self.claimed = Counter()
        self.released = Counter()
        self.finished = Counter()

    async def create(self):
        thread = random.choice(self.threads)
        strategy = random.choice(["enqueue", "enqueue", "reject", "interrupt", "rollback"])
        new = new_run(thread, strategy=strategy, now=self.clock.now())
        await self.storage.runs.create(new)
        self.ids.append((thread, new.run_id))

    async def claim(self):
        claims = await self.storage.runs.claim("worker", random.randint(1, 3), 15)
        self.claimed.update(claim.run.run_id for claim in claims)
        self.claims += claims

    async def finish(self):
        claim = self._some_claim()
        saver = self.storage.run_checkpointer(claim, wait=random.random() < 0.5)
        await checkpoint(saver, claim.run.thread_id, claim.run.run_id)
        await self.storage.runs.finish(claim, random.choice(OUTCOMES))
        self.finished[claim.run.run_id] += 1

    async def release(self):
        claim = self._some_claim()
        await self.storage.runs.release(claim)
        self.released[claim.run.run_id] += 1

    async def renew(self):
        await self.storage.runs.renew("worker", self.claims[-10:], 15)

    async def cancel(self):
        thread, run_id = self._some_run()
        action = random.choice(["interrupt", "rollback"])
        await self.storage.runs.cancel(thread, [run_id], Stop(action, "asked"))

    async def delete(self):
        await self.storage.runs.delete(*self._some_run())

    async def reclaim(self):
        await self.storage.runs.reclaim(max_attempts=99, orphaned=random.random() < 0.3)

    def _some_claim(self):
        if not self.claims:
            raise LeaseLost("none")
        return random.choice(self.claims[-5:])

    def _some_run(self):
        if not self.ids:
            raise RunNotFound("none")
        return random.choice(self.ids[-8:])

    async def empty_the_queue(self):
        """Let every run that is left end."""
        await self.storage.runs.reclaim(max_attempts=99, orphaned=True)
        while claims := await self.storage.runs.claim("last", 9, 15):
            for claim in claims:
                self.claimed[claim.run.run_id] += 1
                await self.storage.runs.finish(claim, OUTCOMES[0])

    async def act(self, times):
        acts = [
            self.create, self.create, self.claim, self.claim, self.finish, self.finish,
            self.release, self.renew, self.cancel, self.delete, self.reclaim,
        ]  # fmt: skip
        for _ in range(times):
            try:
                await random.choice(acts)()
            except EXPECTED:
                await asyncio.sleep(0)


@pytest.mark.timeout(400)
async def test_concurrent_callers_and_workers_end_each_run_once(storage, clock):
    threads = [await thread_of(storage) for _ in range(3)]
    crowd = Crowd(storage, clock, threads)
    await asyncio.gather(*(crowd.act(40) for _ in range(16)))
    assert max(crowd.finished.values()) == 1
    await crowd.empty_the_queue()
    for thread in threads:
        runs = await storage.runs.list(thread, limit=1000, offset=0, status=None)
        assert not any(run.active for run in runs)
        assert (await storage.threads.get(thread)).status != "busy"
        for run in runs:
            assert run.attempt == crowd.claimed[run.run_id] - crowd.released[run.run_id]
        left = {str(run.run_id) for run in runs}
        saved = [each async for each in storage.checkpointer().alist(root(thread))]
        assert {each.metadata["run_id"] for each in saved} <= left
