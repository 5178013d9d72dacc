"""The composition root: the only module that names implementations."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import sys
import warnings
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass
from importlib.metadata import version as distribution_version
from typing import TYPE_CHECKING

from starlette.applications import Starlette

from weft._version import __version__
from weft.client import configure_loopback_transports
from weft.server.api.assistants import AssistantRoutes
from weft.server.api.crons import CronRoutes
from weft.server.api.docs import page
from weft.server.api.inside import Door, Inside, show_official_clients
from weft.server.api.meta import Facts, MetaRoutes
from weft.server.api.metrics import Meter, MetricRoutes
from weft.server.api.protocol import ProtocolRoutes
from weft.server.api.routes import Handlers, starlette_routes, table
from weft.server.api.runs import RunRoutes
from weft.server.api.states import StateRoutes
from weft.server.api.store import StoreRoutes
from weft.server.api.threads import ThreadRoutes
from weft.server.authn.setup import AuthSetUp, set_up
from weft.server.authz.authorizer import Authorizer
from weft.server.caching import shared_cache
from weft.server.clock import SystemClock
from weft.server.domain.runs import QueueLimits
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
from weft.server.services.protocol_commands import ProtocolCommands
from weft.server.services.protocol_events import ProtocolEvents
from weft.server.services.run_limits import RunLimits
from weft.server.services.run_watch import WatchedEvents
from weft.server.services.runs import Admission, RunService
from weft.server.services.states import StateService
from weft.server.services.store import StoreService
from weft.server.services.thread_stream import ThreadStreamService
from weft.server.services.threads import ThreadService
from weft.server.services.webhooks import WebhookGuard
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
from weft.server.worker.posting import SystemResolver, WebhookClient
from weft.server.worker.runners import RunnerOptions, RunnerPool
from weft.server.worker.sweep import (
    Sweep,
    Sweeper,
    key_sweep,
    store_sweep,
    thread_sweep,
    webhook_sweep,
)
from weft.server.worker.webhooks import SenderOptions, WebhookSender

if TYPE_CHECKING:
    from weft.server.events.redis import RedisEvents

# How long a thread may compute before another gets its turn. Python's own 5 ms would let one busy
# graph delay every step of the API and of other graphs by that much.
SWITCH_SECONDS = 0.001

# Python's own 700 would look for garbage several times in each run.
GC_THRESHOLD = (10_000, 20, 20)

HEALTH_PATHS = frozenset({"/ok", "/metrics"})
# Said once per process by langgraph, about what the thread protocol is made of.
_EXPECTED_WARNING = "The v3 streaming protocol on Pregel is experimental"


@dataclass(frozen=True, slots=True)
class Webhooks:
    """What sends webhooks."""

    resolver: SystemResolver
    client: WebhookClient
    guard: WebhookGuard
    sender: WebhookSender


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything a server process consists of. ``alone``: no other one can use its database.

    ``protected``: nobody is served without being known.
    """

    storage: Storage
    alone: bool
    redis: RedisEvents | None
    watch: WatchedEvents
    worker: Worker
    sweeper: Sweeper
    crons: CronStarter
    webhooks: Webhooks
    assistants: AssistantService
    handlers: Handlers
    meter: Meter
    protected: bool


@dataclass(frozen=True, slots=True)
class Service:
    """A process that serves, executes runs, or both.

    ``app`` is its whole API, and the lifespan of that opens and closes everything: also where the
    process only executes runs, whose graphs may be clients of their own server. ``health`` only
    tells how it is. ``drain`` makes it take no more runs; it is called on the loop.
    """

    app: Starlette
    health: Starlette
    drain: Callable[[], None]


def create_app(settings: Settings) -> Starlette:
    """Return the ASGI application of a server; its lifespan opens and closes everything.

    Raises:
        GraphLoadError: a configured graph, or the application around ours, cannot be loaded.
        AuthLoadError: authentication is configured and cannot be set up.
        EmbeddingsLoadError: what makes vectors for the store cannot be loaded.
    """
    return create_service(settings).app


def create_service(settings: Settings) -> Service:
    """Return all of a process, nothing of which is open yet.

    Raises:
        GraphLoadError: a configured graph, or the application around ours, cannot be loaded.
        AuthLoadError: authentication is configured and cannot be set up.
        EmbeddingsLoadError: what makes vectors for the store cannot be loaded.
        SettingsError: a driver is not installed, or an address cannot be read.
    """
    # Before graphs are imported: they may make clients while they are.
    door = Door()
    show_official_clients(door)
    auth = set_up(settings.auth, os.environ, SystemClock())
    front = Front(settings, auth)
    graphs = Graphs.load(settings.graphs)
    parts = _assemble(settings, graphs, _store_options(settings.store), auth, front)
    entries = table(parts.handlers)
    app: Starlette = front.application(
        entries, parts.handlers.protocol, parts.meter, lambda: _lifespan(parts, app, door)
    )
    health = [entry for entry in entries if entry.path in HEALTH_PATHS]
    return Service(
        app=app,
        health=Starlette(routes=starlette_routes(health, parts.meter)),
        drain=parts.worker.drain,
    )


def make_storage(
    settings: Settings,
    clock: Clock,
    store: StoreOptions | None = None,
    *,
    serving: bool = True,
    beside: bool = False,
) -> Storage:
    """Return the storage that the settings ask for, not opened yet.

    Args:
        settings: What has been asked for.
        clock: Time.
        store: How the store works.
        serving: Whether runs will be created or executed, which not every other process allows.
        beside: Whether a server may be using the database at the same time.

    Raises:
        SettingsError: a package that it needs is not installed, or the user's encryption cannot
            be used.
        UnknownType: a type that checkpoints may be made of does not exist.
    """
    sealer = make_sealer(settings)
    allowed = settings.serde
    serde = safe_serde(allowed.msgpack_types, allowed.json_types, pickle=allowed.pickle)
    plain = _make_plain_storage(
        settings, clock, store, SaverOptions(sealer, serde), serving=serving, beside=beside
    )
    return plain if sealer is None else EncryptedStorage(plain, sealer)


def _make_plain_storage(
    settings: Settings,
    clock: Clock,
    store: StoreOptions | None,
    saver: SaverOptions,
    *,
    serving: bool,
    beside: bool,
) -> RewritableStorage:
    if not settings.database_url:
        path = settings.data_dir / "weft.db"
        return SqliteStorage(path, clock=clock, store=store, beside=beside, saver=saver)
    try:
        from weft.server.storage.postgres import PostgresStorage, Use  # noqa: PLC0415 - an extra
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
        use=Use(shared=bool(settings.redis_url)) if serving else None,
        saver=saver,
    )


def make_redis(settings: Settings) -> RedisEvents | None:
    """Return the connections to Redis, not opened yet; None: the settings do not ask for it.

    Raises:
        SettingsError: the driver is not installed, or the address cannot be read.
    """
    if not settings.redis_url:
        return None
    try:
        from weft.server.events.redis import RedisEvents, RedisOptions  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise SettingsError(
            "--redis-url needs redis, which is not installed. Install it with:"
            ' pip install "weft[server,postgres]"'
        ) from error
    options = RedisOptions(prefix=settings.redis_prefix)
    try:
        return RedisEvents(settings.redis_url, options, loop_factory=_loop_factory())
    except ValueError:
        # The driver's text may quote the address, and with it the password.
        raise SettingsError(
            "The address of Redis (--redis-url) cannot be read. It looks like"
            " redis://user:password@host:6379/0."
        ) from None


@asynccontextmanager
async def _lifespan(parts: Parts, app: Starlette, door: Door) -> AsyncIterator[None]:
    _tune_interpreter()
    async with AsyncExitStack() as stack:
        # What opens only half is closed as well.
        stack.push_async_callback(parts.storage.close)
        await parts.storage.open()
        if parts.redis is not None:
            await parts.redis.open()
            stack.push_async_callback(parts.redis.aclose)
        async with _working(parts, app, door):
            yield


@asynccontextmanager
async def _working(parts: Parts, app: Starlette, door: Door) -> AsyncIterator[None]:
    # From now on clients without an address, made by graphs, reach this server.
    inside = Inside(app, asyncio.get_running_loop(), strict=parts.protected)
    configure_loopback_transports(inside)
    door.open(inside)
    with ExitStack() as stack:
        stack.callback(parts.webhooks.resolver.close)
        stack.callback(door.close)
        stack.callback(configure_loopback_transports, None)
        stack.enter_context(shared_cache(parts.storage.cache))
        await parts.assistants.ensure_defaults()
        # If the database is locked, whatever is marked as running was left by a dead process.
        await parts.worker.start(orphaned=parts.alone)
        parts.watch.start()
        parts.sweeper.start()
        parts.crons.start()
        parts.webhooks.client.open(app)
        await parts.webhooks.sender.start(orphaned=parts.alone)
        try:
            yield
        finally:
            await parts.crons.stop()
            await parts.sweeper.stop()
            await parts.worker.stop()
            await parts.watch.stop()
            # After the last run has ended: what it has to tell may still go out.
            await parts.webhooks.sender.stop()
            await parts.webhooks.client.aclose()


def _tune_interpreter() -> None:
    """Adapt the interpreter to a server: many short-lived objects beside many that stay.

    The modules loaded by now are some hundred thousand objects that never become garbage. Looking
    through them again and again takes a quarter of the time of short runs, and 50 ms at once.
    """
    warnings.filterwarnings("ignore", message=_EXPECTED_WARNING)
    sys.setswitchinterval(SWITCH_SECONDS)
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLD)


def _store_options(settings: StoreSettings) -> StoreOptions:
    spec = settings.index
    index = None if spec is None else IndexOptions(spec.dims, load_embeddings(spec), spec.fields)
    return StoreOptions(settings.default_ttl_minutes, settings.refresh_on_read, index)


@dataclass(frozen=True, slots=True)
class _Core:
    """What everything else is made with."""

    clock: SystemClock
    storage: Storage
    redis: RedisEvents | None
    watch: WatchedEvents
    signals: Signals
    authz: Authorizer


@dataclass(frozen=True, slots=True)
class _Services:
    """The use cases, one object per resource."""

    assistants: AssistantService
    drawings: DrawingService
    runs: RunService
    states: StateService
    threads: ThreadService
    followers: ThreadStreamService
    numbered: ProtocolEvents
    items: StoreService
    crons: CronService


def _assemble(
    settings: Settings, graphs: Graphs, store: StoreOptions, auth: AuthSetUp, front: Front
) -> Parts:
    core = _core(settings, store, auth)
    webhooks = _webhooks(settings, core.storage, core.signals, core.clock)
    pool = RunnerPool(RunnerOptions(least=settings.runners), _loop_factory())
    worker = _worker(
        settings, graphs, pool,
        storage=core.storage, events=core.watch, signals=core.signals, clock=core.clock,
    )  # fmt: skip
    indexed = store.index is not None
    services = _services(settings, core, graphs, RunnerCalls(pool), webhooks.guard, indexed=indexed)
    meter = Meter()
    metrics = MetricRoutes(
        meter,
        worker,
        services.runs.stats,
        lambda: _gauges(core.watch, core.redis),
        webhooks.sender.report,
    )
    return Parts(
        storage=core.storage,
        alone=not settings.database_url,
        redis=core.redis,
        watch=core.watch,
        worker=worker,
        sweeper=Sweeper(core.clock, _sweeps(settings, core.storage, core.clock)),
        crons=CronStarter(core.storage, services.runs, core.clock),
        webhooks=webhooks,
        assistants=services.assistants,
        handlers=_handlers(settings, core, services, metrics, front),
        meter=meter,
        protected=auth.protected,
    )


def _core(settings: Settings, store: StoreOptions, auth: AuthSetUp) -> _Core:
    clock = SystemClock()
    storage = make_storage(settings, clock, store)
    redis = make_redis(settings)
    log: EventLog = MemoryEventLog(clock) if redis is None else redis.log
    return _Core(
        clock=clock,
        storage=storage,
        redis=redis,
        watch=WatchedEvents(log, storage, clock),
        signals=MemorySignals() if redis is None else redis.signals,
        authz=Authorizer(auth.handlers),
    )


def _services(
    settings: Settings,
    core: _Core,
    graphs: Graphs,
    calls: RunnerCalls,
    guard: WebhookGuard,
    *,
    indexed: bool,
) -> _Services:
    clock, storage, authz = core.clock, core.storage, core.authz
    events, signals = core.watch, core.signals
    ttl = settings.thread_ttl.default
    assistants = AssistantService(
        storage=storage, graphs=graphs, events=events, signals=signals, clock=clock, authz=authz
    )
    states = StateService(
        storage=storage, graphs=graphs, calls=calls, signals=signals, clock=clock, authz=authz
    )
    return _Services(
        assistants=assistants,
        drawings=DrawingService(
            storage=storage, graphs=graphs, calls=calls, assistants=assistants
        ),
        runs=RunService(
            storage=storage, events=events, signals=signals, assistants=assistants, clock=clock,
            authz=authz, admission=Admission(guard, _run_limits(settings), ttl),
        ),
        states=states,
        threads=ThreadService(
            storage=storage, events=events, signals=signals, states=states, clock=clock,
            authz=authz, default_ttl=ttl,
        ),
        followers=ThreadStreamService(
            storage=storage, events=events, signals=signals, states=states, clock=clock,
            authz=authz,
        ),
        numbered=ProtocolEvents(
            storage=storage, events=events, signals=signals, clock=clock, authz=authz,
            keep_seconds=settings.resumable_keep_seconds,
        ),
        items=StoreService(storage, calls, authz, indexed=indexed),
        crons=CronService(storage, assistants, clock, guard, authz),
    )  # fmt: skip


def _handlers(
    settings: Settings, core: _Core, services: _Services, metrics: MetricRoutes, front: Front
) -> Handlers:
    limit, heartbeat = settings.body_limit_bytes, settings.heartbeat_seconds
    commands = ProtocolCommands(
        storage=core.storage,
        runs=services.runs,
        states=services.states,
        events=services.numbered,
        authz=core.authz,
    )
    handlers = Handlers(
        meta=MetaRoutes(
            _facts(), core.storage.ping, openapi=lambda: front.describe(table(handlers)), docs=page
        ),
        metrics=metrics,
        assistants=AssistantRoutes(services.assistants, services.drawings, limit),
        threads=ThreadRoutes(services.threads, limit),
        states=StateRoutes(services.states, limit),
        runs=RunRoutes(
            services.runs, services.followers,
            body_limit=limit, heartbeat_seconds=heartbeat, headers=front.headers,
        ),
        store=StoreRoutes(services.items, limit),
        protocol=ProtocolRoutes(
            commands, services.numbered,
            body_limit=limit, heartbeat_seconds=heartbeat, headers=front.headers,
        ),
        crons=CronRoutes(services.crons, limit),
    )  # fmt: skip
    return handlers


def _gauges(watch: WatchedEvents, redis: RedisEvents | None) -> Mapping[str, float]:
    gauges = {"weft_stream_readers": watch.readers}
    if redis is not None:
        gauges["weft_redis_available"] = int(redis.available)
        gauges["weft_redis_streams"] = redis.log.size
        gauges["weft_redis_events_lost"] = redis.losses
    return gauges


def _webhooks(settings: Settings, storage: Storage, signals: Signals, clock: Clock) -> Webhooks:
    resolver = SystemResolver()
    given = settings.webhooks
    guard = WebhookGuard(given.policy, resolver, enabled=given.enabled)
    client = WebhookClient(settings.webhook_timeout_seconds)
    sender = WebhookSender(
        storage=storage,
        signals=signals,
        clock=clock,
        guard=guard,
        transport=client,
        options=SenderOptions(
            headers=given.headers,
            keys=settings.webhook_secret,
            attempts=settings.webhook_attempts,
            timeout_seconds=settings.webhook_timeout_seconds,
            retry_seconds=settings.webhook_retry_seconds,
        ),
    )
    return Webhooks(resolver, client, guard, sender)


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
    sweeps = [threads, webhook_sweep(storage, clock), key_sweep(storage, clock)]
    if minutes is None:
        return sweeps
    return [*sweeps, store_sweep(storage, clock, interval_seconds=minutes * 60)]


def _run_limits(settings: Settings) -> RunLimits:
    return RunLimits(
        QueueLimits(settings.max_queued_runs_per_thread, settings.max_pending_runs),
        settings.max_recursion_limit,
    )


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
        concurrency=settings.concurrency if settings.worker else 0,
        lease_seconds=settings.lease_seconds,
        max_attempts=settings.max_attempts,
        grace_seconds=settings.shutdown_grace_seconds,
        shared=bool(settings.redis_url),
        # Small, so that a burst is spread over the workers instead of going to the quickest.
        claim_batch=8 if settings.redis_url else 32,
    )


def _facts() -> Facts:
    return Facts(__version__, distribution_version("langgraph"))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    try:
        import uvloop  # noqa: PLC0415 - not there on Windows
    except ImportError:
        return asyncio.new_event_loop
    return uvloop.new_event_loop
