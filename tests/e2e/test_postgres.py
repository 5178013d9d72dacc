"""Server processes on PostgreSQL."""

import asyncio
import os
import subprocess
import sys

import httpx
import psycopg
import pytest
from tests.postgres import Server, new_schema
from tests.serving import PROJECT, Process, serving_here

from loomline import get_client, get_sync_client
from loomline.errors import APIStatusError

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


@pytest.fixture
def url():
    return new_schema()


def serve(folder, url, **flags):
    return Process(folder, database_url=url, lease_seconds=1, **flags)


def test_a_run_that_is_streamed_continues_after_the_server_was_killed(tmp_path, url):
    server = serve(tmp_path / "data", url)
    with get_sync_client(url=server.url) as client:
        thread = client.threads.create(metadata={"kept": True})["thread_id"]
        stream = client.runs.stream(
            thread,
            "steps",
            input={"folder": str(tmp_path)},
            stream_mode="updates",
            stream_resumable=True,
        )
        (tmp_path / "go-one").touch()
        parts = [next(stream), next(stream)]
        run_id = parts[0].data["run_id"]
        assert parts[0].data["attempt"] == 1
        wait_for_checkpoint(url, thread)
        server.kill()
        for name in ("two", "three"):
            (tmp_path / f"go-{name}").touch()
        with serve(tmp_path / "data", url, port=server.port):
            parts += list(stream)
            assert client.runs.join(thread, run_id)["log"] == ["one", "two", "three"]
            events = list(client.runs.join_stream(thread, run_id, last_event_id="-1"))
            assert events[0].data == {"run_id": run_id, "attempt": 2}
            found = client.threads.get(thread)
            assert (found["status"], found["metadata"]["kept"]) == ("idle", True)
            assert client.runs.get(thread, run_id)["status"] == "success"
    updates = [part.data for part in parts if part.event == "updates"]
    assert updates == [{name: {"log": [name]}} for name in ("one", "two", "three")]
    assert (tmp_path / "begun").read_text().split() in (
        ["one", "two", "three"],
        ["one", "two", "two", "three"],
    )


def wait_for_checkpoint(url, thread):
    """Wait until a step is in the database: what it did is behind the run by some milliseconds."""
    with psycopg.connect(url, autocommit=True) as connection:
        while not connection.execute(
            "SELECT 1 FROM checkpoints WHERE thread_id = %s AND metadata @> '{\"step\": 1}'",
            (thread,),
        ).fetchone():
            pass


def test_nothing_is_written_to_the_data_folder(tmp_path, url):
    with serve(tmp_path / "data", url) as server, get_sync_client(url=server.url) as client:
        assert client.runs.wait(None, "joke", input={"topic": "x"})["topic"]
        code, _, errors = server.stop()
    assert (code, "ERROR" in errors, (tmp_path / "data").exists()) == (0, False, False)


def requests_of_every_resource(client, thread):
    return [
        client.threads.get(thread),
        client.threads.search(metadata={"a": 1}),
        client.threads.create(),
        client.threads.update_state(thread, {"topic": "new"}, as_node="generate_joke"),
        client.threads.copy(thread),
        client.assistants.search(),
        client.assistants.create("joke"),
        client.store.put_item(["a"], "k", {}),
        client.store.search_items(["a"]),
        client.crons.create("joke", schedule="0 0 1 1 *"),
        client.runs.create(thread, "joke", input={"topic": "x"}),
    ]


async def test_a_database_that_goes_away_and_comes_back(tmp_path):
    database = Server()
    try:
        with serving_here(tmp_path, database_url=database.url) as address:
            async with get_client(url=address) as client:
                thread = (await client.threads.create(graph_id="joke"))["thread_id"]
                await client.threads.update_state(
                    thread, {"topic": "kept"}, as_node="generate_joke"
                )
                database.stop()
                for act in requests_of_every_resource(client, thread):
                    with pytest.raises(APIStatusError, match="cannot be used at the mo") as caught:
                        await act
                    assert caught.value.status_code == 503
                database.start()
                assert (await client.threads.get_state(thread))["values"]["topic"] == "kept"
                assert (await client.threads.count(), await client.crons.count()) == (1, 0)
                for act in requests_of_every_resource(client, thread):
                    await act
                result = await client.runs.wait(thread, "joke", input={"topic": "x"})
                assert result["topic"]
    finally:
        database.remove()


async def test_a_client_that_leaves_while_the_database_is_away(tmp_path, caplog):
    database = Server()
    body = {"assistant_id": "sleepy", "input": {}, "on_disconnect": "cancel"}
    try:
        with serving_here(tmp_path, database_url=database.url) as address:
            async with httpx.AsyncClient(base_url=address, timeout=150) as http:
                thread = (await http.post("/threads", json={})).json()["thread_id"]
                path = f"/threads/{thread}/runs"
                async with http.stream("POST", f"{path}/stream", json=body) as response:
                    async for line in response.aiter_lines():
                        if "first" in line:
                            break
                    database.stop()
                async with asyncio.timeout(150):
                    while not any(each.name == "loomline.runs" for each in caplog.records):
                        await asyncio.sleep(0.01)
                database.start()
                async with asyncio.timeout(150):
                    while (await http.get(path)).json()[0]["status"] != "interrupted":
                        await asyncio.sleep(0.05)
    finally:
        database.remove()


def run_cli(*arguments, **variables):
    done = subprocess.run(
        [sys.executable, "-m", "loomline.server.cli", *arguments, "--config", str(PROJECT)],
        check=False,
        capture_output=True,
        text=True,
        timeout=150,
        env=os.environ | variables,
    )
    return done.returncode, done.stdout, done.stderr


def test_migrate_command_brings_the_schema_up_to_date(url):
    code, out, _ = run_cli("migrate", LOOMLINE_DATABASE_URL=url)
    assert (code, out) == (0, "The database is up to date.\n")
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT count(*) FROM loomline_threads").fetchone() == (0,)


@pytest.mark.parametrize("command", ["serve", "migrate"])
def test_a_database_that_cannot_be_reached(command):
    address = "postgresql://me:secret@127.0.0.1:1/db"
    code, out, err = run_cli(command, "--port=0", LOOMLINE_DATABASE_URL=address)
    assert (code, out) == (1, "")
    assert err == (
        "loomline: The database server at '127.0.0.1:1' cannot be reached. Check that it runs, and"
        " --database-url.\n"
    )


def test_an_address_of_another_kind_is_not_repeated():
    code, _, err = run_cli("serve", "--port=0", LOOMLINE_DATABASE_URL="mysql://me:secret@host/db")
    assert code == 2
    assert err == (
        "loomline: LOOMLINE_DATABASE_URL does not fit: it must look like"
        " postgresql://user:password@host:5432/name.\n"
    )


def test_a_driver_that_is_not_installed(tmp_path):
    (tmp_path / "psycopg.py").write_text("raise ImportError('no pq wrapper')")
    code, _, err = run_cli(
        "serve", "--port=0", LOOMLINE_DATABASE_URL="postgresql:///x", PYTHONPATH=str(tmp_path)
    )
    assert code == 1
    assert err.endswith('pip install "loomline[server,postgres]"\n')
    assert "Traceback" not in err
