"""The composition root: the only module that names implementations."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.metadata import version as distribution_version

from starlette.applications import Starlette

from weft._version import __version__
from weft.client import configure_loopback_transports
from weft.server.api.assistants import AssistantRoutes
from weft.server.api.crons import CronRoutes
from weft.server.api.docs import page
from weft.server.api.inside import Inside
from weft.server.api.limits import from_inside
from weft.server.api.meta import Facts, MetaRoutes
from weft.server.api.metrics import Meter, MetricRoutes
from weft.server.api.routes import Handlers, table
from weft.server.api.runs import RunRoutes
from weft.server.api.states import StateRoutes
from weft.server.api.store import StoreRoutes
from weft.server.api.threads import ThreadRoutes
from weft.server.caching import shared_cache
from weft.server.clock import SystemClock
from weft.server.encryption import make_sealer
from weft.server.events.memory import MemoryEventLog
from weft.server.events.signals import MemorySignals
from weft.server.front import Front
from weft.server.graphs.embeddings import load_embeddings
from weft.server.graphs.registry import Graphs
from weft.server.ports.clock import Clock
from weft.server.ports.events import EventLog
from weft.server.ports.signals import Signals
from weft.server.ports.storage import Storage
from weft.server.ports.store import IndexOptions, StoreOptions
from weft.server.services.assistants import AssistantService
from weft.server.services.crons import CronService
from weft.server.services.drawings import DrawingService
from weft.server.services.runs import RunService
from weft.server.services.states import StateService
from weft.server.services.store import StoreService
from weft.server.services.thread_stream import ThreadStreamService
from weft.server.services.threads import ThreadService
from weft.server.settings import Settings, SettingsError, StoreSettings
from weft.server.storage.encrypted import EncryptedStorage, RewritableStorage
from weft.server.storage.saver import SaverOptions
from weft.server.storage.serde import safe_serde
from weft.server.storage.sqlite import SqliteStorage
from weft.server.worker.calls import RunnerCalls
from weft.server.worker.crons import CronStarter
from weft.server.worker.execute import ExecuteOptions, Executor
from weft.server.worker.loop import Worker, WorkerOptions
from weft.server.worker.plan import ServerFacts
from weft.server.worker.runners import RunnerOptions, RunnerPool
from weft.server.worker.sweep import Sweep, Sweeper, store_sweep, thread_sweep

# How long a thread may compute before another gets its turn. Python's own 5 ms would let one busy
# graph delay every step of the API and of other graphs by that much.
SWITCH_SECONDS = 0.001

# Python's own 700 would look for garbage several times in each run.
GC_THRESHOLD = (10_000, 20, 20)


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything a server process consists of. ``alone``: no other one can use its database."""

    storage: Storage
    alone: bool
    worker: Worker
    sweeper: Sweeper
    crons: CronStarter
    assistants: AssistantService
    handlers: Handlers
    meter: Meter


def create_app(settings: Settings) -> Starlette:
    """Return the ASGI application of a server; its lifespan opens and closes everything.

    Raises:
        GraphLoadError: a configured graph, or the application around ours, cannot be loaded.
        EmbeddingsLoadError: what makes vectors for the store cannot be loaded.
    """
    front = Front(settings)
    parts = _assemble(settings, Graphs.load(settings.graphs), _store_options(settings.store), front)
    app: Starlette = front.application(
        table(parts.handlers), parts.meter, lambda: _lifespan(parts, app)
    )
    return app


def make_storage(settings: Settings, clock: Clock, store: StoreOptions | None = None) -> Storage:
    """Return the storage that the settings ask for, not opened yet.

    Raises:
        SettingsError: a package that it needs is not installed, or the user's encryption cannot
            be used.
        UnknownType: a type that checkpoints may be made of does not exist.
    """
    sealer = make_sealer(settings)
    allowed = settings.serde
    serde = safe_serde(allowed.msgpack_types, allowed.json_types, pickle=allowed.pickle)
    plain = _make_plain_storage(settings, clock, store, SaverOptions(sealer, serde))
    return plain if sealer is None else EncryptedStorage(plain, sealer)


def _make_plain_storage(
    settings: Settings, clock: Clock, store: StoreOptions | None, saver: SaverOptions
) -> RewritableStorage:
    if not settings.database_url:
        return SqliteStorage(settings.data_dir / "weft.db", clock=clock, store=store, saver=saver)
    try:
        from weft.server.storage.postgres import PostgresStorage  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise SettingsError(
            "A database in PostgreSQL needs psycopg, which is not installed. Install it with:"
            ' pip install "weft[server,postgres]"'
        ) from error
    return PostgresStorage(
        settings.database_url,
        clock=clock,
        store=store,
        connections=settings.database_connections,
        saver=saver,
    )


@asynccontextmanager
async def _lifespan(parts: Parts, app: Starlette) -> AsyncIterator[None]:
    _tune_interpreter()
    await parts.storage.open()
    # From now on clients without an address, made by graphs, reach this server.
    configure_loopback_transports(Inside(from_inside(app), asyncio.get_running_loop()))
    try:
        with shared_cache(parts.storage.cache):
            await parts.assistants.ensure_defaults()
            async with _working(parts):
                yield
    finally:
        configure_loopback_transports(None)
        await parts.storage.close()


@asynccontextmanager
async def _working(parts: Parts) -> AsyncIterator[None]:
    # If the database is locked, whatever is marked as running was left by a dead process.
    await parts.worker.start(orphaned=parts.alone)
    parts.sweeper.start()
    parts.crons.start()
    try:
        yield
    finally:
        await parts.crons.stop()
        await parts.sweeper.stop()
        await parts.worker.stop()


def _tune_interpreter() -> None:
    """Adapt the interpreter to a server: many short-lived objects beside many that stay.

    The modules loaded by now are some hundred thousand objects that never become garbage. Looking
    through them again and again takes a quarter of the time of short runs, and 50 ms at once.
    """
    sys.setswitchinterval(SWITCH_SECONDS)
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLD)


def _store_options(settings: StoreSettings) -> StoreOptions:
    spec = settings.index
    index = None if spec is None else IndexOptions(spec.dims, load_embeddings(spec), spec.fields)
    return StoreOptions(settings.default_ttl_minutes, settings.refresh_on_read, index)


def _assemble(settings: Settings, graphs: Graphs, store: StoreOptions, front: Front) -> Parts:
    clock = SystemClock()
    storage = make_storage(settings, clock, store)
    events = MemoryEventLog(clock)
    signals = MemorySignals()
    assistants = AssistantService(
        storage=storage, graphs=graphs, events=events, signals=signals, clock=clock
    )
    runs = RunService(
        storage=storage,
        events=events,
        signals=signals,
        assistants=assistants,
        clock=clock,
        thread_ttl=settings.thread_ttl.default,
    )
    pool = RunnerPool(RunnerOptions(least=settings.runners), _loop_factory())
    worker = _worker(
        settings, graphs, pool, storage=storage, events=events, signals=signals, clock=clock
    )
    calls = RunnerCalls(pool)
    drawings = DrawingService(storage=storage, graphs=graphs, calls=calls, assistants=assistants)
    states = StateService(storage=storage, graphs=graphs, calls=calls, signals=signals, clock=clock)
    followers = ThreadStreamService(
        storage=storage, events=events, signals=signals, states=states, clock=clock
    )
    threads = ThreadService(
        storage=storage,
        events=events,
        signals=signals,
        states=states,
        clock=clock,
        default_ttl=settings.thread_ttl.default,
    )
    items = StoreService(storage, calls, indexed=store.index is not None)
    limit = settings.body_limit_bytes
    meter = Meter()
    handlers = Handlers(
        meta=MetaRoutes(
            _facts(),
            storage.ping,
            openapi=lambda: front.describe(table(handlers)),
            docs=page,
        ),
        metrics=MetricRoutes(meter, worker, runs.stats),
        assistants=AssistantRoutes(assistants, drawings, limit),
        threads=ThreadRoutes(threads, limit),
        states=StateRoutes(states, limit),
        runs=RunRoutes(
            runs,
            followers,
            body_limit=limit,
            heartbeat_seconds=settings.heartbeat_seconds,
            headers=front.headers,
        ),
        store=StoreRoutes(items, limit),
        crons=CronRoutes(CronService(storage, assistants, clock), limit),
    )
    sweeper = Sweeper(clock, _sweeps(settings, storage, clock))
    return Parts(
        storage,
        not settings.database_url,
        worker,
        sweeper,
        CronStarter(storage, runs, clock),
        assistants,
        handlers,
        meter,
    )


def _worker(
    settings: Settings,
    graphs: Graphs,
    pool: RunnerPool,
    *,
    storage: Storage,
    events: EventLog,
    signals: Signals,
    clock: Clock,
) -> Worker:
    return Worker(
        storage=storage,
        events=events,
        signals=signals,
        clock=clock,
        executor=Executor(
            storage=storage,
            events=events,
            signals=signals,
            graphs=graphs,
            clock=clock,
            options=_execute_options(settings),
        ),
        pool=pool,
        options=_worker_options(settings),
    )


def _sweeps(settings: Settings, storage: Storage, clock: SystemClock) -> list[Sweep]:
    ttl = settings.thread_ttl
    threads = thread_sweep(
        storage,
        clock,
        interval_seconds=ttl.sweep_interval_minutes * 60,
        limit=ttl.sweep_limit,
    )
    minutes = settings.store.sweep_interval_minutes
    if minutes is None:
        return [threads]
    return [threads, store_sweep(storage, clock, interval_seconds=minutes * 60)]


def _execute_options(settings: Settings) -> ExecuteOptions:
    return ExecuteOptions(
        facts=ServerFacts(__version__),
        show_all_errors=settings.dev,
        timeout_seconds=settings.run_timeout_seconds,
        resumable_keep_seconds=settings.resumable_keep_seconds,
    )


def _worker_options(settings: Settings) -> WorkerOptions:
    return WorkerOptions(
        name=f"{socket.gethostname()}-{os.getpid()}",
        concurrency=settings.concurrency,
        lease_seconds=settings.lease_seconds,
        max_attempts=settings.max_attempts,
        grace_seconds=settings.shutdown_grace_seconds,
    )


def _facts() -> Facts:
    return Facts(__version__, distribution_version("langgraph"))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    try:
        import uvloop  # noqa: PLC0415 - not there on Windows
    except ImportError:
        return asyncio.new_event_loop
    return uvloop.new_event_loop
