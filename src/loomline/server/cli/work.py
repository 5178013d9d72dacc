"""One worker process: it executes runs, and answers only how it is, if that is asked for."""

from __future__ import annotations

import asyncio
import socket
import sys
from functools import partial

from loomline.server.app import Service, create_service
from loomline.server.cli.serve import (
    Server,
    graphs,
    interrupt_on_signals,
    on_signals,
    prepare,
    run_server,
    say,
    server_config,
)
from loomline.server.cli.sockets import bind, url
from loomline.server.domain.errors import LoomlineError
from loomline.server.settings import Settings, SettingsError


def work(settings: Settings) -> int:
    """Execute runs until told to stop; return the exit code."""
    interrupt_on_signals()
    try:
        _check(settings)
        prepare(settings)
        port = settings.health_port
        _run(settings, None if port is None else bind(settings.host, port))
    except (SettingsError, LoomlineError) as error:
        print(f"loomline: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0
    return 0


def _check(settings: Settings) -> None:
    if not settings.redis_url:
        raise SettingsError(
            "A worker needs --database-url and --redis-url, the same as the servers whose runs it"
            " executes. A single server executes its runs itself: loomline serve."
        )
    if not settings.worker:
        raise SettingsError("A worker cannot be told not to work (--no-worker, LOOMLINE_WORKER).")


def _run(settings: Settings, bound: socket.socket | None) -> None:
    # Not on the loop: what graphs do while they are imported may want a loop of its own.
    service = create_service(settings)
    config = server_config(service.health, settings, service.connections)
    ready = f"Loomline executes runs of {graphs(settings)}, {settings.concurrency} at a time"
    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        if bound is None:
            runner.run(_work(service, ready))
        else:
            server = Server(config, partial(say, f"{ready}; health at {url(bound)}"))
            runner.run(run_server(service, server, bound))


async def _work(service: Service, ready: str) -> None:
    told = asyncio.Event()
    on_signals(lambda _: told.set())
    async with service.app.router.lifespan_context(service.app):
        say(ready)
        await told.wait()
        service.drain()
