"""What survives when the process is killed."""

import asyncio
import base64
import os
import time

import pytest
from tests.serving import Process, free_port
from tests.threads import Thread, events_until_end

from loomline import get_sync_client

# More rounds on demand: LOOMLINE_TEST_CRASHES=20
ROUNDS = int(os.environ.get("LOOMLINE_TEST_CRASHES", "1"))

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


def until(condition, seconds=150):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.01)
    raise AssertionError("it did not happen")


def begun(folder):
    notes = folder / "begun"
    return notes.read_text().split() if notes.exists() else []


KEYS = {"encryption_keys": base64.b64encode(b"k" * 32).decode()}


@pytest.mark.parametrize("flags", [{}, KEYS], ids=["plain", "encrypted"])
@pytest.mark.parametrize("_", range(ROUNDS))
def test_a_running_run_continues_from_its_last_checkpoint(tmp_path, _, flags):
    with (
        Process(tmp_path / "data", **flags) as server,
        get_sync_client(url=server.url) as client,
    ):
        thread = client.threads.create()["thread_id"]
        run = client.runs.create(thread, "steps", input={"folder": str(tmp_path)})
        (tmp_path / "go-one").touch()
        until(lambda: begun(tmp_path) == ["one", "two"])
        # The first step's checkpoint is written while the second step executes.
        time.sleep(0.1)
        server.kill()
    for name in ("two", "three"):
        (tmp_path / f"go-{name}").touch()
    with (
        Process(tmp_path / "data", **flags) as server,
        get_sync_client(url=server.url) as client,
    ):
        result = client.runs.join(thread, run["run_id"])
        assert result["log"] == ["one", "two", "three"]
        assert client.runs.get(thread, run["run_id"])["status"] == "success"
        assert begun(tmp_path) == ["one", "two", "two", "three"]


@pytest.mark.parametrize("_", range(ROUNDS))
def test_an_acknowledged_run_is_executed(tmp_path, _):
    with Process(tmp_path / "data") as server, get_sync_client(url=server.url) as client:
        blocker = client.threads.create()["thread_id"]
        client.runs.create(blocker, "sleepy", input={})
        runs = [
            client.runs.create(blocker, "joke", input={"topic": str(number)}) for number in range(5)
        ]
        threads = [client.threads.create()["thread_id"] for _ in range(5)]
        others = [client.runs.create(thread, "joke", input={"topic": "x"}) for thread in threads]
        server.kill()
    with Process(tmp_path / "data") as server, get_sync_client(url=server.url) as client:
        for run in others:
            client.runs.join(run["thread_id"], run["run_id"])
            assert client.runs.get(run["thread_id"], run["run_id"])["status"] == "success"
        (sleeping,) = [run for run in client.runs.list(blocker) if run["status"] == "running"]
        client.runs.cancel(blocker, sleeping["run_id"])
        for number, run in enumerate(runs):
            client.runs.join(blocker, run["run_id"])
            found = client.runs.get(blocker, run["run_id"])
            assert (found["status"], found["kwargs"]["input"]) == (
                "success",
                {"topic": str(number)},
            )


def test_the_attempt_is_counted_and_told(tmp_path):
    with Process(tmp_path / "data") as server, get_sync_client(url=server.url) as client:
        thread = client.threads.create()["thread_id"]
        run = client.runs.create(
            thread, "steps", input={"folder": str(tmp_path)}, stream_resumable=True
        )
        until(lambda: begun(tmp_path) == ["one"])
        server.kill()
    for name in ("one", "two", "three"):
        (tmp_path / f"go-{name}").touch()
    with Process(tmp_path / "data") as server, get_sync_client(url=server.url) as client:
        parts = list(client.runs.join_stream(thread, run["run_id"], last_event_id="-1"))
        assert parts[0].data == {"run_id": run["run_id"], "attempt": 2}
        assert parts[-1].data["log"] == ["one", "two", "three"]


def test_a_run_that_kills_its_server_is_given_up(tmp_path):
    with Process(tmp_path / "data") as first, get_sync_client(url=first.url) as client:
        thread = client.threads.create()["thread_id"]
        run = client.runs.create(thread, "steps", input={"folder": str(tmp_path)})
        until(lambda: begun(tmp_path) == ["one"])
        first.kill()
    for attempt in (2, 3):
        with Process(tmp_path / "data") as again:
            until(lambda attempt=attempt: len(begun(tmp_path)) == attempt)
            again.kill()
    with Process(tmp_path / "data") as last, get_sync_client(url=last.url) as client:
        assert client.runs.get(thread, run["run_id"])["status"] == "error"
        assert client.threads.get(thread)["error"]["error"] == "RunAttemptsExhausted"


def test_a_client_follows_its_run_over_a_crash(tmp_path):
    """The stream breaks with the server and goes on with the next one, at the same address."""
    server = Process(tmp_path / "data")
    with get_sync_client(url=server.url) as client:
        thread = client.threads.create()["thread_id"]
        stream = client.runs.stream(
            thread,
            "steps",
            input={"folder": str(tmp_path)},
            stream_mode="updates",
            stream_resumable=True,
        )
        (tmp_path / "go-one").touch()
        parts = [next(stream), next(stream)]
        time.sleep(0.1)
        server.kill()
        (tmp_path / "go-two").touch()
        (tmp_path / "go-three").touch()
        with Process(tmp_path / "data", port=server.port):
            parts += list(stream)
    assert [part.data for part in parts if part.event == "updates"][0] == {"one": {"log": ["one"]}}
    assert [part.data for part in parts][-1] == {"three": {"log": ["three"]}}


def test_a_stopped_server_hands_its_runs_over(tmp_path):
    with (
        Process(tmp_path / "data", shutdown_grace_seconds=0.2) as server,
        get_sync_client(url=server.url) as client,
    ):
        thread = client.threads.create()["thread_id"]
        run = client.runs.create(thread, "steps", input={"folder": str(tmp_path)})
        until(lambda: begun(tmp_path) == ["one"])
        code, _, errors = server.stop()
        assert (code, "Traceback" in errors) == (0, False)
    for name in ("one", "two", "three"):
        (tmp_path / f"go-{name}").touch()
    with Process(tmp_path / "data") as server, get_sync_client(url=server.url) as client:
        assert client.runs.join(thread, run["run_id"])["log"] == ["one", "two", "three"]
        parts = client.runs.get(thread, run["run_id"])
        assert parts["status"] == "success"


async def test_a_thread_that_is_followed_goes_on_after_a_crash(tmp_path):
    port = free_port()
    with Process(tmp_path / "data", port=port, lease_seconds="1") as server:
        thread = Thread(server.url)
        await thread.start("steps", {"folder": str(tmp_path)})
        before = []
        async with thread.sse() as events:
            (tmp_path / "go-one").touch()
            async for event in events:
                before.append(event)
                if event["method"] == "checkpoints" and event["params"]["data"]["step"] == 1:
                    break
        # The checkpoint of that step is written while the next step executes.
        until(lambda: begun(tmp_path) == ["one", "two"])
        await asyncio.sleep(0.1)
        server.kill()
    for name in ("two", "three"):
        (tmp_path / f"go-{name}").touch()
    with Process(tmp_path / "data", port=port):
        async with thread.sse(since=before[-1]["seq"]) as events:
            after = await events_until_end(events)
        everything = await thread.until_end()
    assert before[-1]["seq"] < after[0]["seq"]
    assert after == everything
    numbers = [event["seq"] for event in before + after]
    assert numbers == sorted(set(numbers))
    names = [event["event_id"] for event in before + after]
    assert len(set(names)) == len(names)
    last = [event for event in after if event["method"] == "values"][-1]
    assert last["params"]["data"]["log"] == ["one", "two", "three"]


async def test_how_a_run_ended_is_told_though_its_events_are_lost(tmp_path):
    port = free_port()
    with Process(tmp_path / "data", port=port) as server:
        thread = Thread(server.url)
        await thread.start("boom", {"topic": "tea"})
        whole = await thread.until_end()
        server.kill()
    with Process(tmp_path / "data", port=port):
        async with thread.sse(since=whole[-2]["seq"]) as events:
            (end,) = await events_until_end(events)
        assert end["event_id"] == whole[-1]["event_id"]
        assert end["params"]["data"] == whole[-1]["params"]["data"]
        await thread.start("joke", {"topic": "tea"})
        async with thread.sse(since=whole[-1]["seq"]) as events:
            assert [event["seq"] for event in await events_until_end(events)][0] == whole[-1][
                "seq"
            ] + 1
