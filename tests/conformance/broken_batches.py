"""Databases in which chosen batches of checkpoint rows fail, while earlier and later ones do not.

The faults happen inside the real databases: SQLite interrupts the statement, PostgreSQL raises in a
trigger. A batch that fails goes on failing when it is repeated.
"""

import asyncio
import random
import threading
from contextlib import asynccontextmanager

import psycopg
from tests.conformance.conftest import PostgresDatabase
from tests.support import CONNECTIONS, ReadableJson

from loomline.server.clock import SystemClock
from loomline.server.storage.encrypted import EncryptedStorage
from loomline.server.storage.postgres import PostgresStorage
from loomline.server.storage.saver import SaverOptions
from loomline.server.storage.sealing import Sealer
from loomline.server.storage.sqlite import SqliteStorage

PATIENCE_SECONDS = 150


class SqliteFaults:
    """Fails a batch on the connection of the writer thread."""

    def __init__(self, folder):
        self._folder = folder
        self._begins = False
        self._batches = []
        self._failing = False
        self.disarm()

    def storage(self, options):
        return SqliteStorage(self._folder / "loomline.db", clock=SystemClock(), saver=options)

    def attach(self, storage):
        connection = storage._writer._connection
        connection.set_trace_callback(self._trace)
        connection.set_progress_handler(lambda: self._failing, 1)

    def arm(self, number):
        """Fail the batch of this number, counted from now on, once ``open_gate`` is called."""
        self._batches = []
        self._gate, self._reached = threading.Event(), threading.Event()
        self._number = number

    def disarm(self):
        self._number, self._failing = None, False

    def is_reached(self):
        return self._reached.is_set()

    def open_gate(self):
        self._gate.set()

    def close(self):
        self.disarm()

    def _trace(self, statement):
        # Runs on the writer thread when a statement begins.
        self._failing = False
        if statement.startswith("SAVEPOINT"):
            self._begins = True
        elif self._begins and "INTO checkpoint" in statement:
            self._begins = False
            self._failing = self._is_chosen(statement)

    def _is_chosen(self, statement):
        # The text holds ids, so it tells a batch from the others, and a repeated one from a new one.
        if statement not in self._batches:
            self._batches.append(statement)
        if self._number is None or self._batches.index(statement) + 1 != self._number:
            return False
        self._reached.set()
        assert self._gate.wait(PATIENCE_SECONDS)
        return True


_TRIGGERS = """
CREATE SEQUENCE faults_batch;
CREATE TABLE faults_plan (number integer, key bigint);
CREATE FUNCTION faults_fail() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    chosen faults_plan;
BEGIN
    SELECT * INTO chosen FROM faults_plan;
    IF chosen IS NULL OR current_setting('faults.seen', true) = pg_current_xact_id()::text THEN
        RETURN NULL;
    END IF;
    PERFORM set_config('faults.seen', pg_current_xact_id()::text, false);
    IF nextval('faults_batch') = chosen.number THEN
        PERFORM pg_advisory_xact_lock(chosen.key);
        RAISE EXCEPTION 'a batch that fails';
    END IF;
    RETURN NULL;
END $$;
"""
_TABLES = ("checkpoints", "checkpoint_blobs", "checkpoint_writes")
_WAITING = (
    "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = %s AND NOT granted"
)


class PostgresFaults:
    """Fails a batch in a trigger. An advisory lock is the gate."""

    def __init__(self, folder):
        self.url = PostgresDatabase(folder)._url
        self._key = random.getrandbits(30)
        self._outside = psycopg.connect(self.url, autocommit=True)

    def storage(self, options):
        return PostgresStorage(
            self.url, clock=SystemClock(), connections=CONNECTIONS, saver=options
        )

    def attach(self, _storage):
        self._outside.execute(_TRIGGERS)
        for table in _TABLES:
            self._outside.execute(
                f"CREATE TRIGGER faults BEFORE INSERT ON {table}"
                " FOR EACH STATEMENT EXECUTE FUNCTION faults_fail()"
            )

    def arm(self, number):
        self._outside.execute("SELECT pg_advisory_lock(%s)", (self._key,))
        self._outside.execute("ALTER SEQUENCE faults_batch RESTART")
        self._outside.execute("INSERT INTO faults_plan VALUES (%s, %s)", (number, self._key))

    def disarm(self):
        self._outside.execute("DELETE FROM faults_plan")

    def is_reached(self):
        return self._outside.execute(_WAITING, (self._key,)).fetchone()[0] > 0

    def open_gate(self):
        self._outside.execute("SELECT pg_advisory_unlock_all()")

    def close(self):
        self._outside.close()


FAULTS = {"sqlite": SqliteFaults, "postgres": PostgresFaults}


@asynccontextmanager
async def open_with_faults(kind, folder, *, encrypted):
    """Open a storage; yield it with the object that makes its batches fail."""
    faults = FAULTS[kind](folder)
    sealer = Sealer(ReadableJson([b"k" * 32])) if encrypted else None
    inner = faults.storage(SaverOptions(sealer))
    storage = inner if sealer is None else EncryptedStorage(inner, sealer)
    await storage.open()
    faults.attach(inner)
    try:
        yield storage, faults
    finally:
        faults.open_gate() if kind == "postgres" else None
        await storage.close()
        faults.close()


async def until(condition, *tasks):
    """Return once a condition holds, or one of the tasks has ended."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not condition() and not any(task.done() for task in tasks):
            await asyncio.sleep(0.002)
