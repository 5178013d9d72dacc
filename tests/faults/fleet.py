"""Processes that serve one database together, and what can happen to them."""

import contextlib
import os
import signal
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import psycopg
from tests.postgres import Server
from tests.redis_server import RedisServer
from tests.serving import free_port

PROJECT = Path(__file__).parent / "langgraph.json"


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
    """A process that is started again and again, a server at the same address."""

    def __init__(self, command, options, log, env):
        self.command = command
        self.serves = command == "serve"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._arguments = [sys.executable, "-m", "loomline.server.cli", command, *options]
        self._arguments.append(f"--{'port' if self.serves else 'health-port'}={self.port}")
        self._log = log
        self._env = env
        self.process = None
        self.ends = {}  # when, by process id
        self.frozen = set()  # process ids

    def start(self):
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(self._arguments, stdout=log, stderr=log, env=self._env)

    def answers(self):
        if self.process.poll() is not None:
            raise AssertionError(f"a process has ended by itself, see {self._log}")
        with (
            contextlib.suppress(OSError),
            urllib.request.urlopen(f"{self.url}/ok", timeout=1) as answer,
        ):
            return answer.status == 200
        return False

    def wait_until_ready(self, seconds=60):
        deadline = time.monotonic() + seconds
        while not self.answers():
            assert time.monotonic() < deadline, f"a server does not answer, see {self._log}"
            time.sleep(0.01)

    def kill(self):
        # Noted before: whatever is later than that was done by somebody else.
        self.ends[self.process.pid] = time.monotonic()
        self.process.kill()
        self.process.wait()

    def freeze(self):
        self.frozen.add(self.process.pid)
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self):
        self.process.send_signal(signal.SIGCONT)

    def stop(self, seconds=60):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)

    def end(self):
        if self.process is not None and self.process.poll() is None:
            self.kill()


class Fleet:
    """The processes of a shape, with the databases that they need."""

    def __init__(self, folder, shape, **flags):
        self.shape = shape
        self.notes = folder / "notes"
        self.log = folder / "log"
        self.database = Server() if shape.postgres else None
        self.redis = RedisServer(folder) if shape.redis else None
        flags = {"config": PROJECT, "data_dir": folder / "data", "log_level": "warning"} | flags
        if self.redis is not None:
            self.redis.start()
            flags["redis_url"] = self.redis.url
        options = [f"--{name.replace('_', '-')}={value}" for name, value in flags.items()]
        env = os.environ | {"LOOMLINE_FAULTS_NOTES": str(self.notes)}
        if self.database is not None:
            env["LOOMLINE_DATABASE_URL"] = self.database.url
        commands = ["serve"] * shape.servers + ["worker"] * shape.workers
        self.members = [Member(command, options, self.log, env) for command in commands]

    @property
    def urls(self):
        return [member.url for member in self.members if member.serves]

    @property
    def ends(self):
        return {pid: at for member in self.members for pid, at in member.ends.items()}

    @property
    def frozen(self):
        return {pid for member in self.members for pid in member.frozen}

    def cut_connections(self, seconds):
        """End every connection to the database as soon as it is there, for some time."""
        deadline = time.monotonic() + seconds
        with psycopg.connect(self.database.url, autocommit=True) as connection:
            while time.monotonic() < deadline:
                connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE application_name = 'loomline'"
                )
                time.sleep(0.005)

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
