"""What is stored is there again after a restart, on either database."""

import pytest
from tests.postgres import new_schema
from tests.serving import Process

from loomline import get_sync_client

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


@pytest.fixture(params=["sqlite", "postgres"])
def start(request, tmp_path):
    flags = {"database_url": new_schema()} if request.param == "postgres" else {}
    return lambda: Process(tmp_path / "data", **flags)


def fill(client):
    """Make one or more of everything."""
    assistant = client.assistants.create("joke", name="First", metadata={"kept": True})
    client.assistants.update(assistant["assistant_id"], name="Second", context={"tone": "dry"})
    thread = client.threads.create(metadata={"kept": True}, ttl=60)["thread_id"]
    client.runs.wait(thread, assistant["assistant_id"], input={"topic": "x"})
    client.threads.update_state(thread, {"topic": "later"}, as_node="generate_joke")
    client.threads.copy(thread)
    waiting = client.threads.create()["thread_id"]
    client.runs.wait(waiting, "ask", input={"log": []})
    failed = client.threads.create()["thread_id"]
    client.runs.wait(failed, "boom", input={"log": []}, raise_error=False)
    client.store.put_item(["a", "b"], "key", {"kept": [1, None, "ä"]})
    client.crons.create("joke", schedule="0 0 1 1 *", input={"topic": "x"}, timezone="Asia/Kolkata")
    client.crons.create_for_thread(thread, "joke", schedule="@yearly", enabled=False)


def everything(client):
    """Return all that can be read, by place."""
    threads = client.threads.search(limit=100, sort_by="thread_id")
    assistants = client.assistants.search(limit=100, sort_by="name")
    places = [thread["thread_id"] for thread in threads]
    return {
        "threads": threads,
        "ttl": [client.threads.get(place, include=["ttl"]) for place in places],
        "states": [client.threads.get_state(place, subgraphs=True) for place in places],
        "histories": [client.threads.get_history(place, limit=100) for place in places],
        "runs": [client.runs.list(place) for place in places],
        "assistants": assistants,
        "versions": [client.assistants.get_versions(each["assistant_id"]) for each in assistants],
        "crons": client.crons.search(limit=100),
        "items": client.store.search_items([], limit=100)["items"],
        "namespaces": client.store.list_namespaces(),
    }


def test_everything_is_there_again(start):
    with start() as server, get_sync_client(url=server.url) as client:
        fill(client)
        before = everything(client)
        assert [len(before[name]) for name in ("threads", "crons", "items")] == [4, 2, 1]
        code, _, _ = server.stop()
    assert code == 0
    with start() as server, get_sync_client(url=server.url) as client:
        after = everything(client)
        for name, value in before.items():
            assert after[name] == value, name
        server.kill()
    with start() as server, get_sync_client(url=server.url) as client:
        assert everything(client) == before
        (waiting,) = client.threads.search(status="interrupted")
        client.runs.wait(waiting["thread_id"], "ask", command={"resume": "yes"})
        assert client.threads.get(waiting["thread_id"])["status"] == "idle"
