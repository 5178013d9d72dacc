"""What executes runs, starts crons, sends webhooks and sweeps."""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from langgraph.checkpoint.base import BaseCheckpointSaver

from loomline._version import __version__
from loomline.server.app.drivers import Core
from loomline.server.graphs.checkpointers import load_checkpointer
from loomline.server.graphs.registry import Graphs
from loomline.server.services.webhooks import WebhookGuard
from loomline.server.settings import Settings
from loomline.server.storage.own_saver import OwnSaver, Writes
from loomline.server.worker.calls import CallOptions, LoopCalls, RunnerCalls
from loomline.server.worker.execute import ExecuteOptions, Executor
from loomline.server.worker.loop import Worker, WorkerOptions
from loomline.server.worker.plan import ServerFacts
from loomline.server.worker.posting import SystemResolver, WebhookClient
from loomline.server.worker.residents import Resident
from loomline.server.worker.runners import Runner
from loomline.server.worker.sweep import Sweep, key_sweep, store_sweep, thread_sweep, webhook_sweep
from loomline.server.worker.webhooks import SenderOptions, WebhookSender

SAVER_SECONDS: Final = 600.0
"""The time for a call of the user's own saver, such as a copy of a large thread."""


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


@dataclass(frozen=True, slots=True)
class Saver:
    """The user's own saver: open while the worker is, and how the storage uses it."""

    resident: Resident[BaseCheckpointSaver[str]]
    own: OwnSaver


def make_saver(settings: Settings, runner: Runner) -> Saver | None:
    """Return the saver of ``checkpointer.path``, not opened yet; None: there is none.

    Raises:
        CheckpointerLoadError: The object cannot be imported, or makes no saver.
    """
    spec = settings.checkpointer
    if spec is None:
        return None
    make, writes = load_checkpointer(spec), Writes()

    @asynccontextmanager
    async def watched() -> AsyncIterator[BaseCheckpointSaver[str]]:
        async with make() as made:
            yield writes.watch(made)

    resident = Resident(spec.source, runner, watched)
    calls = RunnerCalls(runner, CallOptions(seconds=SAVER_SECONDS))
    return Saver(resident, OwnSaver(lambda: resident.value, LoopCalls(runner, calls), writes))


def make_worker(
    settings: Settings, core: Core, graphs: Graphs, runner: Runner, saver: Saver | None = None
) -> Worker:
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
            options=_execute_options(settings, core),
        ),
        runner=runner,
        options=_worker_options(settings, core, graphs),
        residents=() if saver is None else (saver.resident,),
    )


def _worker_options(settings: Settings, core: Core, graphs: Graphs) -> WorkerOptions:
    return WorkerOptions(
        name=f"{socket.gethostname()}-{os.getpid()}",
        concurrency=settings.concurrency if settings.worker else 0,
        lease_seconds=settings.lease_seconds,
        max_attempts=settings.max_attempts,
        grace_seconds=settings.shutdown_grace_seconds,
        retention=core.retention,
        shared=bool(settings.redis_url),
        graphs=frozenset(graphs.ids),
        # Small, so that a burst is spread over the workers instead of going to the quickest.
        claim_batch=8 if settings.redis_url else 32,
    )


def _execute_options(settings: Settings, core: Core) -> ExecuteOptions:
    return ExecuteOptions(
        facts=ServerFacts(__version__, f"http://{settings.host}:{settings.port}"),
        show_all_errors=settings.dev,
        timeout_seconds=settings.run_timeout_seconds,
        retention=core.retention,
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
