"""The data directory: its rights, its lock, and files in it that Loomline has not written."""

import os
import sqlite3
from contextlib import closing

import pytest
from tests.support import open_storage

from loomline.server.clock import SystemClock
from loomline.server.domain.errors import StorageUnavailable
from loomline.server.storage.sqlite import SqliteStorage


def mode(path):
    return path.stat().st_mode & 0o777


@pytest.fixture(params=[0o000, 0o022, 0o077])
def umask(request):
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


@pytest.mark.usefixtures("umask")
async def test_data_directory_is_private_whatever_the_umask(tmp_path, caplog):
    folder = tmp_path / "data"
    async with open_storage(folder):
        found = {path.name: mode(path) for path in folder.iterdir()}
    names = (
        ".gitignore", "loomline.db", "loomline.db-wal", "loomline.db-shm", "loomline.lock",
    )  # fmt: skip
    assert found == dict.fromkeys(names, 0o600)
    assert mode(folder) == 0o700
    assert "OTHER USERS" not in caplog.text


@pytest.mark.parametrize(
    ("folder_mode", "file_mode"), [(0o755, 0o600), (0o700, 0o640), (0o777, 0o666)]
)
async def test_data_directory_that_others_can_use_is_warned_of(
    tmp_path, caplog, folder_mode, file_mode
):
    folder = tmp_path / "data"
    async with open_storage(folder):
        pass
    assert "OTHER USERS" not in caplog.text
    folder.chmod(folder_mode)
    (folder / "loomline.db").chmod(file_mode)
    async with open_storage(folder):
        pass
    assert caplog.text.count("OTHER USERS") == 1
    assert (f"chmod 700 '{folder}'" in caplog.text) == (folder_mode != 0o700)
    assert (f"chmod 600 '{folder}/loomline.db'" in caplog.text) == (file_mode != 0o600)


async def test_directory_stays_locked_when_its_lock_file_is_deleted(tmp_path):
    async with open_storage(tmp_path):
        (tmp_path / "loomline.lock").unlink()
        for _ in range(2):
            with pytest.raises(StorageUnavailable, match="Another server uses the data directory"):
                async with open_storage(tmp_path):
                    pass
    async with open_storage(tmp_path):
        pass


DAMAGE = {
    "no_database": lambda _: b"this is a text, and not a database at all\n" * 1000,
    "short": lambda _: b"SQLite",
    "truncated": lambda content: content[: len(content) // 2],
    "half_a_page": lambda content: content[:2000],
    "overwritten": lambda content: content[:100] + b"\xff" * 8092 + content[8192:],
    "zeros": lambda content: bytes(len(content)),
}


@pytest.mark.parametrize("beside", [False, True])
@pytest.mark.parametrize("kind", DAMAGE)
async def test_damaged_database_is_named_and_left_as_it_is(tmp_path, kind, beside):
    async with open_storage(tmp_path):
        pass
    path = tmp_path / "loomline.db"
    path.write_bytes(DAMAGE[kind](path.read_bytes()))
    damaged = path.read_bytes()
    storage = SqliteStorage(path, clock=SystemClock(), beside=beside)
    with pytest.raises(StorageUnavailable) as caught:
        await storage.open()
    assert f"The database file '{path}' is damaged" in str(caught.value)
    assert path.read_bytes() == damaged


async def test_database_of_another_program_is_left_alone(tmp_path):
    path = tmp_path / "loomline.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE notes (text)")
        connection.commit()
    content = path.read_bytes()
    with pytest.raises(StorageUnavailable, match="is a database of another program"):
        async with open_storage(tmp_path):
            pass
    assert path.read_bytes() == content


async def test_database_without_an_application_number_is_adopted(tmp_path):
    async with open_storage(tmp_path):
        pass
    with closing(sqlite3.connect(tmp_path / "loomline.db", isolation_level=None)) as connection:
        connection.execute("PRAGMA application_id = 0")
    async with open_storage(tmp_path):
        pass


async def test_damage_found_while_serving_shows_no_path(tmp_path, caplog):
    storage = SqliteStorage(tmp_path / "loomline.db", clock=SystemClock())
    await storage.open()
    try:
        with pytest.raises(StorageUnavailable) as caught:
            storage._readers.point(_damaged)
    finally:
        await storage.close()
    assert str(caught.value) == "The database file is damaged. The log of the server says more."
    assert "database error" in caplog.text


def _damaged(connection):
    path = connection.execute("PRAGMA database_list").fetchone()[2] + ".broken"
    with open(path, "wb") as file:  # noqa: PTH123
        file.write(b"not a database " * 1000)
    with closing(sqlite3.connect(path)) as broken:
        return broken.execute("SELECT * FROM sqlite_schema").fetchall()


async def test_data_directory_is_kept_out_of_git_repositories(tmp_path):
    folder = tmp_path / "data"
    for _ in range(2):
        async with open_storage(folder):
            assert (folder / ".gitignore").read_text() == "*\n"


async def test_gitignore_of_the_user_stays_as_it_is(tmp_path):
    (tmp_path / ".gitignore").write_text("own\n")
    async with open_storage(tmp_path):
        assert (tmp_path / ".gitignore").read_text() == "own\n"


async def test_folder_with_files_of_the_user_gets_no_gitignore(tmp_path):
    (tmp_path / "agent.py").write_text("")
    async with open_storage(tmp_path):
        assert not (tmp_path / ".gitignore").exists()
