"""One server process."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator

import uvicorn

from weft.server import logs
from weft.server.app import create_app
from weft.server.cli.sockets import bind, url
from weft.server.domain.errors import WeftError
from weft.server.graphs.loader import extend_path
from weft.server.settings import Settings, SettingsError, apply_env


def serve(settings: Settings, *, descriptor: int | None = None, watch: int | None = None) -> int:
    """Serve until told to stop; return the exit code.

    Args:
        settings: What to serve and how.
        descriptor: A bound socket that was handed over; None: bind one.
        watch: A pipe whose end tells that the supervisor is gone.
    """
    logs.configure(level=settings.log_level.upper(), as_json=settings.log_json)
    apply_env(settings)
    extend_path(settings.python_path)
    try:
        bound = socket.socket(fileno=descriptor) if descriptor is not None else _bind(settings)
        if watch is not None:
            threading.Thread(target=_stop_without_parent, args=(watch,), daemon=True).start()
        asyncio.run(_serve(settings, bound))
    except (SettingsError, WeftError) as error:
        print(f"weft: {error}", file=sys.stderr)
        return 1
    return 0


def _bind(settings: Settings) -> socket.socket:
    return bind(settings.host, settings.port)


async def _serve(settings: Settings, bound: socket.socket) -> None:
    app = create_app(settings)
    config = uvicorn.Config(
        app,
        lifespan="off",  # entered here, so that what fails at the start can be said in a sentence
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=max(1, round(settings.shutdown_grace_seconds)),
    )
    server = _Server(config, f"Weft serves {len(settings.graphs)} graphs at {url(bound)}")
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
