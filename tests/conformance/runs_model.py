"""What the runs of some threads must do, in plain Python: a definition for the storages."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from loomline.server.domain.json import Encoded
from loomline.server.domain.runs import ATTEMPTS_EXHAUSTED, Claim

MAX_ATTEMPTS = 2
LEASE_SECONDS = 15


@dataclass
class ModelThread:
    thread_id: UUID
    settled: str = "idle"
    values: Encoded | None = None
    interrupts: Encoded | None = None
    error: Encoded | None = None
    checkpoints: list[UUID] = field(default_factory=list)  # the run of each

    def settle(self, outcome):
        self.settled = outcome.thread_status
        self.interrupts, self.error = outcome.interrupts, outcome.error
        if outcome.values is not None:
            self.values = outcome.values


@dataclass
class ModelRun:
    run_id: UUID
    thread: ModelThread
    place: tuple[datetime, int]  # when it is due, and as which one it came
    temporary: bool = False
    status: str = "pending"
    attempt: int = 0
    stop: str | None = None
    error: Encoded | None = None
    claim: Claim | None = None  # while it is valid
    worker: str | None = None
    lease_until: datetime | None = None

    @property
    def active(self):
        return self.status in {"pending", "running"}

    @property
    def due(self):
        return self.place[0]

    def queue_again(self):
        self.status, self.claim = "pending", None


class Model:
    def __init__(self):
        self.threads = {}
        self.runs = []
        self.came = 0

    def add_thread(self, thread_id):
        self.threads[thread_id] = ModelThread(thread_id)

    def add(self, run_id, thread_id, due, *, temporary=False):
        self.came += 1
        run = ModelRun(run_id, self.threads[thread_id], (due, self.came), temporary)
        self.runs.append(run)

    def of_thread(self, thread_id):
        """Return the runs of a thread as they stand in line."""
        found = [run for run in self.runs if run.thread.thread_id == thread_id]
        return sorted(found, key=lambda run: run.place)

    def active(self, thread_id):
        return [run for run in self.of_thread(thread_id) if run.active]

    def with_status(self, status):
        return [run for run in self.runs if run.status == status]

    def of_id(self, run_id):
        return next((run for run in self.runs if run.run_id == run_id), None)

    def of_claim(self, claim):
        return next((run for run in self.runs if run.claim is claim), None)

    def thread_status(self, thread_id):
        return "busy" if self.active(thread_id) else self.threads[thread_id].settled

    def claimable(self, now):
        """Return the first in line of each thread that has nothing running, if it is due."""
        lines = [self.active(thread_id) for thread_id in self.threads]
        idle = [line for line in lines if all(run.status == "pending" for run in line)]
        first = [line[0] for line in idle if line and line[0].due <= now]
        return sorted(first, key=lambda run: run.place)

    def claim(self, run, claim, worker, now):
        run.status, run.claim, run.worker = "running", claim, worker
        run.attempt += 1
        self.renew(run, now)

    def renew(self, run, now):
        run.lease_until = now + timedelta(seconds=LEASE_SECONDS)

    def supersede(self, run, action):
        """Make a run give way to another: mark it, or end it. The first order counts."""
        if run.status == "running":
            run.stop = run.stop or action
        elif action == "interrupt":
            run.status = "interrupted"
        else:
            self.remove(run)

    def cancel(self, run, action):
        if run.temporary and run.status == "pending":
            self.remove_thread(run.thread.thread_id)
        else:
            self.supersede(run, action)

    def finish(self, run, outcome):
        if run.temporary:
            self.remove_thread(run.thread.thread_id)
            return
        run.status, run.error, run.claim = outcome.status, outcome.error, None
        run.thread.settle(outcome)
        if outcome.roll_back:
            self.remove(run)

    def expired(self, now, *, orphaned):
        running = self.with_status("running")
        return [run for run in running if orphaned or run.lease_until < now]

    def give_up(self, run):
        if run.temporary:
            self.remove_thread(run.thread.thread_id)
            return
        run.status, run.error, run.claim = "error", ATTEMPTS_EXHAUSTED, None
        thread = run.thread
        thread.settled, thread.interrupts, thread.error = "error", b"{}", ATTEMPTS_EXHAUSTED

    def delete(self, run):
        if run.temporary and run.active:
            self.remove_thread(run.thread.thread_id)
        else:
            self.remove(run)

    def remove(self, run):
        self.runs.remove(run)
        left = [each for each in run.thread.checkpoints if each != run.run_id]
        run.thread.checkpoints = left

    def remove_thread(self, thread_id):
        del self.threads[thread_id]
        self.runs = [run for run in self.runs if run.thread.thread_id != thread_id]
