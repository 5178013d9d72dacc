"""Servers and workers on one database and one Redis server."""

import re
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import psycopg
from tests.postgres import new_schema
from tests.redis_server import redis_server
from tests.serving import Process

LEASE = 2


def until(condition, seconds=150):
    """Wait for other processes, of which nothing else tells."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.01)
    raise AssertionError("it did not happen")


def begun(folder):
    """The nodes of the graph "steps" that have begun."""
    notes = folder / "begun"
    return notes.read_text().split() if notes.exists() else []


class Site:
    def __init__(self, folder, redis):
        self.folder = folder
        self.redis = redis
        self.database = new_schema()
        self._stack = ExitStack()

    def start(self, *kinds, **flags):
        """Start processes at the same time; "server" only serves."""
        common = {
            "database_url": self.database,
            "redis_url": self.redis.url,
            "lease_seconds": LEASE,
            "shutdown_grace_seconds": 1,
        }
        own = {"server": {"worker": "false"}, "worker": {"command": "worker"}, "both": {}}
        processes = [
            Process(self.folder / "data", wait=False, **common | own[kind] | flags)
            for kind in kinds
        ]
        for process in processes:
            self._stack.enter_context(process)
        with ThreadPoolExecutor() as pool:
            list(pool.map(Process.wait_until_ready, processes))
        return processes

    def rows(self, statement, *values):
        with psycopg.connect(self.database, autocommit=True) as connection:
            return connection.execute(statement, values).fetchall()

    def worker_of(self, run_id, workers):
        """The process that has a run."""

        def find():
            ((name,),) = self.rows("SELECT worker FROM loomline_runs WHERE run_id = %s", run_id)
            return name and [each for each in workers if name.endswith(f"-{each.process.pid}")]

        (found,) = until(find)
        return found

    def close(self):
        self._stack.close()


@contextmanager
def site(folder, **options):
    (folder / "redis").mkdir()
    with redis_server(folder / "redis", **options) as redis:
        made = Site(folder, redis)
        try:
            yield made
        finally:
            made.close()


def metric(process, name):
    with urllib.request.urlopen(f"{process.url}/metrics", timeout=150) as answer:
        text = answer.read().decode()
    return sum(
        float(value) for value in re.findall(rf"^{name}(?:{{.*}})? (\S+)$", text, re.MULTILINE)
    )
