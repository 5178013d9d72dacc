"""What executes runs, starts crons, sends webhooks and sweeps."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass

from loomline._version import __version__
from loomline.server.app.drivers import Core
from loomline.server.graphs.registry import Graphs
from loomline.server.services.webhooks import WebhookGuard
from loomline.server.settings import Settings
from loomline.server.worker.execute import ExecuteOptions, Executor
from loomline.server.worker.loop import Worker, WorkerOptions
from loomline.server.worker.plan import ServerFacts
from loomline.server.worker.posting import SystemResolver, WebhookClient
from loomline.server.worker.runners import Runner
from loomline.server.worker.sweep import Sweep, key_sweep, store_sweep, thread_sweep, webhook_sweep
from loomline.server.worker.webhooks import SenderOptions, WebhookSender


@dataclass(frozen=True, slots=True)
class Webhooks:
    """What sends webhooks."""

    resolver: SystemResolver
    client: WebhookClient
    guard: WebhookGuard
    sender: WebhookSender


def make_webhooks(settings: Settings, core: Core) -> Webhooks:
    resolver = SystemResolver()
    given = settings.webhooks
    guard = WebhookGuard(given.policy, resolver, enabled=given.enabled)
    client = WebhookClient(settings.webhook_timeout_seconds)
    sender = WebhookSender(
        storage=core.storage,
        signals=core.signals,
        clock=core.clock,
        measures=core.measures,
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


def make_worker(settings: Settings, core: Core, graphs: Graphs, runner: Runner) -> Worker:
    return Worker(
        storage=core.storage,
        events=core.watch,
        signals=core.signals,
        clock=core.clock,
        measures=core.measures,
        executor=Executor(
            storage=core.storage,
            events=core.watch,
            signals=core.signals,
            graphs=graphs,
            clock=core.clock,
            measures=core.measures,
            options=_execute_options(settings),
        ),
        runner=runner,
        options=_worker_options(settings, graphs),
    )


def _worker_options(settings: Settings, graphs: Graphs) -> WorkerOptions:
    return WorkerOptions(
        name=f"{socket.gethostname()}-{os.getpid()}",
        concurrency=settings.concurrency if settings.worker else 0,
        lease_seconds=settings.lease_seconds,
        max_attempts=settings.max_attempts,
        grace_seconds=settings.shutdown_grace_seconds,
        shared=bool(settings.redis_url),
        graphs=frozenset(graphs.ids),
        # Small, so that a burst is spread over the workers instead of going to the quickest.
        claim_batch=8 if settings.redis_url else 32,
    )


def _execute_options(settings: Settings) -> ExecuteOptions:
    return ExecuteOptions(
        facts=ServerFacts(__version__, f"http://{settings.host}:{settings.port}"),
        show_all_errors=settings.dev,
        timeout_seconds=settings.run_timeout_seconds,
        resumable_keep_seconds=settings.resumable_keep_seconds,
    )


def sweeps(settings: Settings, core: Core) -> list[Sweep]:
    """Return what is swept, and how often."""
    ttl, storage, clock = settings.thread_ttl, core.storage, core.clock
    threads = thread_sweep(
        storage,
        clock,
        interval_seconds=ttl.sweep_interval_minutes * 60,
        limit=ttl.sweep_limit,
    )
    minutes = settings.store.sweep_interval_minutes
    always = [threads, webhook_sweep(storage, clock), key_sweep(storage, clock)]
    if minutes is None:
        return always
    return [*always, store_sweep(storage, clock, interval_seconds=minutes * 60)]
