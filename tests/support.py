"""What several tests need to build their worlds."""

import asyncio
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

from loomline.encryption.aes import AesEncryption
from loomline.server.clock import SystemClock
from loomline.server.domain.ids import uuid7
from loomline.server.domain.retention import Retention
from loomline.server.domain.run_spec import RunSpec, StoredSpec
from loomline.server.domain.runs import NewRun
from loomline.server.domain.threads import NewThread
from loomline.server.events.memory import MemoryEventLog
from loomline.server.events.signals import MemorySignals
from loomline.server.ports.measures import NO_MEASURES
from loomline.server.storage.encrypted import EncryptedStorage
from loomline.server.storage.postgres import PostgresStorage
from loomline.server.storage.saver import SaverOptions
from loomline.server.storage.sealing import Sealer
from loomline.server.storage.sqlite import SqliteStorage
from loomline.server.worker.loop import Worker, WorkerOptions
from loomline.server.worker.runners import Runner, RunnerOptions

SPEC_FIELDS = {"temporary", "resumable", "input", "command", "events"}
CONNECTIONS = 4
"""Connections of a storage on PostgreSQL."""

ASSISTANT = UUID("00000000-0000-4000-8000-000000000001")


class StandingClock:
    """A clock that moves only when it is told to."""

    def __init__(self):
        self.time = datetime(2026, 1, 1, tzinfo=UTC)
        self.seconds = 0.0

    def now(self):
        return self.time

    def monotonic(self):
        return self.seconds

    def move(self, seconds):
        self.time += timedelta(seconds=seconds)
        self.seconds += seconds

    def set_back(self, seconds):
        """Change the wall clock, as an administrator or NTP does."""
        self.time -= timedelta(seconds=seconds)

    async def sleep(self, seconds):
        self.move(seconds)


@asynccontextmanager
async def open_storage(folder, clock=None, store=None):
    storage = SqliteStorage(folder / "loomline.db", clock=clock or SystemClock(), store=store)
    await storage.open()
    try:
        yield storage
    finally:
        await storage.close()


class ReadableJson(AesEncryption):
    """Encryption that leaves JSON as it is, so that filters find what they find without it."""

    async def _encrypt_json(self, _, data):
        return data


@asynccontextmanager
async def open_encrypted(folder, clock=None, store=None):
    sealer = Sealer(ReadableJson([b"k" * 32]))
    inner = SqliteStorage(
        folder / "loomline.db",
        clock=clock or SystemClock(),
        store=store,
        saver=SaverOptions(sealer),
    )
    storage = EncryptedStorage(inner, sealer)
    await storage.open()
    try:
        yield storage
    finally:
        await storage.close()


@asynccontextmanager
async def open_postgres(url, clock=None, **options):
    storage = PostgresStorage(url, clock=clock or SystemClock(), connections=CONNECTIONS, **options)
    await storage.open()
    try:
        yield storage
    finally:
        await storage.close()


def new_thread(thread_id=None, metadata=None, if_exists="raise", now=None):
    return NewThread(
        thread_id=thread_id or uuid7(),
        metadata=metadata or {},
        if_exists=if_exists,
        now=now or datetime.now(UTC),
    )


def new_run(thread_id, *, strategy="enqueue", now=None, due=None, kwargs=None, **changes):
    now = now or datetime.now(UTC)
    asked = {name: changes.pop(name) for name in SPEC_FIELDS & changes.keys()}
    fields = {
        "run_id": uuid7(),
        "thread_id": thread_id,
        "assistant_id": ASSISTANT,
        "graph_id": "graph",
        "assistant_metadata": {"created_by": "system"},
        "metadata": {},
        "request": StoredSpec(kwargs, None if kwargs else RunSpec(**asked)),
        "multitask_strategy": strategy,
        "create_thread": False,
        "thread_config": {},
        "created_at": due or now,
        "now": now,
    }
    return NewRun(**(fields | changes))


def with_thread_events(new):
    """Return a run that reports itself in the events of the thread protocol."""
    return replace(new, request=StoredSpec(spec=new.spec.with_thread_events()))


def open_descriptors():
    """Return the path that each file descriptor of this process stands for, by its number."""
    found = {}
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # the one that lists them
            found[descriptor.name] = descriptor.readlink()
    return found


def worker_of(storage, clock, executor=None, measures=NO_MEASURES, **options):
    """Return a worker that has not been started, with its events and signals in memory."""
    given = {
        "name": "w",
        "concurrency": 4,
        "lease_seconds": 60,
        "max_attempts": 3,
        "grace_seconds": 10,
        "retention": Retention(120.0),
    }
    return Worker(
        storage=storage,
        events=MemoryEventLog(clock),
        signals=MemorySignals(),
        clock=clock,
        executor=executor,
        runner=Runner(RunnerOptions(), asyncio.new_event_loop),
        options=WorkerOptions(**given | options),
        measures=measures,
    )
