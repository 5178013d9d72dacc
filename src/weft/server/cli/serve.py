"""One server process."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator

import uvicorn
from starlette.applications import Starlette

from weft.server import logs
from weft.server.app import create_app
from weft.server.cli.protocol import bounded
from weft.server.cli.sockets import bind, url
from weft.server.domain.errors import WeftError
from weft.server.graphs.loader import extend_path
from weft.server.settings import Settings, SettingsError, apply_env

logger: logging.Logger = logging.getLogger("weft.cli")


def serve(settings: Settings, *, descriptor: int | None = None, watch: int | None = None) -> int:
    """Serve until told to stop; return the exit code.

    Args:
        settings: What to serve and how.
        descriptor: A bound socket that was handed over; None: bind one.
        watch: A pipe whose end tells that the supervisor is gone.
    """
    # Until the server handles it itself: a stop while graphs are imported is as clean as later.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        _prepare(settings)
        bound = _socket(settings, descriptor)
        if watch is not None:
            threading.Thread(target=_stop_without_parent, args=(watch,), daemon=True).start()
        _run(settings, bound)
    except (SettingsError, WeftError) as error:
        print(f"weft: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0
    return 0


def _prepare(settings: Settings) -> None:
    logs.configure(level=settings.log_level.upper(), as_json=settings.log_json)
    for warning in settings.warnings:
        logger.warning(warning)
    apply_env(settings)
    extend_path(settings.python_path)


def _socket(settings: Settings, descriptor: int | None) -> socket.socket:
    if descriptor is None:
        return bind(settings.host, settings.port)
    return socket.socket(fileno=descriptor)


def _run(settings: Settings, bound: socket.socket) -> None:
    # Not on the loop: what graphs do while they are imported may want a loop of its own.
    app = create_app(settings)
    config = uvicorn.Config(
        app,
        http=bounded(settings.header_limit_bytes),
        lifespan="off",  # entered here, so that what fails at the start can be said in a sentence
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=max(1, round(settings.shutdown_grace_seconds)),
    )
    server = _Server(config, f"Weft serves {_graphs(settings)} at {url(bound)}")
    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(_serve(app, server, bound))


def _graphs(settings: Settings) -> str:
    number = len(settings.graphs)
    return f"{number} graph{'' if number == 1 else 's'}"


async def _serve(app: Starlette, server: _Server, bound: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, server.handle_exit, number, None)
    async with app.router.lifespan_context(app):
        await server.serve(sockets=[bound])


class _Server(uvicorn.Server):
    """Says when it is ready, and leaves signals to the caller."""

    def __init__(self, config: uvicorn.Config, ready: str) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        print(self._ready, flush=True)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        # uvicorn would raise the signal again after serving, before the storage is closed.
        yield


def _stop_without_parent(watch: int) -> None:
    """Stop this process when the supervisor, who holds the other end, is gone."""
    with contextlib.suppress(OSError):
        os.read(watch, 1)
    os.kill(os.getpid(), signal.SIGTERM)
