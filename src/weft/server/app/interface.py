"""The use cases, and the handlers of the routes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version as distribution_version
from typing import TYPE_CHECKING

from weft._version import __version__
from weft.server.api.assistants import AssistantRoutes
from weft.server.api.crons import CronRoutes
from weft.server.api.docs import page
from weft.server.api.meta import Facts, MetaRoutes
from weft.server.api.metrics import MetricRoutes
from weft.server.api.protocol import ProtocolRoutes
from weft.server.api.routes import Handlers, table
from weft.server.api.runs import RunRoutes
from weft.server.api.states import StateRoutes
from weft.server.api.store import StoreRoutes
from weft.server.api.threads import ThreadRoutes
from weft.server.app.drivers import Core
from weft.server.domain.runs import QueueLimits
from weft.server.front import Front
from weft.server.graphs.registry import Graphs
from weft.server.services.assistants import AssistantService
from weft.server.services.crons import CronService
from weft.server.services.departures import Departures
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
from weft.server.settings import Settings
from weft.server.worker.calls import RunnerCalls

if TYPE_CHECKING:
    from weft.server.events.redis import RedisEvents


@dataclass(frozen=True, slots=True)
class Services:
    """The use cases, one object per resource."""

    assistants: AssistantService
    drawings: DrawingService
    runs: RunService
    departures: Departures
    states: StateService
    threads: ThreadService
    followers: ThreadStreamService
    numbered: ProtocolEvents
    items: StoreService
    crons: CronService


def make_services(
    settings: Settings,
    core: Core,
    graphs: Graphs,
    calls: RunnerCalls,
    guard: WebhookGuard,
    *,
    indexed: bool,
) -> Services:
    clock, storage, authz = core.clock, core.storage, core.authz
    events, signals = core.watch, core.signals
    ttl = settings.thread_ttl.default
    assistants = AssistantService(
        storage=storage, graphs=graphs, events=events, signals=signals, clock=clock, authz=authz
    )
    states = StateService(
        storage=storage, graphs=graphs, calls=calls, signals=signals, clock=clock, authz=authz
    )
    runs = RunService(
        storage=storage, events=events, signals=signals, assistants=assistants, clock=clock,
        authz=authz, admission=Admission(guard, _run_limits(settings), ttl),
    )  # fmt: skip
    return Services(
        assistants=assistants,
        drawings=DrawingService(
            storage=storage, graphs=graphs, calls=calls, assistants=assistants
        ),
        runs=runs,
        departures=Departures(runs, clock),
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


def _run_limits(settings: Settings) -> RunLimits:
    return RunLimits(
        QueueLimits(settings.max_queued_runs_per_thread, settings.max_pending_runs),
        settings.max_recursion_limit,
    )


def make_handlers(
    settings: Settings, core: Core, services: Services, metrics: MetricRoutes, front: Front
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
            services.runs, services.followers, services.departures,
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


def gauges(watch: WatchedEvents, redis: RedisEvents | None) -> Mapping[str, float]:
    gauges = {"weft_stream_readers": watch.readers}
    if redis is not None:
        gauges["weft_redis_available"] = int(redis.available)
        gauges["weft_redis_streams"] = redis.log.size
        gauges["weft_redis_events_lost"] = redis.losses
    return gauges


def _facts() -> Facts:
    return Facts(__version__, distribution_version("langgraph"))
