"""A disk that is full: said clearly, survived, nothing half-written."""

import resource

import pytest
from tests.serving import Process

from loomline import get_sync_client
from loomline.errors import APIStatusError

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

TEXT = "x" * 20_000


def requests_that_write(client, thread):
    return {
        "thread": lambda: client.threads.create(metadata={"text": TEXT}),
        "patch": lambda: client.threads.update(thread, metadata={"text": TEXT}),
        "state": lambda: client.threads.update_state(
            thread, {"topic": TEXT}, as_node="generate_joke"
        ),
        "copy": lambda: client.threads.copy(thread),
        "assistant": lambda: client.assistants.create("joke", metadata={"text": TEXT}),
        "item": lambda: client.store.put_item(["a"], "k", {"text": TEXT}, index=False),
        "cron": lambda: client.crons.create("joke", schedule="@yearly", input={"text": TEXT}),
        "run": lambda: client.runs.create(thread, "joke", input={"topic": TEXT}),
    }


def counts(client):
    return (
        client.threads.count(),
        client.assistants.count(),
        client.crons.count(),
        len(client.store.search_items([])["items"]),
        len(client.runs.list(client.threads.search(limit=1)[0]["thread_id"])),
    )


def test_a_full_disk_is_said_and_survived(tmp_path):
    with (
        Process(tmp_path, log_level="error") as server,
        get_sync_client(url=server.url) as client,
    ):
        thread = client.threads.create(graph_id="joke")["thread_id"]
        client.threads.update_state(thread, {"topic": "kept"}, as_node="generate_joke")
        before = counts(client)
        pid, size = server.process.pid, max(each.stat().st_size for each in tmp_path.iterdir())
        _, most = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, most))
        for name, write in requests_that_write(client, thread).items():
            with pytest.raises(APIStatusError) as caught:
                write()
            assert caught.value.status_code == 503, name
            assert "writing its file failed" in str(caught.value)
        # What only reads goes on.
        assert client.threads.get_state(thread)["values"]["topic"] == "kept"
        assert counts(client) == before
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (most, most))
        for write in requests_that_write(client, thread).values():
            write()
        assert client.runs.wait(thread, "joke", input={"topic": "x"})["topic"]
        after = counts(client)
        code, _, _ = server.stop()
    assert code == 0
    with Process(tmp_path) as server, get_sync_client(url=server.url) as client:
        assert counts(client) == after
