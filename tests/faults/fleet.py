"""Processes that serve one database together, and the faults that can be done to them."""

import contextlib
import json
import os
import random
import resource
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import psycopg
from tests.faults.stored import inspect_postgres, inspect_sqlite
from tests.faults.verdict import Record
from tests.postgres import Server
from tests.redis_server import RedisServer
from tests.serving import free_port

PROJECT = Path(__file__).parent / "langgraph.json"
ROOT = Path(__file__).parents[2]

_WORKING = "FROM pg_stat_activity WHERE application_name = 'loomline'"
_STUCK = f"{_WORKING} AND wait_event_type = 'Lock'"

LEAST_BYTES = 512 * 1024
"""No disk is smaller than this: the notes and the log of a process must fit in any case."""

# A transaction of the servers was there first.
_NOT_LOCKED = (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected)

_PAGE_BYTES = 4096 + 24
_PAGES_LEFT = 20


@dataclass(frozen=True)
class Shape:
    """Which processes there are. Without PostgreSQL it is SQLite, for one server."""

    name: str
    servers: int = 1
    workers: int = 0
    postgres: bool = False
    redis: bool = False


EMBEDDED = Shape("A: one server, SQLite")
POSTGRES = Shape("B: one server, PostgreSQL", postgres=True)
SCALED = Shape("C: 2 servers, 2 workers, PostgreSQL, Redis", 2, 2, postgres=True, redis=True)


class Member:
    """A process that is started again and again, a server at the same address.

    Each of its lives has a log file of its own.
    """

    def __init__(self, command, options, logs, env):
        self.command = command
        self.serves = command == "serve"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._arguments = [sys.executable, "-m", "loomline.server.cli", command, *options]
        self._arguments.append(f"--{'port' if self.serves else 'health-port'}={self.port}")
        self._logs = logs
        self._env = env
        self._log = None
        self._lives = 0
        self.process = None
        self.ends = {}  # when, by process id
        self.frozen = set()  # process ids

    def start(self):
        self._lives += 1
        self._log = self._logs / f"{self.command}-{self.port}-{self._lives:04d}"
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(self._arguments, stdout=log, stderr=log, env=self._env)

    def answers(self):
        if self.process.poll() is not None:
            raise AssertionError(f"a process has ended by itself: {self._log.read_text()[-2000:]}")
        with (
            contextlib.suppress(OSError),
            urllib.request.urlopen(f"{self.url}/ok", timeout=5) as answer,
        ):
            return answer.status == 200
        return False

    def wait_until_ready(self, seconds=240):
        deadline = time.monotonic() + seconds
        while not self.answers():
            assert time.monotonic() < deadline, f"no answer: {self._log.read_text()[-2000:]}"
            time.sleep(0.01)

    def kill(self):
        # Noted before: anything later than that was done by another process.
        self.ends[self.process.pid] = time.monotonic()
        self.process.kill()
        self.process.wait()

    def freeze(self):
        self.frozen.add(self.process.pid)
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self):
        self.process.send_signal(signal.SIGCONT)

    def stop(self, seconds=240):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)

    @contextlib.contextmanager
    def limited(self, most):
        """Let no file of the process grow beyond some bytes, as on a full disk."""
        pid = self.process.pid
        _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (most, hard))
        try:
            yield
        finally:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard, hard))

    def end(self):
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.kill()


class Fleet:
    """The processes of a shape, with the databases that they need."""

    def __init__(self, folder, shape, **flags):
        self.shape = shape
        self.notes = folder / "notes"
        self.logs = folder / "logs"
        self.file = folder / "data" / "loomline.db"
        self.inspections = 0
        self.damages = []  # sentences
        self._seen = ["", ""]  # the newest checkpoints of the last two inspections
        for each in (self.notes, self.logs):
            each.mkdir()
        self.database = Server() if shape.postgres else None
        self.redis = RedisServer(folder) if shape.redis else None
        flags = {"config": PROJECT, "data_dir": folder / "data", "log_level": "warning"} | flags
        flags |= {"webhook_networks": "127.0.0.0/8", "webhook_retry_seconds": 0.2}
        if self.redis is not None:
            self.redis.start()
            flags["redis_url"] = self.redis.url
        options = [f"--{name.replace('_', '-')}={value}" for name, value in flags.items()]
        env = os.environ | {"LOOMLINE_FAULTS_NOTES": str(self.notes), "PYTHONPATH": str(ROOT)}
        if self.database is not None:
            env["LOOMLINE_DATABASE_URL"] = self.database.url
        commands = ["serve"] * shape.servers + ["worker"] * shape.workers
        self.members = [Member(command, options, self.logs, env) for command in commands]

    @property
    def urls(self):
        return [member.url for member in self.members if member.serves]

    def facts(self):
        """Return the notes of all executions, in the order of their times."""
        found = []
        for path in self.notes.iterdir():
            # Killed in the middle of a line: the fact was not noted.
            lines = path.read_bytes().split(b"\n")[:-1]
            found += [json.loads(line) for line in lines]
        return sorted(found, key=lambda fact: fact["at"])

    def record(self):
        """Return everything that the judge needs."""
        return Record(
            facts=self.facts(),
            ends={pid: at for member in self.members for pid, at in member.ends.items()},
            frozen={pid for member in self.members for pid in member.frozen},
            damages=self.damages,
            inspections=self.inspections,
            log=self.log_lines(),
        )

    def log_lines(self):
        paths = sorted(self.logs.iterdir())
        return [line for path in paths for line in path.read_text().splitlines()]

    def inspect(self, *, whole=False):
        """Look for damages of the database: of SQLite's while its server is dead.

        The checkpoints made since the inspection before the last one are inspected, or all.
        """
        since = "" if whole else self._seen[0]
        if self.database is None:
            faults, newest = inspect_sqlite(self.file, since)
        else:
            faults, newest = inspect_postgres(self.database.url, since)
        self._seen = [self._seen[1], newest]
        self.inspections += 1
        self.damages += [fault for fault in faults if fault not in self.damages]

    def cut_connections(self, seconds):
        """End every connection to the database as soon as it is there, for some time."""
        deadline = time.monotonic() + seconds
        with psycopg.connect(self.database.url, autocommit=True) as connection:
            while time.monotonic() < deadline:
                connection.execute(f"SELECT pg_terminate_backend(pid) {_WORKING}")
                time.sleep(0.005)

    def break_writes(self, seconds, function):
        """Let writes of checkpoints get stuck, and end those with a function of PostgreSQL.

        Writes that come a moment later find nothing in their way.
        """
        deadline = time.monotonic() + seconds
        with (
            psycopg.connect(self.database.url, autocommit=True) as watching,
            psycopg.connect(self.database.url, autocommit=True) as locking,
        ):
            locking.execute("SET lock_timeout = '2s'")
            while time.monotonic() < deadline:
                with contextlib.suppress(*_NOT_LOCKED), locking.transaction():
                    locking.execute("LOCK TABLE checkpoints IN SHARE MODE")
                    time.sleep(random.uniform(0.02, 0.5))
                    watching.execute(f"SELECT {function}(pid) {_STUCK}")
                time.sleep(random.uniform(0.0, 0.3))

    def lock_tables(self, seconds):
        """Let nothing read or write checkpoints for some time."""
        with (
            contextlib.suppress(*_NOT_LOCKED),
            psycopg.connect(self.database.url) as connection,
        ):
            connection.execute("LOCK TABLE checkpoints, checkpoint_blobs IN ACCESS EXCLUSIVE MODE")
            time.sleep(seconds)

    def freeze_backends(self, seconds):
        """Freeze the database's side of every connection in the middle of its work."""
        with psycopg.connect(self.database.url, autocommit=True) as connection:
            pids = [pid for (pid,) in connection.execute(f"SELECT pid {_WORKING}")]
        frozen = []
        try:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGSTOP)
                    frozen.append(pid)
            time.sleep(seconds)
        finally:
            for pid in frozen:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    def fill_disk(self, seconds):
        """Let the disk be full for some time."""
        with self.members[0].limited(self._used()):
            time.sleep(seconds)

    def fill_disk_now_and_then(self, seconds):
        """Let the disk be full for some writes and not for the next, for some time."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            with self.members[0].limited(self._used()):
                time.sleep(_any_magnitude(0.001, 0.3))
            time.sleep(_any_magnitude(0.001, 0.1))

    def _used(self):
        """Return a size for the disk that the write-ahead log has reached, or reaches soon.

        Close to its end, small writes have room and large ones do not. The log is written anew from
        its start now and then, so that a smaller size is met at a random moment.
        """
        wal = self.file.with_name(f"{self.file.name}-wal")
        size = wal.stat().st_size if wal.exists() else 0
        close = size + random.randrange(_PAGES_LEFT) * _PAGE_BYTES
        return max(LEAST_BYTES, random.choice((close, int(size * random.random()))))

    def lock_file(self, seconds):
        """Let no other connection write to the database's file for some time."""
        with contextlib.closing(sqlite3.connect(self.file, timeout=150)) as connection:
            connection.isolation_level = None
            connection.execute("BEGIN EXCLUSIVE")
            time.sleep(seconds)
            connection.execute("ROLLBACK")

    def end(self):
        """End every process, and inspect all that they have stored."""
        for member in self.members:
            member.end()
        self.inspect(whole=True)

    def __enter__(self):
        try:
            # One after the other: the first one makes the tables.
            for member in self.members:
                member.start()
                member.wait_until_ready()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for member in self.members:
            member.end()
        if self.redis is not None:
            self.redis.stop()
        if self.database is not None:
            self.database.remove()


def _any_magnitude(least, most):
    """Return a random time: as likely between 1 and 10 ms as between 10 and 100 ms."""
    return least * (most / least) ** random.random()
