"""Assembles a process from its parts."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from starlette.applications import Starlette

from loomline.server.api.connections import Connections, affordable_connections, descriptor_limit
from loomline.server.api.inside import Door, show_official_clients
from loomline.server.api.metrics import MetricRoutes
from loomline.server.api.routes import starlette_routes, table
from loomline.server.app.drivers import loop_factory, make_core, store_options
from loomline.server.app.execution import make_saver, make_webhooks, make_worker, sweeps
from loomline.server.app.interface import gauges, make_resources, make_services
from loomline.server.app.lifespan import Parts, lifespan
from loomline.server.authn.setup import AuthSetUp, set_up
from loomline.server.clock import SystemClock
from loomline.server.front import Front
from loomline.server.graphs.registry import Graphs
from loomline.server.prometheus import PrometheusMeasures
from loomline.server.settings import Settings
from loomline.server.worker.calls import RunnerCalls
from loomline.server.worker.crons import CronStarter
from loomline.server.worker.runners import Runner, RunnerOptions
from loomline.server.worker.sweep import Sweeper

HEALTH_PATHS: Final = frozenset({"/ok", "/metrics"})


@dataclass(frozen=True, slots=True)
class Service:
    """A process that serves, executes runs, or both.

    ``app`` is its whole API, and the lifespan of that opens and closes everything: also where the
    process only executes runs, whose graphs may be clients of their own server. ``health`` only
    tells how it is. ``drain`` makes it take no more runs; it is called on the loop. ``connections``
    counts the connections to it, for ``/metrics``.
    """

    app: Starlette
    health: Starlette
    drain: Callable[[], None]
    connections: Connections


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
        GraphLoadError: a configured graph, or the application around ours, cannot be loaded; or
            the object of ``priority.path`` cannot be used.
        AuthLoadError: authentication is configured and cannot be set up.
        EmbeddingsLoadError: what makes vectors for the store cannot be loaded.
        CheckpointerLoadError: The saver of ``checkpointer.path`` cannot be loaded.
        SettingsError: a driver is not installed, or an address cannot be read.
    """
    # Before graphs are imported: they may make clients while they are.
    door = Door()
    show_official_clients(door)
    auth = set_up(settings.auth, os.environ, SystemClock())
    front = Front(settings, auth)
    graphs = Graphs.load(settings.graphs)
    parts = assemble(settings, graphs, auth, front)
    app: Starlette = front.application(
        parts.resources, parts.measures, lambda: lifespan(parts, app, door)
    )
    health = [entry for entry in table(parts.resources) if entry.path in HEALTH_PATHS]
    return Service(
        app=app,
        health=Starlette(
            routes=starlette_routes(health, parts.measures), middleware=[front.guard()]
        ),
        drain=parts.worker.drain,
        connections=parts.connections,
    )


def assemble(settings: Settings, graphs: Graphs, auth: AuthSetUp, front: Front) -> Parts:
    """Return the parts of a process, none of which is open yet."""
    measures = PrometheusMeasures()
    runner = Runner(RunnerOptions(), loop_factory())
    store = store_options(settings.store, runner.wait_for)
    saver = make_saver(settings, runner)
    core = make_core(settings, store, auth, measures, None if saver is None else saver.own)
    webhooks = make_webhooks(settings, core)
    worker = make_worker(settings, core, graphs, runner, saver)
    services = make_services(
        settings, core, graphs, RunnerCalls(runner), webhooks.guard, indexed=store.index is not None
    )
    connections = Connections(
        settings.max_connections or affordable_connections(descriptor_limit()), measures=measures
    )
    metrics = MetricRoutes(
        measures,
        worker,
        partial(services.runs.stats, graphs.ids),
        lambda: gauges(core.watch, core.redis, runner.blocked_for()),
        lambda: core.storage.webhooks.stats(),  # noqa: PLW0108 - there once the storage is open
        connections=connections,
    )
    return Parts(
        storage=core.storage,
        alone=not settings.database_url,
        redis=core.redis,
        watch=core.watch,
        worker=worker,
        sweeper=Sweeper(core.clock, sweeps(settings, core)),
        departures=services.departures,
        crons=CronStarter(core.storage, services.runs, core.clock),
        webhooks=webhooks,
        assistants=services.assistants,
        resources=make_resources(settings, core, services, metrics, front),
        measures=measures,
        connections=connections,
        protected=auth.protected,
    )
