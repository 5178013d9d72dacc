"""One server process."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import ssl
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

import uvicorn
from starlette.applications import Starlette

from loomline.server import logs
from loomline.server.api.connections import Connections
from loomline.server.app import Service, create_service
from loomline.server.cli.descriptors import raise_descriptor_limit
from loomline.server.cli.protocol import Bounds, bounded
from loomline.server.cli.sockets import bind, url
from loomline.server.cli.websocket import websockets
from loomline.server.domain.addresses import is_loopback
from loomline.server.domain.errors import LoomlineError
from loomline.server.graphs.loader import extend_path
from loomline.server.settings import Settings, SettingsError, apply_env, browser_warnings

logger: logging.Logger = logging.getLogger("loomline.cli")

_NAMED: Final = 10
"""Graphs that are named at the start."""

_OPEN = (
    "THIS SERVER IS OPEN TO EVERYBODY who reaches %s: no authentication is configured, so anybody"
    ' may read, change and delete everything and run the graphs. Set "auth" in langgraph.json'
    " (docs/auth.md), or listen on 127.0.0.1."
)


def serve(
    settings: Settings,
    *,
    descriptor: int | None = None,
    watch: int | None = None,
    report: Callable[[str], None] = lambda _: None,
) -> int:
    """Serve until told to stop; return the exit code.

    Args:
        settings: What to serve and how.
        descriptor: A bound socket that was handed over; None: bind one.
        watch: A pipe whose end tells that the supervisor is gone.
        report: Is called with the reason of a start that fails.
    """
    interrupt_on_signals()
    try:
        prepare(settings)
        bound = _socket(settings, descriptor)
        if watch is not None:
            threading.Thread(target=_stop_without_parent, args=(watch,), daemon=True).start()
        run(settings, bound)
    except (SettingsError, LoomlineError) as error:
        print(f"loomline: {error}", file=sys.stderr)
        report(str(error))
        return 1
    except KeyboardInterrupt:
        return 0
    return 0


def interrupt_on_signals() -> None:
    """Have the signals that stop a process interrupt it, until its loop handles them.

    So a stop while graphs are imported is as clean as a later one. A shell ignores SIGINT for the
    processes that it starts in the background, which Python leaves as it is.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)


def prepare(settings: Settings) -> None:
    """Set up the logs of the process, its limit of open files, variables and import path.

    Raises:
        SettingsError: the certificate for HTTPS cannot be used.
    """
    logs.configure(level=settings.log_level.upper(), as_json=settings.log_json)
    logging.getLogger("uvicorn.error").addFilter(tell_cut_off)
    _check_certificate(settings)
    if settings.auth is None and not is_loopback(settings.host):
        logger.warning(_OPEN, settings.host)
    for warning in (*settings.warnings, *browser_warnings(settings)):
        logger.warning(warning)
    prepare_quietly(settings)


def prepare_quietly(settings: Settings) -> None:
    """Set up the same, apart from the logs."""
    raise_descriptor_limit()
    apply_env(settings)
    extend_path(settings.python_path)


def _socket(settings: Settings, descriptor: int | None) -> socket.socket:
    if descriptor is None:
        return bind(settings.host, settings.port)
    return socket.socket(fileno=descriptor)


def say(line: str) -> None:
    """Print that the server is ready, where its starter may read it."""
    print(line, flush=True)


def on_signals(act: Callable[[int], None]) -> None:
    """Have the loop call a function with each signal that asks the process to end."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, act, number)


def run(
    settings: Settings,
    bound: socket.socket,
    *,
    on_stop: Callable[[Callable[[int], None]], None] = on_signals,
    ready: Callable[[str], None] = say,
) -> None:
    """Serve on a socket until told to stop.

    Args:
        settings: The graphs and the options.
        bound: The socket.
        on_stop: Is called on the loop with the function that ends the server.
        ready: Is called with a line once requests are answered.
    """
    # Not on the loop: what graphs do while they are imported may want a loop of its own.
    service = create_service(settings)
    config = server_config(service.app, settings, service.connections)
    server = Server(config, partial(ready, banner(settings, url(bound))))
    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(run_server(service, server, bound, on_stop))


def server_config(app: Starlette, settings: Settings, connections: Connections) -> uvicorn.Config:
    """Return uvicorn's configuration: every server process, and every test, has this one."""
    bounds = Bounds(
        settings.header_limit_bytes, settings.head_timeout_seconds, settings.body_timeout_seconds
    )
    return uvicorn.Config(
        app,
        http=bounded(bounds, connections),  # type: ignore[arg-type]
        ssl_certfile=settings.ssl_certfile or None,
        ssl_keyfile=settings.ssl_keyfile or None,
        lifespan="off",  # entered here, so that what fails at the start can be said in a sentence
        log_config=None,
        access_log=False,
        server_header=False,
        **websockets(settings.websocket_limit_bytes, connections),  # type: ignore[arg-type]
        timeout_graceful_shutdown=max(1, round(settings.shutdown_grace_seconds)),
    )


def banner(settings: Settings, address: str) -> str:
    """Return the lines with the server's addresses, data directory and graphs."""
    scheme = "https" if settings.ssl_certfile else "http"
    base = address.replace("http", scheme, 1) + settings.http.mount_prefix
    data = "PostgreSQL" if settings.database_url else str(settings.data_dir)
    names = [spec.graph_id for spec in settings.graphs]
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    docs = [] if "meta" in settings.http.disabled else [f"  API docs  {base}/docs"]
    return "\n".join(
        [
            f"Loomline serves {graphs(settings)} at {base}",
            *docs,
            f"  data      {data}",
            f"  graphs    {', '.join(names[:_NAMED])}{more}",
        ]
    )


def tell_cut_off(record: logging.LogRecord) -> bool:
    """Keep open requests that the end of the server cuts off from looking like faults.

    uvicorn logs an error with a traceback for each, and one for all.
    """
    if record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError):
        return False
    if str(record.msg).startswith("Cancel %s running task(s)"):
        record.levelno, record.levelname = logging.INFO, "INFO"
        record.msg, record.args = "open requests are cut off, as the server stops", ()
    return True


def _check_certificate(settings: Settings) -> None:
    if not settings.ssl_certfile:
        return
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(settings.ssl_certfile, settings.ssl_keyfile)
    except OSError as error:
        raise SettingsError(
            f"The certificate '{settings.ssl_certfile}' with the key '{settings.ssl_keyfile}'"
            f" cannot be used: {error.strerror or error}. Check --ssl-certfile and --ssl-keyfile."
        ) from None


def graphs(settings: Settings) -> str:
    number = len(settings.graphs)
    return f"{number} graph{'' if number == 1 else 's'}"


async def run_server(
    service: Service,
    server: Server,
    bound: socket.socket,
    on_stop: Callable[[Callable[[int], None]], None] = on_signals,
) -> None:
    """Open everything, answer requests until the process is told to end, close everything."""

    def stop(number: int) -> None:
        # Now, and not when the last of the open requests has ended.
        service.drain()
        server.handle_exit(number, None)

    on_stop(stop)
    async with service.app.router.lifespan_context(service.app):
        await server.serve(sockets=[bound])


class Server(uvicorn.Server):
    """Says when it is ready, and leaves signals to the caller."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        # uvicorn would raise the signal again after serving, before the storage is closed.
        yield


def _stop_without_parent(watch: int) -> None:
    """Stop this process when the supervisor, who holds the other end, is gone."""
    with contextlib.suppress(OSError):
        os.read(watch, 1)
    os.kill(os.getpid(), signal.SIGTERM)
