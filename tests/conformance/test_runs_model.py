"""Everything that can happen to the runs of one thread, in any order, against a small model."""

import asyncio
import tempfile
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.conformance.acts import checkpoint, root
from tests.conformance.conftest import DATABASES
from tests.support import StandingClock, new_run, new_thread

from weft.server.domain.errors import (
    LeaseLost,
    NothingToCancel,
    RunNotFound,
    ThreadBusy,
)
from weft.server.domain.json import Encoded
from weft.server.domain.runs import Claim, Outcome, Stop

MAX_ATTEMPTS = 2
ERROR = Encoded(b'{"error":"E","message":"m"}')
OUTCOMES = {
    "success": Outcome("success", "idle"),
    "asks": Outcome("success", "interrupted", interrupts=Encoded(b'{"t":[]}')),
    "fails": Outcome("error", "error", error=ERROR),
    "stopped": Outcome("interrupted", "interrupted", error=ERROR),
    "rolled back": Outcome("interrupted", "idle", error=ERROR, roll_back=True),
}

outcomes = st.sampled_from(sorted(OUTCOMES))
actions = st.sampled_from(["interrupt", "rollback"])
picks = st.integers(0, 5)


@dataclass
class ModelRun:
    run_id: object
    status: str = "pending"
    attempt: int = 0
    stop: str | None = None
    claim: Claim | None = None  # while it is valid

    @property
    def active(self):
        return self.status in {"pending", "running"}


@dataclass
class Model:
    runs: list[ModelRun] = field(default_factory=list)
    settled: str = "idle"
    interrupts: bytes | None = None
    error: bytes | None = None
    checkpoints: list[object] = field(default_factory=list)  # the run of each

    def active(self):
        return [run for run in self.runs if run.active]

    def first_in_line(self):
        active = self.active()
        if any(run.status == "running" for run in active):
            return None
        return active[0] if active else None

    def of_claim(self, claim):
        return next((run for run in self.runs if run.claim is claim), None)

    def of_id(self, run_id):
        return next((run for run in self.runs if run.run_id == run_id), None)

    def remove(self, run):
        self.runs.remove(run)
        self.checkpoints = [each for each in self.checkpoints if each != run.run_id]

    def stop(self, run, action):
        """End or mark a run; the first order counts."""
        if run.status == "running":
            run.stop = run.stop or action
        elif action == "interrupt":
            run.status = "interrupted"
        else:
            self.remove(run)

    def end(self, run, outcome):
        run.claim = None
        run.status = outcome.status
        if outcome.roll_back:
            self.remove(run)
        self.settled = outcome.thread_status
        self.interrupts, self.error = outcome.interrupts, outcome.error

    def queue_again(self, run):
        run.status, run.claim = "pending", None


class RunsOfAThread(RuleBasedStateMachine):
    database = "sqlite"

    @initialize()
    def begin(self):
        self.runner = asyncio.Runner()
        self.stack = AsyncExitStack()
        self.clock = StandingClock()
        folder = self.stack.enter_context(tempfile.TemporaryDirectory())
        self.outside = DATABASES[self.database](Path(folder))
        self.storage = self.do(self.stack.enter_async_context(self.outside.open(self.clock)))
        self.thread = self.do(self.storage.threads.create(new_thread())).thread_id
        self.model = Model()
        self.claims = []  # valid or not
        self.ids = []  # of runs that exist or existed

    def teardown(self):
        self.do(self.stack.aclose())
        self.runner.close()

    def do(self, act):
        return self.runner.run(act)

    @rule(strategy=st.sampled_from(["enqueue", "reject", "interrupt", "rollback"]))
    def create(self, strategy):
        new = new_run(self.thread, strategy=strategy, now=self.clock.now())
        active = self.model.active()
        if strategy == "reject" and active:
            with pytest.raises(ThreadBusy):
                self.do(self.storage.runs.create(new))
            return
        created = self.do(self.storage.runs.create(new))
        made_way = active if strategy in {"interrupt", "rollback"} else []
        running = {run.run_id for run in made_way if run.status == "running"}
        assert set(created.superseded) == running
        assert set(created.ended) == {run.run_id for run in made_way} - running
        for run in made_way:
            self.model.stop(run, strategy)
        self.model.runs.append(ModelRun(new.run_id))
        self.ids.append(new.run_id)

    @rule(limit=st.integers(1, 3))
    def claim(self, limit):
        claims = self.do(self.storage.runs.claim("worker", limit, 15))
        run = self.model.first_in_line()
        assert [each.run.run_id for each in claims] == ([run.run_id] if run else [])
        for claim in claims:
            run.status, run.claim, run.attempt = "running", claim, run.attempt + 1
            assert (claim.run.attempt, claim.stop and claim.stop.action) == (run.attempt, run.stop)
            assert claim.fresh == (not self.model.checkpoints)
            self.claims.append(claim)

    @precondition(lambda self: self.claims)
    @rule(pick=picks, wait=st.booleans())
    def write(self, pick, wait):
        claim = self.claims[-1 - pick % len(self.claims)]
        run = self.model.of_claim(claim)
        saver = self.storage.run_checkpointer(claim, wait=wait)
        act = checkpoint(saver, self.thread, claim.run.run_id)
        if run is not None:
            self.do(act)
            self.model.checkpoints.append(run.run_id)
        else:
            with pytest.raises(LeaseLost):
                self.do(self._written(act, claim))

    async def _written(self, act, claim):
        await act
        await self.storage.flush(claim)

    @precondition(lambda self: self.claims)
    @rule(pick=picks, outcome=outcomes)
    def finish(self, pick, outcome):
        claim = self.claims[-1 - pick % len(self.claims)]
        run = self.model.of_claim(claim)
        act = self.storage.runs.finish(claim, OUTCOMES[outcome])
        if run is None:
            with pytest.raises(LeaseLost):
                self.do(act)
            return
        finished = self.do(act)
        self.model.end(run, OUTCOMES[outcome])
        assert finished.waiting == bool(self.model.active())

    @precondition(lambda self: self.claims)
    @rule(pick=picks)
    def release(self, pick):
        claim = self.claims[-1 - pick % len(self.claims)]
        run = self.model.of_claim(claim)
        if run is None:
            with pytest.raises(LeaseLost):
                self.do(self.storage.runs.release(claim))
            return
        self.do(self.storage.runs.release(claim))
        self.model.queue_again(run)
        run.attempt -= 1

    @precondition(lambda self: self.ids)
    @rule(chosen=st.lists(picks, min_size=1, max_size=4), action=actions)
    def cancel(self, chosen, action):
        ids = [self.ids[-1 - pick % len(self.ids)] for pick in chosen]
        act = self.storage.runs.cancel(self.thread, ids, Stop(action, "asked"))
        found = [run for run in self.model.active() if run.run_id in ids]
        if not found:
            with pytest.raises(NothingToCancel):
                self.do(act)
            return
        cancelled = self.do(act)
        running = {run.run_id for run in found if run.status == "running"}
        assert set(cancelled.stopping) == running
        assert set(cancelled.ended) == {run.run_id for run in found} - running
        for run in found:
            self.model.stop(run, action)

    @precondition(lambda self: self.ids)
    @rule(pick=picks)
    def delete(self, pick):
        run_id = self.ids[-1 - pick % len(self.ids)]
        run = self.model.of_id(run_id)
        if run is None:
            with pytest.raises(RunNotFound):
                self.do(self.storage.runs.delete(self.thread, run_id))
            return
        assert self.do(self.storage.runs.delete(self.thread, run_id)).status == run.status
        self.model.remove(run)

    @rule(seconds=st.sampled_from([5, 20]), orphaned=st.booleans())
    def reclaim(self, seconds, orphaned):
        """Whoever has a run renews it every five seconds: after twenty it is dead."""
        self.renew()
        self.clock.move(seconds)
        found = self.do(self.storage.runs.reclaim(max_attempts=MAX_ATTEMPTS, orphaned=orphaned))
        requeued, given_up = [], []
        for run in [run for run in self.model.runs if run.status == "running"]:
            if seconds < 15 and not orphaned:
                continue
            if run.attempt < MAX_ATTEMPTS:
                self.model.queue_again(run)
                requeued.append(run.run_id)
            else:
                run.status, run.claim = "error", None
                self.model.settled, self.model.interrupts = "error", b"{}"
                self.model.error = b"RunAttemptsExhausted"
                given_up.append(run.run_id)
        assert (list(found.requeued), list(found.given_up)) == (requeued, given_up)

    @rule()
    def renew(self):
        renewal = self.do(self.storage.runs.renew("worker", self.claims, 15))
        valid = {run.run_id: run for run in self.model.runs if run.claim is not None}
        held = [claim for claim in self.claims if self.model.of_claim(claim) is None]
        assert sorted(renewal.lost) == sorted(claim.run.run_id for claim in held)
        orders = {run_id: stop.action for run_id, stop in renewal.stops.items()}
        assert orders == {run_id: run.stop for run_id, run in valid.items() if run.stop}

    @invariant()
    def runs_are_the_same(self):
        listed = self.do(self.storage.runs.list(self.thread, limit=99, offset=0, status=None))
        assert [(run.run_id, run.status, run.attempt) for run in reversed(listed)] == [
            (run.run_id, run.status, run.attempt) for run in self.model.runs
        ]
        assert sum(run.status == "running" for run in listed) <= 1

    @invariant()
    def the_thread_is_the_same(self):
        thread = self.do(self.storage.threads.get(self.thread))
        assert thread.status == ("busy" if self.model.active() else self.model.settled)
        assert thread.interrupts == self.model.interrupts
        if self.model.error == b"RunAttemptsExhausted":
            assert self.model.error in thread.error
        else:
            assert thread.error == self.model.error

    @invariant()
    def checkpoints_are_the_same(self):
        self.do(self._flushed())
        saved = self.do(self._saved())
        assert sorted(saved) == sorted(str(run_id) for run_id in self.model.checkpoints)
        counted = self.outside.rows()
        assert counted["checkpoint_blobs"] == counted["checkpoint_writes"] == len(saved)

    async def _flushed(self):
        for run in self.model.runs:
            if run.claim is not None:
                await self.storage.flush(run.claim)

    async def _saved(self):
        saver = self.storage.checkpointer()
        return [each.metadata["run_id"] async for each in saver.alist(root(self.thread))]


@pytest.mark.timeout(90)
@pytest.mark.parametrize("database", DATABASES)
def test_runs_of_a_thread(database):
    machine = type("Machine", (RunsOfAThread,), {"database": database})
    machine.TestCase.settings = settings(
        max_examples=40 if database == "sqlite" else 20,
        stateful_step_count=30,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    machine.TestCase("runTest").runTest()
