"""The inspection of a database finds damages, and nothing in a database that is sound."""

import contextlib
import sqlite3

import psycopg
import pytest
from langgraph.checkpoint.memory import InMemorySaver
from tests.faults import graph
from tests.faults.model import given, state_after
from tests.faults.stored import inspect_postgres, inspect_sqlite
from tests.postgres import new_schema
from tests.support import open_postgres, open_storage

DURABILITIES = ("sync", "async", "exit")

DAMAGES = {
    "a value": (
        "DELETE FROM checkpoint_blobs WHERE channel = 'payload' AND checkpoint_ns = ''",
        "names a value that is missing: payload ",
    ),
    "a value of the subgraph": (
        "DELETE FROM checkpoint_blobs WHERE channel = 'draft' AND checkpoint_ns <> ''",
        "names a value that is missing: draft ",
    ),
    "an input": (
        "DELETE FROM checkpoint_blobs WHERE channel = '__start__' AND checkpoint_ns = ''",
        "names a value that is missing: __start__ ",
    ),
    "a parent": (
        """DELETE FROM checkpoints WHERE checkpoint_ns = '' AND checkpoint_id =
        (SELECT min(checkpoint_id) FROM checkpoints WHERE checkpoint_ns = '')""",
        "has a missing parent: ",
    ),
}


class Sqlite:
    def __init__(self, folder):
        self._folder = folder

    def open(self):
        return open_storage(self._folder)

    def execute(self, statement):
        with contextlib.closing(sqlite3.connect(self._folder / "loomline.db")) as connection:
            connection.execute(statement)
            connection.commit()

    def inspect(self, since=""):
        return inspect_sqlite(self._folder / "loomline.db", since)


class Postgres:
    def __init__(self, _folder):
        self._url = new_schema()

    def open(self):
        return open_postgres(self._url)

    def execute(self, statement):
        with psycopg.connect(self._url, autocommit=True) as connection:
            connection.execute(statement)

    def inspect(self, since=""):
        return inspect_postgres(self._url, since)


@pytest.fixture(params=[Sqlite, Postgres])
def database(request, tmp_path):
    return request.param(tmp_path)


@pytest.fixture
def notes(tmp_path, monkeypatch):
    folder = tmp_path / "notes"
    folder.mkdir()
    monkeypatch.setenv("LOOMLINE_FAULTS_NOTES", str(folder))


async def runs(saver, durability):
    """Let a thread have three runs, the second failing; return its values and the model's."""
    inputs = {tag: given(tag, fails, 0.0) for tag, fails in (("1", ""), ("2", "c"), ("3", ""))}
    compiled = graph.make()
    compiled.checkpointer = saver
    for tag, each in inputs.items():
        config = {
            "configurable": {"thread_id": durability, "run_id": tag},
            "metadata": {"run_attempt": 1},
        }
        fails = each["fails"]
        with pytest.raises(ValueError, match="2") if fails else contextlib.nullcontext():
            await compiled.ainvoke(each, config, durability=durability)
    values = (await compiled.aget_state(config)).values
    return values, state_after(values["log"], inputs)


@pytest.mark.parametrize("durability", DURABILITIES)
async def test_the_model_agrees_with_langgraph(notes, durability):
    values, expected = await runs(InMemorySaver(), durability)
    assert values == expected
    assert len(values["log"]) == 6 + 5 + 6


async def test_a_sound_database_has_no_damages(database, notes):
    async with database.open() as storage:
        for durability in DURABILITIES:
            values, expected = await runs(storage.checkpointer(), durability)
            assert values == expected
    faults, newest = database.inspect()
    assert faults == []
    assert database.inspect(since=newest) == ([], newest)


@pytest.mark.parametrize("damage", DAMAGES)
async def test_a_missing_row_is_reported(database, notes, damage):
    statement, expected = DAMAGES[damage]
    async with database.open() as storage:
        await runs(storage.checkpointer(), "sync")
    database.execute(statement)
    faults, newest = database.inspect()
    assert faults
    assert all(expected in fault for fault in faults), faults
    assert database.inspect(since=newest) == ([], newest)


async def test_a_missing_entry_of_an_index_is_reported(tmp_path, notes):
    database = Sqlite(tmp_path)
    async with database.open() as storage:
        await runs(storage.checkpointer(), "sync")
    with contextlib.closing(sqlite3.connect(tmp_path / "loomline.db")) as connection:
        connection.executescript("""
            PRAGMA writable_schema = ON;
            UPDATE sqlite_schema SET sql = replace(sql, 'IS NOT NULL', 'IS NULL')
            WHERE name = 'checkpoints_of_facts';
            UPDATE sqlite_schema SET sql = replace(sql, '(facts_id)', '(parent_id)')
            WHERE name = 'checkpoints_of_facts';
        """)
    faults, _ = database.inspect()
    assert any("integrity_check says" in fault for fault in faults)


async def test_an_inspection_leaves_the_files_as_they_are(tmp_path, notes):
    database = Sqlite(tmp_path)
    async with database.open() as storage:
        await runs(storage.checkpointer(), "sync")
        wal = tmp_path / "loomline.db-wal"
        before = (wal.read_bytes(), (tmp_path / "loomline.db").read_bytes())
        assert len(before[0]) > 0
        faults, newest = database.inspect()
        assert (faults, bool(newest)) == ([], True)
        assert (wal.read_bytes(), (tmp_path / "loomline.db").read_bytes()) == before


def test_a_database_that_was_never_made_has_no_damages(tmp_path):
    assert inspect_sqlite(tmp_path / "loomline.db") == ([], "")
