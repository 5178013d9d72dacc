"""Servers for tests: one in this process, and real processes that can be killed."""

import asyncio
import atexit
import contextlib
import functools
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

from tests.preloaded import Preloaded

from loomline.server.cli import serve
from loomline.server.cli.sockets import bind, url
from loomline.server.settings import load_settings

PROJECT = Path(__file__).parent / "project" / "langgraph.json"


@contextlib.contextmanager
def serving_here(folder, *, dev=False, config=PROJECT, **flags):
    """Serve from a thread of this process, as `loomline serve` does; yield the address.

    Two things belong to a whole process and are left out: signals and the set-up of logging.
    """
    given = {"config": str(config), "data_dir": str(folder), "shutdown_grace_seconds": "0"}
    settings = load_settings(given | flags, {}, dev=dev)
    bound = bind("127.0.0.1", 0)
    stops, ready, failures = [], threading.Event(), []

    def on_stop(stop):
        loop = asyncio.get_running_loop()
        stops.append(lambda: loop.call_soon_threadsafe(stop, signal.SIGTERM))

    def run():
        try:
            serve.run(settings, bound, on_stop=on_stop, ready=lambda _: ready.set())
        except BaseException as error:  # noqa: BLE001 - raised again where it can be seen
            failures.append(error)
        finally:
            ready.set()

    with variables_restored(settings.env):
        serve.prepare_quietly(settings)
        thread = threading.Thread(target=run)
        thread.start()
        in_time = ready.wait(150)
        try:
            if failures:
                raise failures[0]
            assert in_time, "the server did not start"
            yield url(bound)
        finally:
            if thread.is_alive() and stops:
                with contextlib.suppress(RuntimeError):  # the loop has just ended by itself
                    stops[0]()
            thread.join(30)
            bound.close()


@contextlib.contextmanager
def variables_restored(names):
    """Remove those of the variables that are not set now, at the end."""
    new = [name for name in names if name not in os.environ]
    try:
        yield
    finally:
        for name in new:
            os.environ.pop(name, None)


class Process:
    """A server process of its own, or a worker that tells how it is.

    ``files`` are its soft and its hard limit of open files. A ``fresh`` one is a new interpreter.
    """

    def __init__(
        self,
        folder,
        *,
        command="serve",
        config=PROJECT,
        port=None,
        wait=True,
        files=None,
        fresh=False,
        **flags,
    ):
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        options = [f"--{name.replace('_', '-')}={value}" for name, value in flags.items()]
        port_option = "--health-port" if command == "worker" else "--port"
        arguments = [
            command, "--config", str(config), port_option, str(self.port),
            "--data-dir", str(folder), *options,
        ]  # fmt: skip
        start = _new_interpreter if fresh or sys.platform != "linux" else Preloaded
        self.process = start(arguments, env=os.environ | {"PYTHONUNBUFFERED": "1"}, files=files)
        if wait:
            self.wait_until_ready()

    def wait_until_ready(self, seconds=150):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self.process.poll() is None:
            with (
                contextlib.suppress(OSError),
                urllib.request.urlopen(f"{self.url}/ok", timeout=1) as answer,
            ):
                assert answer.status == 200
                return
            time.sleep(0.02)
        self.process.kill()
        raise AssertionError(f"the server did not start: {self.process.communicate()}")

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        out, err = self.process.communicate(timeout=150)
        return self.process.returncode, out, err

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.kill()


def _new_interpreter(arguments, *, env, files):
    limits = [] if files is None else ["prlimit", "--nofile={}:{}".format(*files)]
    return subprocess.Popen(
        [*limits, sys.executable, "-m", "loomline.server.cli", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=env,
    )


@functools.cache
def _kept_ports():
    kept = contextlib.ExitStack()
    atexit.register(kept.close)
    return kept


def free_port():
    """Return a port that no other process gets by chance.

    The socket stays bound until this process ends. It does not listen, so a server that sets
    SO_REUSEADDR can bind the port and listen, again after each crash; a socket that asks for any
    free port cannot get it.
    """
    kept = _kept_ports().enter_context(socket.socket())
    kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    kept.bind(("127.0.0.1", 0))
    return kept.getsockname()[1]
