"""Webhooks over the death of the server, and from the command line."""

import json
import subprocess
import sys
import threading

import pytest
from tests.e2e.site import metric, until
from tests.postgres import new_schema
from tests.receiver import receiving
from tests.serving import PROJECT, Process, free_port

from loomline import get_sync_client

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

HERE = "127.0.0.0/8"


@pytest.fixture(params=["sqlite", "postgres"])
def flags(request, tmp_path):
    flags = {"webhook_networks": HERE, "folder": tmp_path / "data"}
    return flags | ({"database_url": new_schema()} if request.param == "postgres" else {})


def test_a_webhook_survives_the_death_of_the_server(flags):
    flags |= {"webhook_timeout_seconds": "1"}
    with receiving() as receiver:
        receiver.hold = threading.Event()
        with Process(**flags) as server, get_sync_client(url=server.url) as client:
            thread = client.threads.create()["thread_id"]
            run = client.runs.create(thread, "joke", input={"topic": "x"}, webhook=receiver.url)
            first = receiver.next()
            server.kill()
        receiver.hold.set()
        with Process(**flags):
            second = receiver.next(60)
        assert first.body["run_id"] == second.body["run_id"] == run["run_id"]
        assert first.headers["webhook-id"] == second.headers["webhook-id"]


def test_a_receiver_that_was_away(flags):
    port = free_port()
    hook = f"http://127.0.0.1:{port}/"
    flags |= {"webhook_retry_seconds": "0.5"}
    with Process(**flags) as server, get_sync_client(url=server.url) as client:
        thread = client.threads.create()["thread_id"]
        client.runs.wait(thread, "joke", input={"topic": "x"}, webhook=hook)
        server.kill()
    with receiving(port) as receiver, Process(**flags):
        assert receiver.next(60).body["status"] == "success"


def loomline(*arguments, **flags):
    options = [f"--{name.replace('_', '-')}={value}" for name, value in flags.items()]
    return subprocess.run(
        [sys.executable, "-m", "loomline.server.cli", "webhooks", *arguments, *options],
        capture_output=True, text=True, timeout=150, check=False,
    )  # fmt: skip


def test_webhooks_command_lists_and_retries_dead_webhooks(flags):
    given = {"config": PROJECT, "data_dir": flags["folder"]}
    given |= {name: flags[name] for name in ("database_url",) if name in flags}
    with receiving() as receiver:
        with (
            Process(**flags, webhook_attempts="1") as server,
            get_sync_client(url=server.url) as client,
        ):
            for _ in range(2):
                receiver.answers.put(500)
                client.runs.wait(None, "joke", input={"topic": "x"}, webhook=receiver.url)
                receiver.next()
            while len(lines := loomline("list", **given).stdout.splitlines()) < 2:
                continue
            assert all("1 attempt, status 500" in line for line in lines)
            one = lines[0].split()[0]
            answer = loomline("retry", one, **given)
            assert answer.stdout == "1 webhook will be sent again.\n", answer.stderr
            assert receiver.next().headers["webhook-id"] == one
            # Killed before it has written that down, the server would send it again.
            until(lambda: metric(server, "loomline_webhooks_pending") == 0)
        answer = loomline("retry", "--all", **given)
        assert answer.stdout == "1 webhook will be sent again.\n"
        with Process(**flags):
            assert receiver.next().headers["webhook-id"] == lines[1].split()[0]


@pytest.mark.parametrize("wrong", [["retry"], ["retry", "x"], ["retry", "x", "--all"]])
def test_invalid_webhooks_command_is_refused_with_a_sentence(tmp_path, wrong):
    answer = loomline(*wrong, config=PROJECT, data_dir=tmp_path)
    assert answer.returncode == 1
    assert answer.stderr.startswith("loomline: ")
    assert "Traceback" not in answer.stderr


def test_webhooks_command_without_a_database_creates_nothing(tmp_path):
    answer = loomline("list", config=PROJECT, data_dir=tmp_path / "none")
    assert (answer.returncode, json.dumps(answer.stdout)) == (1, '""')
    assert "There is no database" in answer.stderr
    assert not (tmp_path / "none").exists()
