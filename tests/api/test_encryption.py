"""Encryption at rest: nothing readable is left in the database, and everything works as before."""

import asyncio
import base64
import json
import sqlite3
import sys
from contextlib import closing

import httpx
import langgraph_sdk
import psycopg
import pytest
from tests.postgres import new_schema
from tests.receiver import receiving
from tests.serving import PROJECT, serving_here

import loomline
from loomline.server.cli import main
from loomline.server.domain.errors import GraphLoadError
from loomline.server.settings import SettingsError
from loomline.server.storage.sealed_fields import COLUMNS

FOLDER = PROJECT.parent / "sealed"
SECRET = "xyzzy"

OLD, NEW = (base64.b64encode(bytes([number]) * 32).decode() for number in (1, 2))

KINDS = {
    "ours": {"path": f"{FOLDER}/handlers.py:ours"},
    "official": {"path": f"{FOLDER}/handlers.py:official"},
    "keys": {"encryption_keys": OLD, "encryption_metadata_keys": "*"},
}


@pytest.fixture(params=["sqlite", "postgres"])
def place(request, tmp_path):
    """A database, and how to read all of it."""
    if request.param == "sqlite":
        return Sqlite(tmp_path)
    return Postgres(tmp_path)


class Sqlite:
    def __init__(self, folder):
        self.folder = folder
        self.flags = {}

    def content(self):
        files = [each for each in (self.folder / "data").iterdir() if each.is_file()]
        assert any(each.suffix == ".db" for each in files)
        return b"".join(each.read_bytes() for each in files)

    def blobs(self):
        with closing(sqlite3.connect(self.folder / "data" / "loomline.db")) as connection:
            return connection.execute(
                "SELECT type, content FROM checkpoint_blobs"
                " UNION ALL SELECT type, content FROM checkpoint_writes"
            ).fetchall()


class Postgres:
    def __init__(self, folder):
        self.folder = folder
        self.url = new_schema()
        self.flags = {"database_url": self.url}

    def content(self):
        found = []
        with psycopg.connect(self.url) as connection:
            tables = connection.execute(
                "SELECT table_name FROM information_schema.tables WHERE table_schema = current_schema()"
            ).fetchall()
            for (table,) in tables:
                # Bytes are shown as they are where they are text.
                rows = connection.execute(f'SELECT * FROM "{table}"')
                found += [_bytes(value) for row in rows for value in row]
        assert len(found) > 50
        return b"\n".join(found)

    def blobs(self):
        with psycopg.connect(self.url) as connection:
            return connection.execute(
                "SELECT type, blob FROM checkpoint_blobs"
                " UNION ALL SELECT type, blob FROM checkpoint_writes"
            ).fetchall()


def _bytes(value):
    if isinstance(value, (bytes, memoryview)):
        return bytes(value)
    return json.dumps(value, default=str).encode()


def serve(place, *, path=None, http=None, graphs=None, sections=None, **flags):
    config = place.folder / "langgraph.json"
    document = {"graphs": graphs or {"sealed": f"{FOLDER}/graphs.py:graph"}}
    document |= sections or {}
    if path is not None:
        document["encryption"] = {"path": path}
    if http is not None:
        document["http"] = http
    config.write_text(json.dumps(document))
    return serving_here(
        place.folder / "data", config=config, heartbeat_seconds="0.2", **place.flags, **flags
    )


async def write_secret_everywhere(client):
    """Put the secret wherever a client can put something; return where."""
    words = {"word": SECRET, "owner": "ada"}
    assistant = await client.assistants.create(
        "sealed", config={"tags": [SECRET]}, context={"c": SECRET}, metadata=words
    )
    await client.assistants.update(assistant["assistant_id"], metadata={"more": SECRET})
    thread = await client.threads.create(metadata=words)
    thread_id = thread["thread_id"]
    await client.threads.update(thread_id, metadata={"later": SECRET})
    waiting = await client.runs.wait(
        thread_id,
        assistant["assistant_id"],
        input={"messages": [("human", SECRET)], "short": SECRET},
        metadata={"run": SECRET},
    )
    assert waiting["__interrupt__"][0]["value"] == {"question": f"about {SECRET} again?"}
    cron = await client.crons.create(
        assistant["assistant_id"],
        schedule="0 0 1 1 *",
        input={"short": SECRET},
        metadata=words,
        config={"tags": [SECRET]},
    )
    await client.crons.create_for_thread(
        thread_id, assistant["assistant_id"], schedule="0 0 1 1 *", input={"short": SECRET}
    )
    await client.store.put_item(("client",), key="k", value={"v": SECRET, "list": [SECRET]})
    await client.threads.update_state(thread_id, {"short": f"{SECRET} edited"})
    failed = await client.threads.create()
    await client.runs.wait(
        failed["thread_id"], "sealed", input={"short": SECRET, "fail": True}, raise_error=False
    )
    await use_thread_events(client, assistant["assistant_id"])
    copied = await client.threads.copy(thread_id)
    return {
        "assistant": assistant["assistant_id"],
        "thread": thread_id,
        "failed": failed["thread_id"],
        "cron": cron["cron_id"],
        "copied": copied["thread_id"],
    }


async def use_thread_events(client, assistant_id):
    """Store the last events of a run, with a question that holds the secret."""
    thread_id = (await client.threads.create())["thread_id"]
    params = {"assistant_id": assistant_id, "input": {"short": SECRET}}
    command = {"id": 1, "method": "run.start", "params": params}
    started = await client.http.post(f"/threads/{thread_id}/commands", json=command)
    await client.runs.join(thread_id, started["result"]["run_id"])
    thread = await client.threads.get(thread_id)
    ((question,),) = thread["interrupts"].values()
    assert question["value"] == {"question": f"about {SECRET} again?"}


async def check_everything_readable(client, places, *, searchable):
    """Look at everything that has been put somewhere."""
    assistant = await client.assistants.get(places["assistant"])
    assert assistant["config"] == {"tags": [SECRET], "configurable": {"c": SECRET}}
    assert assistant["context"] == {"c": SECRET}
    assert assistant["metadata"]["word"] == SECRET
    assert assistant["metadata"]["more"] == SECRET
    versions = await client.assistants.get_versions(places["assistant"])
    assert [each["context"] for each in versions] == [{"c": SECRET}] * 2
    thread = await client.threads.get(places["thread"])
    assert thread["metadata"]["word"] == thread["metadata"]["later"] == SECRET
    assert thread["values"]["short"] == f"{SECRET} edited"
    state = await client.threads.get_state(places["thread"])
    assert state["values"]["messages"][0]["content"] == SECRET
    assert state["values"]["short"] == f"{SECRET} edited"
    history = await client.threads.get_history(places["thread"], limit=50)
    assert [each["metadata"]["step"] for each in history] == [3, 2, 1, 0, -1]
    assert history[1]["metadata"]["run"] == SECRET
    found = await client.threads.get_history(places["thread"], metadata={"run": SECRET})
    assert {each["metadata"]["step"] for each in found} >= {-1, 0, 1, 2}
    run = (await client.runs.list(places["thread"]))[0]
    assert run["metadata"]["run"] == SECRET
    assert run["kwargs"]["input"]["short"] == SECRET
    assert not [key for key in run["kwargs"] if key.startswith("loomline")]
    failed = await client.threads.get(places["failed"])
    assert failed["status"] == "error"
    assert failed["error"]
    crons = await client.crons.search(limit=10)
    assert sorted(each["payload"]["input"]["short"] for each in crons) == [SECRET, SECRET]
    assert {SECRET} == {each["metadata"]["word"] for each in crons if each["metadata"].get("word")}
    assert (await client.store.get_item(("client",), key="k"))["value"]["list"] == [SECRET]
    notes = (await client.store.search_items(("notes",)))["items"]
    assert {each["value"]["note"] for each in notes} == {
        f"stored {SECRET}",
        f"stored {SECRET} again",
    }
    # The keys of objects are searched as they lie there.
    by_owner = await client.threads.search(metadata={"owner": "ada"})
    by_word = await client.threads.search(metadata={"word": SECRET})
    assert bool(by_owner) is searchable["owner"]
    assert bool(by_word) is searchable["word"]
    by_graph = await client.threads.search(metadata={"graph_id": "sealed"})
    assert places["thread"] in {each["thread_id"] for each in by_graph}
    by_value = await client.threads.search(values={"short": f"{SECRET} edited"})
    assert bool(by_value) is searchable["values"]


@pytest.mark.parametrize("kind", KINDS)
async def test_nothing_readable_is_left(place, kind):
    await check_nothing_readable_is_left(place, kind, loomline)


async def test_values_of_the_official_client_are_encrypted(tmp_path):
    await check_nothing_readable_is_left(Sqlite(tmp_path), "official", langgraph_sdk)


async def check_nothing_readable_is_left(place, kind, package):
    settings = KINDS[kind]
    searchable = {"owner": kind != "keys", "word": False, "values": False}
    with serve(place, **settings) as address:
        async with package.get_client(url=address, api_key=None) as client:
            places = await write_secret_everywhere(client)
            await check_everything_readable(client, places, searchable=searchable)
            extract = {"it": "values.messages[0].content", "m": "metadata.word"}
            async with httpx.AsyncClient(base_url=address) as http:
                body = {"extract": extract, "select": ["thread_id"], "ids": [places["thread"]]}
                rows = (await http.post("/threads/search", json=body)).json()
        assert rows == [{"thread_id": places["thread"], "extracted": {"it": SECRET, "m": SECRET}}]
    assert SECRET.encode() not in place.content()
    # Whoever comes later finds it again, and the run that waits goes on.
    with serve(place, **settings) as address:
        async with package.get_client(url=address, api_key=None) as client:
            await check_everything_readable(client, places, searchable=searchable)
            done = await client.runs.wait(places["copied"], "sealed", command={"resume": "yes"})
            assert done["messages"][0]["content"] == SECRET
    assert SECRET.encode() not in place.content()


async def test_without_encryption_it_would_be_found(place):
    with serve(place) as address:
        async with loomline.get_client(url=address, api_key=None) as client:
            places = await write_secret_everywhere(client)
            everywhere = {"owner": True, "word": True, "values": True}
            await check_everything_readable(client, places, searchable=everywhere)
    assert SECRET.encode() in place.content()
    # What is there from before stays readable.
    with serve(place, encryption_keys=OLD) as address:
        async with loomline.get_client(url=address, api_key=None) as client:
            await check_everything_readable(client, places, searchable=everywhere)
            done = await client.runs.wait(places["copied"], "sealed", command={"resume": "yes"})
            assert done["messages"][0]["content"] == SECRET
            assert done["short"] == f"{SECRET} edited"
            await client.threads.update(places["thread"], metadata={"new": "n"})
            await check_everything_readable(client, places, searchable=everywhere)


async def test_metadata_stays_readable_unless_named(place):
    with serve(place, encryption_keys=OLD, encryption_metadata_keys="word, later") as address:
        async with loomline.get_client(url=address, api_key=None) as client:
            await client.threads.create(metadata={"word": SECRET, "other": "visible"})
            assert len(await client.threads.search(metadata={"other": "visible"})) == 1
            assert await client.threads.search(metadata={"word": SECRET}) == []
    content = place.content()
    assert SECRET.encode() not in content
    assert b"visible" in content


async def reencrypt(place, **flags):
    options = {"config": place.folder / "langgraph.json", "data_dir": place.folder / "data"}
    given = [f"--{name.replace('_', '-')}={each}" for name, each in (options | flags).items()]
    return await asyncio.to_thread(main, ["reencrypt", *given])


@pytest.mark.parametrize("metadata", ["", "*"])
async def test_reencrypt_replaces_the_key_of_every_stored_value(place, capsys, metadata):
    named = {"encryption_metadata_keys": metadata}
    with serve(place, encryption_keys=OLD, **named) as address:
        async with loomline.get_client(url=address, api_key=None) as client:
            places = await write_secret_everywhere(client)
            searchable = {"owner": not metadata, "word": not metadata, "values": False}
            await check_everything_readable(client, places, searchable=searchable)
    both = {"encryption_keys": f"{NEW},{OLD}", **named}
    with serve(place, **both) as address:
        async with loomline.get_client(url=address, api_key=None) as client:
            await check_everything_readable(client, places, searchable=searchable)
            await client.store.put_item(("new",), key="k", value={"v": SECRET})
            # A SQLite file belongs to one process; with PostgreSQL the servers go on meanwhile.
            beside = await reencrypt(place, **both, **place.flags)
            assert beside == (0 if place.flags else 1)
            await check_everything_readable(client, places, searchable=searchable)
    with serve(place, encryption_keys=NEW, **named) as address:
        async with loomline.get_client(url=address, api_key=None) as client:
            assert (await client.store.get_item(("new",), key="k"))["value"] == {"v": SECRET}
        if place.flags:
            async with loomline.get_client(url=address, api_key=None) as client:
                await check_everything_readable(client, places, searchable=searchable)
            return
        async with httpx.AsyncClient(base_url=address) as http:
            lost = await http.get(f"/threads/{places['thread']}")
            assert (lost.status_code, lost.json()) == (500, {"detail": "Internal Server Error"})
            assert (await http.get(f"/threads/{places['thread']}/state")).status_code == 500
    assert await reencrypt(place, **both, **place.flags) == 0
    assert int(capsys.readouterr().out.split()[0]) > 20
    with serve(place, encryption_keys=NEW, **named) as address:
        async with loomline.get_client(url=address, api_key=None) as client:
            await check_everything_readable(client, places, searchable=searchable)
            done = await client.runs.wait(places["copied"], "sealed", command={"resume": "yes"})
            assert done["messages"][0]["content"] == SECRET


async def test_encrypting_anew_keeps_the_tenants(place):
    path = f"{FOLDER}/handlers.py:tenants"
    with serve(place, path=path, http={"app": f"{FOLDER}/tenants.py:app"}) as address:
        async with loomline.get_client(
            url=address, api_key=None, headers={"x-tenant": "acme"}
        ) as acme:
            places = await write_secret_everywhere(acme)
    assert await reencrypt(place, **place.flags) == 0
    assert place.content().count(b'"tenant"') > 100
    with serve(place, path=path) as address:
        async with loomline.get_client(url=address, api_key=None) as client:
            await check_everything_readable(
                client, places, searchable={"owner": True, "word": False, "values": False}
            )


async def test_nothing_to_encrypt_anew(tmp_path, capsys):
    place = Sqlite(tmp_path)
    with serve(place):
        pass
    assert await reencrypt(place) == 1
    assert "No encryption is configured" in capsys.readouterr().err
    assert await reencrypt(place, encryption_keys=OLD) == 0


async def test_each_tenant_has_a_key(place):
    app = f"{FOLDER}/tenants.py:app"
    with serve(place, path=f"{FOLDER}/handlers.py:tenants", http={"app": app}) as address:
        async with (
            loomline.get_client(url=address, api_key=None, headers={"x-tenant": "acme"}) as acme,
            loomline.get_client(url=address, api_key=None) as nobody,
        ):
            places = await write_secret_everywhere(acme)
            # The key is that of who has stored it, whoever reads it.
            await check_everything_readable(
                nobody, places, searchable={"owner": True, "word": False, "values": False}
            )
    assert SECRET.encode() not in place.content()
    # Whatever a run, its nodes, a cron and changes of states have stored has the tenant's key.
    for kind, content in place.blobs():
        assert kind.startswith("sealed:")
        assert content[4:].startswith(b'{"tenant":"acme"}')


async def test_handlers_are_called_apart(place):
    with serve(place, **KINDS["ours"]) as address:
        async with loomline.get_client(url=address, api_key=None) as client:
            await write_secret_everywhere(client)
    modules = list(sys.modules.values())
    (module,) = [each for each in modules if getattr(each, "MODELS", None)]
    assert {"loomline-encryption"} == module.THREADS
    listed = {(field.model, field.name) for each in COLUMNS.values() for field in each.values()}
    # This server has no users, and no run of a thread has a config. The error of a thread is that
    # of its run. JSON handlers never get a notice or the values of a checkpoint as a whole.
    unseen = {
        ("run", "user"), ("cron", "user"), ("thread", "config"), ("thread", "error"),
        ("run", "notice"), ("checkpoint", "values"),
    }  # fmt: skip
    assert listed - unseen <= module.MODELS
    assert listed | {("cron", "config"), ("cache", "value")} >= module.MODELS


@pytest.mark.parametrize("name", ["loses", "fails"])
async def test_failing_encryption_handler_stores_nothing_and_reveals_nothing(
    tmp_path, name, caplog
):
    with serve(Sqlite(tmp_path), path=f"{FOLDER}/handlers.py:{name}") as address:
        async with httpx.AsyncClient(base_url=address) as http:
            answer = await http.post("/threads", json={"metadata": {"word": SECRET}})
            assert (answer.status_code, answer.json()) == (500, {"detail": "Internal Server Error"})
            assert (await http.post("/threads/count", json={})).json() == 0


async def test_plaintext_resembling_ciphertext_is_stored_verbatim(tmp_path):
    odd = {"loomline:sealed": "aes:AAAA", "context": {"tenant": "other"}}
    with serve(Sqlite(tmp_path), encryption_keys=OLD) as address:
        async with loomline.get_client(url=address, api_key=None) as client:
            thread = await client.threads.create(metadata={"word": odd, "graph_id": odd})
            assert thread["metadata"] == {"word": odd, "graph_id": odd}
            cron = await client.crons.create(
                "sealed",
                schedule="@yearly",
                input={"short": odd},
                metadata=odd,
                config={"configurable": odd},
            )
            (found,) = await client.crons.search()
            assert found["cron_id"] == cron["cron_id"]
            assert found["payload"]["input"] == {"short": odd}
            assert found["payload"]["metadata"] == odd
            assert found["metadata"] == odd
            assert found["payload"]["config"]["configurable"].items() >= odd.items()
            assistant = await client.assistants.create("sealed", context=odd, metadata=odd)
            found = await client.assistants.get(assistant["assistant_id"])
            assert found["context"] == found["config"]["configurable"] == odd
            values = await client.runs.wait(thread["thread_id"], "sealed", input={"short": odd})
            assert values["short"] == f"{odd} again"
    assert await reencrypt(Sqlite(tmp_path), encryption_keys=f"{NEW},{OLD}") == 0
    with serve(Sqlite(tmp_path), encryption_keys=NEW) as address:
        async with loomline.get_client(url=address, api_key=None) as client:
            assert (await client.crons.search())[0]["metadata"] == odd
            found = await client.assistants.get(assistant["assistant_id"])
            assert found["context"] == found["config"]["configurable"] == odd
            found = await client.threads.get(thread["thread_id"])
            assert found["metadata"]["word"] == odd


@pytest.mark.parametrize(
    ("path", "flags", "error", "text"),
    [
        ("handlers.py:half", {}, SettingsError, "no blob decryptor: add the missing one."),
        ("handlers.py:empty", {}, SettingsError, "it has no handlers"),
        ("handlers.py:nothing", {}, SettingsError, "is of type 'dict'"),
        ("handlers.py:absent", {}, GraphLoadError, "has no 'absent'"),
        ("handlers.py:ours", {"encryption_keys": OLD}, SettingsError, "use one of the two"),
        (None, {"encryption_keys": "short"}, SettingsError, "must be keys of 32 bytes each"),
    ],
)
def test_unusable_encryption_settings_are_refused_with_their_reason(
    tmp_path, path, flags, error, text
):
    where = None if path is None else f"{FOLDER}/{path}"
    with pytest.raises(error, match=text) as caught, serve(Sqlite(tmp_path), path=where, **flags):
        pass
    assert "short" not in str(caught.value) or path is not None


async def stored(place, url):
    """Return what is in the database once a webhook has failed."""
    users = {"auth": {"path": f"{FOLDER}/users.py:auth"}}
    names = {"configurable_headers": {"includes": ["x-api-secret"]}}
    flags = {"webhook_networks": "127.0.0.0/8", "webhook_retry_seconds": "3600"}
    with serve(place, encryption_keys=OLD, http=names, sections=users, **flags) as address:
        headers = {"authorization": f"Bearer {SECRET}", "x-api-secret": SECRET}
        async with loomline.get_client(url=address, api_key=None, headers=headers) as client:
            thread = (await client.threads.create())["thread_id"]
            await client.runs.wait(
                thread, "sealed", input={"short": SECRET, "fail": True}, webhook=url,
                raise_error=False,
            )  # fmt: skip
            await client.crons.create("sealed", schedule="@yearly", input={"short": SECRET})
            copied = await client.threads.copy(thread)
            assert copied["values"]["short"].startswith(SECRET)
            body = {"id": 1, "method": "run.start", "params": {"assistant_id": "sealed"}}
            started = await client.http.post(f"/threads/{thread}/commands", json=body)
            assert started["type"] == "success"
            await client.runs.join(thread, started["result"]["run_id"])
            (first, *_) = await client.runs.list(thread)
            assert first["kwargs"]["config"]["configurable"]["x-api-secret"] == "***"
        metrics = await asyncio.to_thread(httpx.get, f"{address}/metrics?format=json")
    return metrics.json()["webhooks"], place.content()


async def test_webhooks_and_users_are_encrypted_and_told(place):
    """What waits to be told, and the tokens of those whose runs and crons there are."""
    with receiving() as receiver:
        receiver.answers.put(500)
        _, content = await stored(place, receiver.url)
        assert receiver.next().body["status"] == "error"
        assert SECRET.encode() not in content
        assert await reencrypt(place, encryption_keys=f"{NEW},{OLD}", **place.flags) == 0
        assert SECRET.encode() not in place.content()
        await told_again(place)
        flags = {"webhook_networks": "127.0.0.0/8", "encryption_keys": NEW}
        with serve(place, **flags):
            body = (await asyncio.to_thread(receiver.next)).body
    assert body["kwargs"]["input"]["short"] == SECRET
    assert SECRET in body["error"]["message"] or body["error"]["error"] == "ValueError"
    assert body["kwargs"]["config"]["configurable"]["x-api-secret"] == "***"
    assert body["values"]["short"] == f"{SECRET} again"


async def told_again(place):
    """Make what is to be sent in an hour due now."""
    if isinstance(place, Sqlite):
        with closing(sqlite3.connect(place.folder / "data" / "loomline.db")) as connection:
            connection.execute("UPDATE webhooks SET due_at = 0")
            connection.commit()
    else:
        with psycopg.connect(place.url) as connection:
            connection.execute("UPDATE loomline_webhooks SET due_at = now()")
