"""The data directory between real processes: its rights, its lock, a damaged file in it."""

import os
import subprocess
import sys

import httpx
import pytest
from tests.serving import PROJECT, Process

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]  # each starts several interpreters


def mode(path):
    return path.stat().st_mode & 0o777


def command(folder, *words):
    """Run a command of Loomline that ends by itself; return its exit code and its messages."""
    done = subprocess.run(
        [sys.executable, "-m", "loomline.server.cli", *words, "--config", str(PROJECT),
         "--data-dir", str(folder)],
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    return done.returncode, done.stderr


def test_data_directory_of_a_server_is_private(tmp_path):
    folder = tmp_path / "data"
    before = os.umask(0)
    try:
        with Process(folder) as server:
            httpx.post(f"{server.url}/threads", json={})
            found = {path.name: mode(path) for path in folder.iterdir()}
            _, _, log = server.stop()
    finally:
        os.umask(before)
    names = ("loomline.db", "loomline.db-wal", "loomline.db-shm", "loomline.lock", ".gitignore")
    assert found == dict.fromkeys(names, 0o600)
    assert mode(folder) == 0o700
    assert "OTHER USERS" not in log


def test_deleted_lock_file_lets_no_second_server_start(tmp_path):
    folder = tmp_path / "data"
    with Process(folder) as first:
        (folder / "loomline.lock").unlink()
        code, messages = command(folder, "serve", "--port", "0")
        assert (code, messages.count("Another server uses the data directory")) == (1, 1)
        # Nor does a third one, after the second has made the lock file again.
        assert command(folder, "migrate")[0] == 1
        assert httpx.post(f"{first.url}/threads", json={}).status_code == 200
        first.stop()
    assert command(folder, "migrate")[0] == 0


def test_killed_server_leaves_the_data_directory_unlocked(tmp_path):
    with Process(tmp_path / "data") as first:
        first.kill()
    assert command(tmp_path / "data", "migrate")[0] == 0


def test_damaged_database_is_named_at_the_command_line(tmp_path):
    path = tmp_path / "loomline.db"
    path.write_bytes(b"not a database " * 1000)
    for words in (("serve", "--port", "0"), ("webhooks", "list")):
        code, messages = command(tmp_path, *words)
        assert code == 1
        assert f"The database file '{path}' is damaged" in messages
        assert ".recover" in messages
        assert "Try again later" not in messages
        assert "Traceback" not in messages
    assert path.read_bytes() == b"not a database " * 1000
