"""The migrations of both databases."""

import sqlite3
from contextlib import closing
from importlib.resources import files

import pytest

from loomline.server.storage.sqlite.connection import connect
from loomline.server.storage.sqlite.functions import register
from loomline.server.storage.sqlite.migrate import migrate

pytestmark = pytest.mark.one_interpreter


@pytest.mark.parametrize("driver", ["sqlite", "postgres"])
def test_migrations_have_the_numbers_from_one_without_gap_or_double(driver):
    folder = files(f"loomline.server.storage.{driver}").joinpath("migrations")
    names = [script.name for script in folder.iterdir() if script.name.endswith(".sql")]
    assert sorted(int(name.partition("_")[0]) for name in names) == [*range(1, len(names) + 1)]


LAST_OLD = 14
"""The last migration of SQLite before the rows of checkpoints became smaller."""

OLD_CHECKPOINT = """
    INSERT INTO checkpoints (thread_id, checkpoint_ns, checkpoint_id, content, metadata)
    VALUES ('t', '', 'c', '{}', '{}')
"""


@pytest.fixture
def old_path(tmp_path):
    """A database as versions with small pages have made it."""
    path = tmp_path / "old.db"
    folder = files("loomline.server.storage.sqlite").joinpath("migrations")
    scripts = {int(each.name.partition("_")[0]): each for each in folder.iterdir()}
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA page_size = 4096")
        register(connection)
        for number in range(1, LAST_OLD + 1):
            connection.executescript(scripts[number].read_text(encoding="utf-8"))
        connection.execute(f"PRAGMA user_version = {LAST_OLD}")
    return path


def layout(connection):
    (statement,) = connection.execute(
        "SELECT sql FROM sqlite_schema WHERE name = 'checkpoints'"
    ).fetchone()
    (size,) = connection.execute("PRAGMA page_size").fetchone()
    return "WITHOUT ROWID" in statement, size


def indexes(connection):
    return {
        name
        for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'index'")
    }


def test_a_new_database_has_large_pages_and_whole_rows_of_checkpoints(tmp_path):
    with closing(connect(tmp_path / "new.db")) as connection:
        migrate(connection)
        assert layout(connection) == (False, 8192)
        assert "leaves_of_thread" not in indexes(connection)


def test_migrating_a_database_with_checkpoints_leaves_their_table_as_it_is(old_path):
    with closing(sqlite3.connect(old_path)) as connection, connection:
        connection.execute(OLD_CHECKPOINT)
    with closing(connect(old_path)) as connection:
        migrate(connection)
        assert layout(connection) == (True, 4096)
        found = connection.execute("SELECT thread_id, facts_id FROM checkpoints").fetchall()
        assert found == [("t", None)]


def test_migrating_a_database_without_checkpoints_changes_the_layout_of_their_table(old_path):
    with closing(connect(old_path)) as connection:
        migrate(connection)
        assert layout(connection) == (False, 4096)


def test_leaves_of_a_thread_follow_its_metadata_without_an_index(tmp_path):
    with closing(connect(tmp_path / "new.db")) as connection:
        migrate(connection)
        connection.execute(
            "INSERT INTO threads (thread_id, status, settled_status, metadata, config, created_at,"
            " updated_at, state_updated_at) VALUES ('t', '', '', '{\"a\": 1, \"b\": 2}', '{}', 0, 0, 0)"
        )
        leaves = "SELECT leaf FROM thread_leaves ORDER BY leaf"
        assert connection.execute(leaves).fetchall() == [('["a"]1',), ('["b"]2',)]
        connection.execute("UPDATE threads SET metadata = '{\"b\": 3}'")
        assert connection.execute(leaves).fetchall() == [('["b"]3',)]
        connection.execute("DELETE FROM threads")
        assert connection.execute(leaves).fetchall() == []
