"""Everything that can happen to the runs of some threads, in any order, against a model.

More on demand: LOOMLINE_TEST_MODEL_EXAMPLES=2000
"""

import asyncio
import os
from datetime import timedelta
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.conformance.acts import checkpoint, root
from tests.conformance.runs_model import LEASE_SECONDS, MAX_ATTEMPTS, Model
from tests.support import StandingClock, new_run, new_thread

from loomline.server.domain.errors import (
    LeaseLost,
    NothingToCancel,
    RunNotFound,
    ThreadBusy,
    ThreadNotFound,
)
from loomline.server.domain.ids import uuid7
from loomline.server.domain.json import Encoded
from loomline.server.domain.runs import Outcome, Stop
from loomline.server.domain.threads import ThreadFilter

EXAMPLES = int(os.environ.get("LOOMLINE_TEST_MODEL_EXAMPLES", "0"))

WORKERS = ("anna", "ben")

ERROR = Encoded(b'{"error":"E","message":"m"}')


def outcome_of(name):
    values = Encoded(b'{"by":"%s"}' % uuid4().hex.encode())
    match name:
        case "success":
            return Outcome("success", "idle", values)
        case "asks":
            return Outcome("success", "interrupted", values, interrupts=Encoded(b'{"t":[]}'))
        case "fails":
            return Outcome("error", "error", error=ERROR)
        case "times out":
            return Outcome("timeout", "error", values, error=ERROR)
        case "interrupted":
            return Outcome("interrupted", "interrupted", values, error=ERROR)
    return Outcome("interrupted", "idle", error=ERROR, roll_back=True)


strategies = st.sampled_from(["enqueue", "reject", "interrupt", "rollback"])
outcomes = st.sampled_from(["success", "asks", "fails", "times out", "interrupted", "rolled back"])
actions = st.sampled_from(["interrupt", "rollback"])
workers = st.sampled_from(WORKERS)
picks = st.integers(0, 5)
places = st.integers(0, 1)


class World:
    """A database that all examples share: each leaves it as empty as it was."""

    def __init__(self, database):
        self.runner = asyncio.Runner()
        self.clock = StandingClock()
        self.outside = database
        self._opened = database.open(self.clock)

    def __enter__(self):
        self.storage = self.do(self._opened.__aenter__())
        self.empty = self.outside.rows()
        return self

    def __exit__(self, *_):
        self.do(self._opened.__aexit__(None, None, None))
        self.runner.close()

    def do(self, act):
        return self.runner.run(act)


class RunsOfThreads(RuleBasedStateMachine):
    """Two threads that are always there, and those of temporary runs."""

    world: World

    @initialize()
    def begin(self):
        self.storage, self.clock, self.do = self.world.storage, self.world.clock, self.world.do
        self.model = Model()
        self.places = [self.new_thread(), self.new_thread()]
        self.held = {name: [] for name in WORKERS}
        self.claims = []  # all of them, valid or not
        self.ids = []  # (thread, run) of runs that exist or existed
        self.gone = []  # threads

    def teardown(self):
        for thread_id in list(self.model.threads):
            self.do(self.storage.threads.delete(thread_id))
        assert self.world.outside.rows() == self.world.empty

    def new_thread(self):
        thread_id = self.do(self.storage.threads.create(new_thread())).thread_id
        self.model.add_thread(thread_id)
        return thread_id

    def note_gone(self, before):
        """Give back a thread to each place that has lost its own."""
        gone = before - set(self.model.threads)
        self.gone += gone
        for place, thread_id in enumerate(self.places):
            if thread_id in gone:
                self.places[place] = self.new_thread()

    # Who asks

    @rule(place=places, strategy=strategies, delay=st.sampled_from([0, 0, 0, 10]))
    def create(self, place, strategy, delay):
        thread_id, now = self.places[place], self.clock.now()
        due = now + timedelta(seconds=delay)
        new = new_run(thread_id, strategy=strategy, now=now, due=due)
        active = self.model.active(thread_id)
        if strategy == "reject" and active:
            with pytest.raises(ThreadBusy):
                self.do(self.storage.runs.create(new))
            return
        created = self.do(self.storage.runs.create(new))
        makes_way = active if strategy in {"interrupt", "rollback"} else []
        self.expect_split(makes_way, created.superseded, created.ended)
        for run in makes_way:
            self.model.supersede(run, strategy)
        self.model.add(new.run_id, thread_id, due)
        self.ids.append((thread_id, new.run_id))

    @rule()
    def create_temporary(self):
        new = new_run(uuid7(), create_thread=True, temporary=True, now=self.clock.now())
        self.do(self.storage.runs.create(new))
        self.model.add_thread(new.thread_id)
        self.model.add(new.run_id, new.thread_id, new.created_at, temporary=True)
        self.ids.append((new.thread_id, new.run_id))

    def expect_split(self, runs, running, pending):
        assert list(running) == [run.run_id for run in runs if run.status == "running"]
        assert list(pending) == [run.run_id for run in runs if run.status == "pending"]

    @precondition(lambda self: self.ids)
    @rule(chosen=st.lists(picks, min_size=1, max_size=4, unique=True), action=actions)
    def cancel(self, chosen, action):
        """Of runs of several threads those of one are cancelled: of the thread of the first."""
        named = dict.fromkeys(self.ids[-1 - pick % len(self.ids)] for pick in chosen)
        thread_id, ids = next(iter(named))[0], [run_id for _, run_id in named]
        act = self.storage.runs.cancel(thread_id, ids, Stop(action, "asked"))
        found = [run for run in self.model.active(thread_id) if run.run_id in ids]
        if not found:
            with pytest.raises(NothingToCancel):
                self.do(act)
            return
        found.sort(key=lambda run: ids.index(run.run_id))
        cancelled = self.do(act)
        self.expect_split(found, cancelled.stopping, cancelled.ended)
        before = set(self.model.threads)
        for run in found:
            self.model.cancel(run, action)
        self.note_gone(before)

    @precondition(lambda self: self.ids)
    @rule(pick=picks)
    def delete_run(self, pick):
        thread_id, run_id = self.ids[-1 - pick % len(self.ids)]
        run = self.model.of_id(run_id)
        if run is None:
            with pytest.raises(RunNotFound):
                self.do(self.storage.runs.delete(thread_id, run_id))
            return
        with pytest.raises(RunNotFound):
            self.do(self.storage.runs.delete(uuid7(), run_id))
        assert self.do(self.storage.runs.delete(thread_id, run_id)).status == run.status
        before = set(self.model.threads)
        self.model.delete(run)
        self.note_gone(before)

    @rule(place=places)
    def delete_thread(self, place):
        thread_id = self.places[place]
        stopped = self.do(self.storage.threads.delete(thread_id))
        assert set(stopped) == {run.run_id for run in self.model.active(thread_id)}
        before = set(self.model.threads)
        self.model.remove_thread(thread_id)
        self.note_gone(before)

    @precondition(lambda self: self.gone)
    @rule(pick=picks)
    def come_too_late(self, pick):
        thread_id = self.gone[-1 - pick % len(self.gone)]
        for act in (
            self.storage.runs.create(new_run(thread_id, now=self.clock.now())),
            self.storage.runs.list(thread_id, limit=1, offset=0, status=None),
            self.storage.threads.delete(thread_id),
        ):
            with pytest.raises(ThreadNotFound):
                self.do(act)

    # Who works

    @rule(worker=workers, limit=st.integers(1, 3))
    def claim(self, worker, limit):
        now = self.clock.now()
        claims = self.do(self.storage.runs.claim(worker, limit, LEASE_SECONDS))
        expected = self.model.claimable(now)[:limit]
        assert [each.run.run_id for each in claims] == [run.run_id for run in expected]
        for claim, run in zip(claims, expected, strict=True):
            self.model.claim(run, claim, worker, now)
            assert (claim.run.status, claim.run.attempt) == ("running", run.attempt)
            assert (claim.stop and claim.stop.action) == run.stop
            assert claim.fresh == (not run.thread.checkpoints)
        self.claims += claims
        self.held[worker] += claims

    @rule(worker=workers)
    def renew(self, worker):
        held = self.held[worker]
        renewal = self.do(self.storage.runs.renew(worker, held, LEASE_SECONDS))
        lost = [claim for claim in held if self.model.of_claim(claim) is None]
        assert sorted(renewal.lost) == sorted(claim.run.run_id for claim in lost)
        runs = [self.model.of_claim(claim) for claim in held if claim not in lost]
        orders = {run_id: stop.action for run_id, stop in renewal.stops.items()}
        assert orders == {run.run_id: run.stop for run in runs if run.stop}
        for run in runs:
            self.model.renew(run, self.clock.now())
        self.held[worker] = [claim for claim in held if claim not in lost]

    @precondition(lambda self: any(self.held.values()))
    @rule()
    def renew_what_others_hold(self):
        anna, ben = WORKERS
        for worker, held in ((anna, self.held[ben]), (ben, self.held[anna])):
            renewal = self.do(self.storage.runs.renew(worker, held, LEASE_SECONDS))
            assert sorted(renewal.lost) == sorted(claim.run.run_id for claim in held)

    @rule(worker=workers)
    def crash(self, worker):
        """Nobody renews its leases any more. What it was about to do may still arrive."""
        self.held[worker] = []

    @rule(seconds=st.sampled_from([1, 5, 10, 20]))
    def pass_time(self, seconds):
        self.clock.move(seconds)

    @rule(orphaned=st.sampled_from([False, False, True]))
    def reclaim(self, orphaned):
        act = self.storage.runs.reclaim(max_attempts=MAX_ATTEMPTS, orphaned=orphaned)
        found = self.do(act)
        expired = self.model.expired(self.clock.now(), orphaned=orphaned)
        again = {run.run_id for run in expired if run.attempt < MAX_ATTEMPTS}
        assert set(found.requeued) == again
        assert set(found.given_up) == {run.run_id for run in expired} - again
        for run in expired:
            if run.run_id in again:
                run.queue_again()
            else:
                self.model.give_up(run)

    def picked(self, pick):
        claim = self.claims[-1 - pick % len(self.claims)]
        return claim, self.model.of_claim(claim)

    def let_go(self, claim):
        for held in self.held.values():
            if claim in held:
                held.remove(claim)

    @precondition(lambda self: self.claims)
    @rule(pick=picks, wait=st.booleans())
    def write(self, pick, wait):
        claim, run = self.picked(pick)
        if run is not None:
            self.do(self._written(claim, wait))
            run.thread.checkpoints.append(run.run_id)
        else:
            with pytest.raises(LeaseLost):
                self.do(self._written(claim, wait))

    async def _written(self, claim, wait):
        saver = self.storage.run_checkpointer(claim, wait=wait)
        await checkpoint(saver, claim.run.thread_id, claim.run.run_id)
        await self.storage.flush(claim)

    @precondition(lambda self: self.claims)
    @rule(pick=picks, name=outcomes, unwritten=st.integers(0, 2))
    def finish(self, pick, name, unwritten):
        """End a run whose last checkpoints are still on their way."""
        claim, run = self.picked(pick)
        outcome = outcome_of(name)
        act = self._finished(claim, outcome, unwritten)
        self.let_go(claim)
        if run is None:
            with pytest.raises(LeaseLost):
                self.do(act)
            return
        finished = self.do(act)
        run.thread.checkpoints += [run.run_id] * unwritten
        before = set(self.model.threads)
        self.model.finish(run, outcome)
        self.note_gone(before)
        assert finished.waiting == bool(self.model.active(run.thread.thread_id))

    async def _finished(self, claim, outcome, unwritten):
        saver = self.storage.run_checkpointer(claim, wait=False)
        for _ in range(unwritten):
            await checkpoint(saver, claim.run.thread_id, claim.run.run_id)
        return await self.storage.runs.finish(claim, outcome)

    @precondition(lambda self: self.claims)
    @rule(pick=picks)
    def release(self, pick):
        claim, run = self.picked(pick)
        self.let_go(claim)
        if run is None:
            with pytest.raises(LeaseLost):
                self.do(self.storage.runs.release(claim))
            return
        self.do(self.storage.runs.release(claim))
        run.queue_again()
        run.attempt -= 1

    # What must be true at any time

    @invariant()
    def runs_are_the_same(self):
        for thread_id in self.model.threads:
            act = self.storage.runs.list(thread_id, limit=99, offset=0, status=None)
            listed = [facts(run) for run in reversed(self.do(act))]
            assert listed == [facts(run) for run in self.model.of_thread(thread_id)]
            assert sum(run.status == "running" for run in self.model.of_thread(thread_id)) <= 1

    @invariant()
    def threads_are_the_same(self):
        for thread_id, model in self.model.threads.items():
            thread = self.do(self.storage.threads.get(thread_id))
            assert thread.status == self.model.thread_status(thread_id)
            found = (thread.values, thread.interrupts, thread.error)
            assert found == (model.values, model.interrupts, model.error)

    @rule()
    def counts_are_the_same(self):
        pending, running = (self.model.with_status(each) for each in ("pending", "running"))
        stats = self.do(self.storage.runs.stats())
        assert (stats.pending, stats.running) == (len(pending), len(running))
        found = self.do(self.storage.runs.active(None, after=None, limit=99))
        assert list(found) == sorted(
            ((run.thread.thread_id, run.run_id) for run in pending + running),
            key=lambda pair: pair[1],
        )
        later = [run.due for run in pending if run.due > self.clock.now()]
        assert self.do(self.storage.runs.next_due(self.clock.now())) == min(later, default=None)
        statuses = [self.model.thread_status(thread_id) for thread_id in self.model.threads]
        busy = self.do(self.storage.threads.count(ThreadFilter(status="busy")))
        assert busy == statuses.count("busy")

    @rule()
    def rows_are_the_same(self):
        for thread_id, model in self.model.threads.items():
            saved = self.do(self._saved(thread_id))
            assert sorted(saved) == sorted(str(run_id) for run_id in model.checkpoints)
        rows = self.world.outside.rows()
        number = sum(len(model.checkpoints) for model in self.model.threads.values())
        assert rows["checkpoints"] == rows["checkpoint_blobs"] == number
        assert rows["checkpoint_writes"] == number
        assert (rows["runs"], rows["threads"]) == (len(self.model.runs), len(self.model.threads))

    async def _saved(self, thread_id):
        saver = self.storage.checkpointer()
        return [each.metadata["run_id"] async for each in saver.alist(root(thread_id))]


def facts(run):
    return run.run_id, run.status, run.attempt, run.error


@pytest.mark.timeout(400 + EXAMPLES)
def test_random_histories_of_runs_agree_with_the_model(database):
    with World(database) as world:
        machine = type("Machine", (RunsOfThreads,), {"world": world})
        machine.TestCase.settings = settings(
            max_examples=EXAMPLES or 20,
            stateful_step_count=50,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        )
        machine.TestCase("runTest").runTest()
