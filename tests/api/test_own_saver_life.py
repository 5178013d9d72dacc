"""How a server opens the user's own saver, closes it, and finds its states again."""

import asyncio
import base64
import logging
import sqlite3
from contextlib import closing

import httpx
import pytest
from tests.own_saver import config, get, new_thread, post, run
from tests.postgres import new_schema
from tests.serving import Process, serving_here

from loomline.server.domain.errors import CheckpointerLoadError
from loomline.server.settings import SettingsError


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
async def test_a_restarted_server_finds_its_states(tmp_path, kind):
    place = new_schema() if kind == "postgres" else tmp_path / "own.db"
    path = config(tmp_path, kind, place)
    with serving_here(tmp_path / "data", config=path) as address:
        async with httpx.AsyncClient(base_url=address, timeout=300) as http:
            thread = await new_thread(http)
            await run(http, thread, "ask")
    with serving_here(tmp_path / "data", config=path) as address:
        async with httpx.AsyncClient(base_url=address, timeout=300) as http:
            state = await get(http, f"/threads/{thread}/state")
            assert (state["values"], state["next"]) == ({"items": ["a"]}, ["ask"])
            ended = await run(http, thread, "ask", input=None, command={"resume": "yes"})
            assert ended == {"items": ["a"], "answer": "yes"}
    with closing(sqlite3.connect(tmp_path / "data" / "loomline.db")) as connection:
        for table in ("checkpoints", "checkpoint_blobs", "checkpoint_writes"):
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)


async def test_a_saver_in_the_schema_of_the_server_works(tmp_path):
    url = new_schema()
    path = config(tmp_path, "postgres", url)
    with serving_here(tmp_path / "data", config=path, database_url=url) as address:
        async with httpx.AsyncClient(base_url=address, timeout=300) as http:
            thread = await new_thread(http)
            await run(http, thread, "ask")
            copy = (await post(http, f"/threads/{thread}/copy"))["thread_id"]
            history = await post(http, f"/threads/{copy}/history", limit=10)
            assert [each["next"] for each in history] == [["ask"], ["a"], ["__start__"]]
            ended = await run(http, copy, "ask", input=None, command={"resume": "yes"})
            assert ended == {"items": ["a"], "answer": "yes"}
            assert (await http.delete(f"/threads/{copy}")).status_code == 204
            state = await get(http, f"/threads/{thread}/state")
            assert state["next"] == ["ask"]


async def test_rows_are_encrypted_beside_an_own_saver(tmp_path):
    path = config(tmp_path, "sqlite", tmp_path / "own.db")
    key = base64.b64encode(b"k" * 32).decode()
    with serving_here(tmp_path / "data", config=path, encryption_keys=key) as address:
        async with httpx.AsyncClient(base_url=address, timeout=300) as http:
            thread = await new_thread(http)
            await run(http, thread, "ask", input={"items": ["xyzzy"]})
            change = {"values": {"items": ["u"]}, "as_node": "a"}
            await post(http, f"/threads/{thread}/state", **change)
            row = await get(http, f"/threads/{thread}")
            assert row["values"] == {"items": ["xyzzy", "a", "u"]}
            ended = await run(http, thread, "ask", input=None, command={"resume": "yes"})
            assert ended["answer"] == "yes"
            copy = (await post(http, f"/threads/{thread}/copy"))["thread_id"]
            state = await get(http, f"/threads/{copy}/state")
            assert state["values"] == ended
    files = [each for each in (tmp_path / "data").iterdir() if each.is_file()]
    assert b"xyzzy" not in b"".join(each.read_bytes() for each in files)
    assert b"xyzzy" in (tmp_path / "own.db").read_bytes()


async def test_a_run_of_a_killed_server_goes_on_from_its_last_checkpoint(tmp_path):
    path, gate = config(tmp_path, "sqlite", tmp_path / "own.db"), tmp_path / "gate"
    body = {"assistant_id": "gated", "input": {"items": [], "answer": str(gate)}}
    with Process(tmp_path / "data", config=path) as server:
        async with httpx.AsyncClient(base_url=server.url, timeout=300) as http:
            thread = await new_thread(http)
            begun = await post(http, f"/threads/{thread}/runs", **body)
            while not gate.with_suffix(".begun").exists():
                await asyncio.sleep(0.01)
        server.kill()
    gate.touch()
    with Process(tmp_path / "data", config=path) as server:
        async with httpx.AsyncClient(base_url=server.url, timeout=300) as http:
            result = await get(http, f"/threads/{thread}/runs/{begun['run_id']}/join")
            assert result["items"] == ["a", "gate"]
            history = await post(http, f"/threads/{thread}/history", limit=10)
            assert len(history) == 4
        assert server.stop()[0] == 0


async def test_the_saver_is_used_on_the_loop_of_the_graphs_and_closed_at_the_end(tmp_path):
    protocol = tmp_path / "protocol"
    path = config(tmp_path, "watched", protocol)
    with serving_here(tmp_path / "data", config=path) as address:
        async with httpx.AsyncClient(base_url=address, timeout=300) as http:
            thread = await new_thread(http)
            await run(http, thread)
            await get(http, f"/threads/{thread}/state")
            await post(http, f"/threads/{thread}/history", limit=10)
            await post(http, f"/threads/{thread}/state", values={"items": ["u"]}, as_node="b")
            await post(http, f"/threads/{thread}/copy")
            await http.delete(f"/threads/{thread}")
    calls, threads = zip(*(line.split() for line in protocol.read_text().splitlines()), strict=True)
    assert set(threads) == {"loomline-runner"}
    assert (calls[0], calls[-1]) == ("opened", "closed")
    wanted = {"aget_tuple", "aput", "aput_writes", "adelete_thread", "alist"}
    assert wanted <= set(calls)


@pytest.mark.parametrize(
    "kind", ["instance", "function", "coroutine", "generator", "blocking", "manager", "Watched"]
)
async def test_every_way_to_make_a_saver_works(tmp_path, kind):
    path = config(tmp_path, kind, tmp_path / "own")
    with serving_here(tmp_path / "data", config=path) as address:
        async with httpx.AsyncClient(base_url=address, timeout=300) as http:
            thread = await new_thread(http)
            await run(http, thread)
            state = await get(http, f"/threads/{thread}/state")
            assert state["values"]["items"] == ["a", "b"]


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("/nowhere/savers.py:make", "there is no file '/nowhere/savers.py'"),
        ("missing", "the file has no 'missing'"),
        ("number", "'number' is of type 'int'. It must be an async context manager function"),
        ("asks", "'asks' requires the parameter 'url'"),
        ("makes_text", "'makes_text' made an object of type 'str'"),
        ("away", "opening it raised ConnectionError: the database is away"),
        ("without_setup", "whether the saver needs 'await saver.setup()'"),
        ("sync_sqlite", "'SqliteSaver' does not implement 'aput_writes', 'adelete_thread'"),
        ("NotAsync", "'NotAsync' has no async methods. Use a saver with async methods"),
        ("sync_postgres", "'PostgresSaver' does not implement 'aput', 'aput_writes'"),
    ],
)
async def test_a_saver_that_cannot_be_used_ends_the_start_with_the_reason(tmp_path, kind, reason):
    path = config(tmp_path, kind, new_schema() if "setup" in reason or "Postgres" in reason else "")
    with pytest.raises(CheckpointerLoadError) as caught, serving_here(tmp_path, config=path):
        pass
    assert str(caught.value).startswith("Failed to load 'checkpointer.path' from ")
    assert reason in str(caught.value)


def test_a_path_that_names_no_variable_is_refused(tmp_path):
    path = config(tmp_path, "./savers.py")
    must = '"checkpointer.path" in .* must be given as "file.py:variable"'
    with pytest.raises(SettingsError, match=must), serving_here(tmp_path, config=path):
        pass


async def test_a_saver_that_fails_is_answered_with_503_and_no_details(tmp_path):
    with serving_here(tmp_path / "data", config=config(tmp_path, "failing")) as address:
        async with httpx.AsyncClient(base_url=address, timeout=300) as http:
            thread = await new_thread(http)
            await run(http, thread)
            answer = await http.delete(f"/threads/{thread}")
            assert answer.status_code == 503
            assert "checkpointer.path" in answer.json()["detail"]
            assert "secret.example" not in answer.text
            assert (await get(http, f"/threads/{thread}"))["status"] == "idle"


async def test_missing_methods_are_named_in_the_log(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    with serving_here(tmp_path / "data", config=config(tmp_path, "function")):
        pass
    told = [each.getMessage() for each in caplog.records if each.name == "loomline.graphs"]
    assert told[0] == "checkpoints are kept by your own saver"
    for name in ("acopy_thread", "adelete_for_runs", "aprune"):
        assert any(f"does not implement '{name}'" in each for each in told)
