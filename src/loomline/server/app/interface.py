"""The use cases, and the handlers of the routes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version as distribution_version
from typing import TYPE_CHECKING

from loomline._version import __version__
from loomline.server.api.assistants import AssistantRoutes
from loomline.server.api.crons import CronRoutes
from loomline.server.api.docs import page
from loomline.server.api.entries import Resource
from loomline.server.api.meta import Facts, HealthRoutes, MetaRoutes
from loomline.server.api.metrics import MetricRoutes
from loomline.server.api.protocol import ProtocolRoutes
from loomline.server.api.runs import RunRoutes
from loomline.server.api.states import StateRoutes
from loomline.server.api.store import StoreRoutes
from loomline.server.api.thread_streams import ThreadStreamRoutes
from loomline.server.api.threads import ThreadRoutes
from loomline.server.app.drivers import Core
from loomline.server.domain.measures import (
    GRAPHS_BLOCKED,
    REDIS_AVAILABLE,
    REDIS_EVENTS_LOST,
    REDIS_STREAMS,
    STREAM_READERS,
    Gauge,
)
from loomline.server.domain.runs import QueueLimits
from loomline.server.front import Front
from loomline.server.graphs.priorities import load_priority
from loomline.server.graphs.registry import Graphs
from loomline.server.services.assistants import AssistantService
from loomline.server.services.crons import CronService
from loomline.server.services.departures import Departures
from loomline.server.services.drawings import DrawingService
from loomline.server.services.metadata import MetadataLimit
from loomline.server.services.priorities import Priorities
from loomline.server.services.protocol_commands import ProtocolCommands
from loomline.server.services.protocol_events import ProtocolEvents
from loomline.server.services.run_limits import RunLimits
from loomline.server.services.run_watch import WatchedEvents
from loomline.server.services.runs import Admission, RunService
from loomline.server.services.states import StateService
from loomline.server.services.store import StoreService
from loomline.server.services.thread_stream import ThreadStreamService
from loomline.server.services.threads import ThreadService
from loomline.server.services.webhooks import WebhookGuard
from loomline.server.settings import Settings
from loomline.server.worker.calls import RunnerCalls

if TYPE_CHECKING:
    from loomline.server.events.redis import RedisEvents


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
    assign = None if settings.priority is None else load_priority(settings.priority)
    metadata = MetadataLimit(settings.metadata_limit_bytes)
    assistants = AssistantService(
        storage=storage,
        graphs=graphs,
        events=events,
        signals=signals,
        clock=clock,
        authz=authz,
        metadata=metadata,
    )
    states = StateService(
        storage=storage, graphs=graphs, calls=calls, signals=signals, clock=clock, authz=authz
    )
    runs = RunService(
        storage=storage, events=events, signals=signals, assistants=assistants, clock=clock,
        authz=authz,
        admission=Admission(guard, Priorities(storage, assign), _run_limits(settings), ttl),
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
            authz=authz, metadata=metadata, default_ttl=ttl,
        ),
        followers=ThreadStreamService(
            storage=storage, events=events, signals=signals, states=states, clock=clock,
            authz=authz,
        ),
        numbered=ProtocolEvents(
            storage=storage, events=events, signals=signals, clock=clock, authz=authz,
            keep_seconds=core.retention.resumable_seconds,
        ),
        items=StoreService(storage, calls, authz, indexed=indexed),
        crons=CronService(storage, assistants, clock, guard, authz),
    )  # fmt: skip


def _run_limits(settings: Settings) -> RunLimits:
    return RunLimits(
        QueueLimits(settings.max_queued_runs_per_thread, settings.max_pending_runs),
        settings.max_recursion_limit,
    )


def make_resources(
    settings: Settings, core: Core, services: Services, metrics: MetricRoutes, front: Front
) -> Sequence[Resource]:
    """Return the resources, in the order of how often requests ask for them.

    The order matters where a path fits two routes: crons come before runs.
    """
    limit, heartbeat = settings.body_limit_bytes, settings.heartbeat_seconds
    commands = ProtocolCommands(
        storage=core.storage,
        runs=services.runs,
        states=services.states,
        events=services.numbered,
        authz=core.authz,
    )
    health = HealthRoutes(core.storage.ping)
    resources: Sequence[Resource] = (
        CronRoutes(services.crons, limit),
        RunRoutes(
            services.runs, services.departures,
            body_limit=limit, heartbeat_seconds=heartbeat, headers=front.headers,
        ),
        ThreadStreamRoutes(services.followers, heartbeat_seconds=heartbeat),
        ProtocolRoutes(
            commands, services.numbered,
            body_limit=limit, heartbeat_seconds=heartbeat, headers=front.headers,
        ),
        ThreadRoutes(services.threads, limit),
        StateRoutes(services.states, limit),
        AssistantRoutes(services.assistants, services.drawings, limit),
        StoreRoutes(services.items, limit),
        health,
        MetaRoutes(_facts(), health, openapi=lambda: front.describe(resources), docs=page),
        metrics,
    )  # fmt: skip
    return resources


def gauges(
    watch: WatchedEvents, redis: RedisEvents | None, blocked_seconds: float
) -> Mapping[Gauge, float]:
    gauges = {
        STREAM_READERS: watch.readers,
        GRAPHS_BLOCKED: blocked_seconds,
    }
    if redis is not None:
        gauges[REDIS_AVAILABLE] = int(redis.available)
        gauges[REDIS_STREAMS] = redis.log.size
        gauges[REDIS_EVENTS_LOST] = redis.losses
    return gauges


def _facts() -> Facts:
    return Facts(__version__, distribution_version("langgraph"))
