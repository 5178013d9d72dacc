"""Several servers and workers: any of them may die, and none of them matters to a client."""

import asyncio
import json
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress

import psycopg
import pytest
import redis
from tests.e2e.site import LEASE, begun, metric, site, until
from tests.serving import PROJECT, Process
from tests.threads import Thread, data, events_until_end, is_end

from loomline import get_sync_client

GRAPHS = len(json.loads(PROJECT.read_text())["graphs"])

END_RUN = """
    UPDATE loomline_runs SET status = 'success', token = NULL, lease_until = NULL WHERE run_id = %s
"""

# What a machine that does other things besides may add to a promise.
BUSY = 3

# Of runs whose workers die again and again.
PATIENT = {"max_attempts": 9}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


@pytest.fixture
def place(tmp_path):
    with site(tmp_path) as made:
        yield made


@pytest.fixture
def four(place):
    """Two servers and two workers, started at the same moment on an empty database."""
    return place.start("server", "server", "worker", "worker")


@pytest.fixture
def clients(four):
    """A client of each server."""
    with get_sync_client(url=four[0].url) as one, get_sync_client(url=four[1].url) as two:
        yield one, two


def start_steps(client, folder, **more):
    thread = client.threads.create()["thread_id"]
    run = client.runs.create(
        thread, "steps", input={"folder": str(folder)}, stream_mode="updates", **more
    )
    return thread, run["run_id"]


def go(folder, *names):
    for name in names:
        (folder / f"go-{name}").touch()


class Viewer(threading.Thread):
    """Collects what a stream says."""

    def __init__(self, parts):
        super().__init__(daemon=True)
        self.seen = []
        self._parts = parts
        self.start()

    def run(self):
        self.seen += self._parts

    def done(self):
        self.join(30)
        assert not self.is_alive()
        return self.seen


def updates(parts):
    return [next(iter(part.data)) for part in parts if part.event == "updates"]


def test_work_is_shared_and_every_result_is_right(four, clients):
    one, two = clients
    runs = []
    for number in range(20):
        client = (one, two)[number % 2]
        thread = client.threads.create()["thread_id"]
        runs.append(client.runs.create(thread, "sleepy", input={"seconds": 0.2}))
    for run in runs:
        assert two.runs.join(run["thread_id"], run["run_id"])["log"] == ["first", "slept", "last"]
        assert one.runs.get(run["thread_id"], run["run_id"])["status"] == "success"
    claimed = [metric(worker, "loomline_runs_claimed_total") for worker in four[2:]]
    assert sum(claimed) == 20
    assert [metric(server, "loomline_runs_claimed_total") for server in four[:2]] == [0, 0]
    assert [len(each.assistants.search(limit=1000)) for each in clients] == [GRAPHS, GRAPHS]


def test_a_killed_worker_is_replaced_within_its_lease(four, clients, place, tmp_path):
    one, two = clients
    thread, run_id = start_steps(one, tmp_path, stream_resumable=True)
    near = Viewer(one.runs.join_stream(thread, run_id, last_event_id="-1"))
    far = Viewer(two.runs.join_stream(thread, run_id, last_event_id="-1"))
    go(tmp_path, "one")
    until(lambda: begun(tmp_path) == ["one", "two"])
    until(lambda: place.rows("SELECT 1 FROM checkpoints WHERE metadata @> '{\"step\": 1}'"))
    place.worker_of(run_id, four[2:]).kill()
    killed = time.monotonic()
    until(lambda: begun(tmp_path) == ["one", "two", "two"])
    assert time.monotonic() - killed < LEASE + 2 + BUSY
    go(tmp_path, "two", "three")
    assert two.runs.join(thread, run_id)["log"] == ["one", "two", "three"]
    assert one.runs.get(thread, run_id)["status"] == "success"
    for viewer in (near, far):
        seen = viewer.done()
        assert updates(seen) == ["one", "two", "three"]
        told = [part.data["attempt"] for part in seen if part.event == "metadata"]
        assert told == [1, 2]


def test_viewers_on_different_servers_see_every_event_once(clients, tmp_path):
    one, two = clients
    thread, run_id = start_steps(one, tmp_path, stream_resumable=True)
    near = Viewer(one.runs.join_stream(thread, run_id, last_event_id="-1"))
    stream = two.runs.join_stream(thread, run_id, last_event_id="-1")
    go(tmp_path, "one")
    first = [next(stream), next(stream)]
    stream.close()
    go(tmp_path, "two")
    # The other server goes on where this one has been left, by ids that both know.
    rest = Viewer(one.runs.join_stream(thread, run_id, last_event_id=first[-1].id))
    until(lambda: begun(tmp_path) == ["one", "two", "three"])
    go(tmp_path, "three")
    whole = near.done()
    assert updates(whole) == ["one", "two", "three"]
    assert [part.id for part in [*first, *rest.done()]] == [part.id for part in whole]
    again = list(two.runs.join_stream(thread, run_id, last_event_id=whole[1].id))
    assert [part.id for part in again] == [part.id for part in whole[2:]]


def to_the_end_of_a_run(parts):
    for part in parts:
        yield part
        if part.event == "metadata" and part.data.get("status") == "run_done":
            return


def test_a_thread_is_followed_from_any_server(clients):
    one, two = clients
    thread = one.threads.create()["thread_id"]
    follow = two.threads.join_stream(thread, last_event_id="0")
    viewer = Viewer(to_the_end_of_a_run(follow))
    run = one.runs.create(
        thread, "joke", input={"topic": "x"}, stream_mode="updates", stream_resumable=True
    )
    seen = viewer.done()
    assert seen[0].data["run_id"] == seen[-1].data["run_id"] == run["run_id"]
    assert updates(seen) == ["refine_topic", "generate_joke"]


def test_stopping_works_from_any_server(clients, place):
    one, two = clients
    thread = one.threads.create()["thread_id"]

    def begin():
        run = one.runs.create(thread, "sleepy", input={})["run_id"]
        until(lambda: one.runs.get(thread, run)["status"] == "running")
        return run

    began = time.monotonic()
    run = begin()
    two.runs.cancel(thread, run, wait=True)
    assert one.runs.get(thread, run)["status"] == "interrupted"
    run = begin()
    two.runs.cancel(thread, run, action="rollback", wait=True)
    assert run not in [each["run_id"] for each in one.runs.list(thread)]
    run = begin()
    waiting = Viewer(one.runs.join_stream(thread, run))
    result = two.runs.wait(thread, "joke", input={"topic": "new"}, multitask_strategy="interrupt")
    assert result["topic"] == "new and cats"
    waiting.done()
    assert two.runs.get(thread, run)["status"] == "interrupted"
    # Told by hints, not found by looking: that would take the third of a lease each time.
    assert time.monotonic() - began < 10


def test_sigterm_hands_runs_over_between_steps(four, clients, place, tmp_path):
    one, two = clients
    thread, run_id = start_steps(one, tmp_path, stream_resumable=True)
    until(lambda: begun(tmp_path) == ["one"])
    worker = place.worker_of(run_id, four[2:])
    worker.process.send_signal(signal.SIGTERM)
    time.sleep(1.2)  # the grace period is over, so the next step is somebody else's
    go(tmp_path, "one")
    code, _, errors = worker.stop()
    assert code == 0
    assert "Traceback" not in errors
    assert "handed over" in errors
    go(tmp_path, "two", "three")
    assert two.runs.join(thread, run_id)["log"] == ["one", "two", "three"]
    assert begun(tmp_path) == ["one", "two", "three"]
    parts = list(two.runs.join_stream(thread, run_id, last_event_id="-1"))
    assert updates(parts) == ["one", "two", "three"]
    assert {part.data["attempt"] for part in parts if part.event == "metadata"} == {1}


def test_a_worker_that_wakes_up_too_late_changes_nothing(four, clients, place, tmp_path):
    one, two = clients
    thread, run_id = start_steps(one, tmp_path, stream_resumable=True)
    go(tmp_path, "one")
    until(lambda: begun(tmp_path) == ["one", "two"])
    until(lambda: place.rows("SELECT 1 FROM checkpoints WHERE metadata @> '{\"step\": 1}'"))
    frozen = place.worker_of(run_id, four[2:])
    frozen.process.send_signal(signal.SIGSTOP)
    until(lambda: begun(tmp_path) == ["one", "two", "two"])
    frozen.process.send_signal(signal.SIGCONT)
    go(tmp_path, "two")
    until(lambda: begun(tmp_path)[-1] == "three")
    until(lambda: metric(frozen, 'loomline_runs_ended_total{result="lost"}') == 1)
    go(tmp_path, "three")
    assert two.runs.join(thread, run_id)["log"] == ["one", "two", "three"]
    parts = list(one.runs.join_stream(thread, run_id, last_event_id="-1"))
    told = [part.data["attempt"] for part in parts if part.event == "metadata"]
    assert told == [1, 2]
    later = parts[[part.event for part in parts].index("metadata", 1) :]
    assert updates(later)[-2:] == ["two", "three"]
    assert len(updates(parts)) == len(set(updates(parts)))
    assert one.runs.get(thread, run_id)["status"] == "success"


async def until_event(thread, fits, **params):
    async with thread.sse(**params) as events:
        async for event in events:
            if fits(event):
                return


def has_thought(event):
    return event["method"] == "values" and "Deep thoughts." in data(event).get("log", [])


def has_entered(event):
    return event["method"] == "lifecycle" and data(event)["event"] == "started"


def answers_to(events):
    asked = {
        data(event)["payload"]["question"]: data(event)["interrupt_id"]
        for event in events
        if event["method"] == "input.requested"
    }
    return [
        {"namespace": [], "interrupt_id": asked[question], "response": text}
        for question, text in (("Inside?", "yes"), ("Sure?", "very"))
    ]


async def test_a_conversation_goes_on_whenever_its_worker_dies(place, tmp_path):
    """A model that speaks, a tool, a subgraph with a question, and answers that are worked on."""
    one, two, worker = await asyncio.to_thread(place.start, "server", "server", "worker", **PATIENT)
    near, far = Thread(one.url), Thread(two.url)
    far.id = near.id
    gate = tmp_path / "gate"

    async def replace(worker):
        worker.kill()
        (new,) = await asyncio.to_thread(place.start, "worker", **PATIENT)
        return new

    async with near.sse() as events, far.subscribed() as others:
        viewers = [asyncio.create_task(events_until_end(each, 2)) for each in (events, others)]
        settings = {"configurable": {"halts": str(tmp_path)}}
        ask = {"messages": [{"role": "user", "content": "What is 2 + 3?"}], "gate": str(gate)}
        await near.start("assistant", ask, config=settings)
        for name in ("words", "tool"):
            await asyncio.to_thread(until, (tmp_path / f"at-{name}").exists)
            worker = await replace(worker)
            (tmp_path / f"go-{name}").touch()
        await until_event(far, has_thought)
        worker = await replace(worker)
        gate.touch()
        first = await near.until_end()
        gate.unlink()
        answers = answers_to(first)
        assert (await far.command("input.respond", responses=answers))["result"] == {}
        await until_event(near, has_entered, since=first[-1]["seq"])
        await replace(worker)
        gate.touch()
        seen, seen_too = await asyncio.gather(*viewers)

    assert seen == seen_too
    for cut in range(-1, len(seen) - 1, 5):
        rest = seen[cut + 1 :]
        async with far.sse(since=seen[cut]["seq"] if rest != seen else 0) as events:
            assert await events_until_end(events, sum(map(is_end, rest))) == rest, cut
    numbers = [event["seq"] for event in seen]
    assert numbers == sorted(set(numbers))
    assert len({event["event_id"] for event in seen}) == len(seen)
    last = [event for event in seen if event["method"] == "values"][-1]
    assert data(last)["log"][-3:] == ["Deep thoughts.", "Inside? yes", "Sure? very"]
    assert [data(event)["event"] for event in seen if is_end(event)] == ["interrupted", "completed"]
    with get_sync_client(url=one.url) as client:
        assert [run["status"] for run in client.runs.list(near.id)] == ["success", "success"]


def test_a_run_that_kills_its_workers_is_given_up(place, tmp_path):
    (server,) = place.start("server")
    with get_sync_client(url=server.url) as client:
        thread, run_id = start_steps(client, tmp_path, stream_resumable=True)
        viewer = Viewer(client.runs.join_stream(thread, run_id, last_event_id="-1"))
        for attempt in (1, 2):
            (worker,) = place.start("worker", max_attempts=2)
            until(lambda attempt=attempt: len(begun(tmp_path)) == attempt)
            worker.kill()
        place.start("worker", max_attempts=2)
        last = viewer.done()[-1]
        assert (last.event, last.data["error"]) == ("error", "RunAttemptsExhausted")
        assert client.runs.get(thread, run_id)["status"] == "error"
        assert client.threads.get(thread)["error"]["error"] == "RunAttemptsExhausted"
        assert client.runs.join(thread, run_id)["__error__"]["error"] == "RunAttemptsExhausted"


def test_redis_restarts_during_a_stream(tmp_path):
    with site(tmp_path, keep_data=True) as place:
        servers = place.start("server", "server", "worker")[:2]
        with get_sync_client(url=servers[0].url) as one, get_sync_client(url=servers[1].url) as two:
            thread, run_id = start_steps(one, tmp_path, stream_resumable=True)
            viewers = [
                Viewer(client.runs.join_stream(thread, run_id, last_event_id="-1"))
                for client in (one, two)
            ]
            go(tmp_path, "one")
            until(lambda: begun(tmp_path) == ["one", "two"])
            place.redis.kill()
            go(tmp_path, "two")
            until(lambda: begun(tmp_path) == ["one", "two", "three"])
            place.redis.start()
            go(tmp_path, "three")
            for viewer in viewers:
                assert updates(viewer.done()) == ["one", "two", "three"]


def test_without_redis_runs_go_on_and_no_result_is_lost(place, tmp_path):
    servers = place.start("server", "server", "worker")[:2]
    with get_sync_client(url=servers[0].url) as one, get_sync_client(url=servers[1].url) as two:
        thread, run_id = start_steps(one, tmp_path)
        until(lambda: begun(tmp_path) == ["one"])
        results = []
        waiting = threading.Thread(target=lambda: results.append(two.runs.join(thread, run_id)))
        waiting.start()
        place.redis.kill()
        go(tmp_path, "one", "two", "three")
        ended = until(lambda: one.runs.get(thread, run_id)["status"] == "success")
        waiting.join(5)
        assert ended
        assert results[0]["log"] == ["one", "two", "three"]
        began = time.monotonic()
        assert one.runs.wait(None, "joke", input={"topic": "x"})["topic"] == "x and cats"
        assert time.monotonic() - began < 8 + BUSY
        sleeping = one.runs.create(thread, "sleepy", input={})["run_id"]
        until(lambda: one.runs.get(thread, sleeping)["status"] == "running")
        two.runs.cancel(thread, sleeping, wait=True)
        assert one.runs.get(thread, sleeping)["status"] == "interrupted"
        assert metric(servers[0], "loomline_redis_available") == 0
        place.redis.start()
        until(lambda: metric(servers[0], "loomline_redis_available") == 1)
        parts = list(two.runs.stream(thread, "joke", input={"topic": "y"}, stream_mode="updates"))
        assert updates(parts) == ["refine_topic", "generate_joke"]


def end_behind_the_back_of(worker, place, run_id):
    """Freeze a worker and store the end of its run, at a moment at which it has not locked the row.

    A frozen worker may have sent statements that the database executes later.
    """

    def ended():
        worker.process.send_signal(signal.SIGSTOP)
        with suppress(psycopg.errors.LockNotAvailable):
            with psycopg.connect(place.database, autocommit=True) as connection:
                connection.execute("SET lock_timeout = '500ms'")
                connection.execute(END_RUN, (run_id,))
            return True
        worker.process.send_signal(signal.SIGCONT)
        return False

    until(ended)


def test_log_without_a_worker_is_closed_by_its_reader(place, tmp_path):
    """The worker dies between storing the end of a run and telling it."""
    server, worker = place.start("server", "worker")
    with get_sync_client(url=server.url) as client, redis.Redis.from_url(place.redis.url) as raw:
        thread, run_id = start_steps(client, tmp_path, stream_resumable=True)
        until(lambda: begun(tmp_path) == ["one"])
        viewer = Viewer(client.runs.join_stream(thread, run_id, last_event_id="-1"))
        until(lambda: viewer.seen)
        end_behind_the_back_of(worker, place, run_id)
        assert [part.event for part in viewer.done()] == ["metadata"]
        assert raw.hget(f"loomline:meta:{run_id}", "closed")
        worker.kill()


def test_cron_fires_once_beside_several_processes(place):
    processes = place.start("both", "both", "worker")
    with get_sync_client(url=processes[0].url) as client:
        cron = client.crons.create(
            "joke", schedule="* * * * * *", input={"topic": "x"}, on_run_completed="keep"
        )
        until(lambda: len(place.rows("SELECT 1 FROM loomline_runs")) >= 4)
        client.crons.delete(cron["cron_id"])
        times = place.rows("SELECT date_trunc('second', created_at) FROM loomline_runs")
        assert len(times) == len(set(times))


def test_worker_reports_its_metrics_and_its_end(place):
    (worker,) = place.start("worker", concurrency=3)
    assert metric(worker, "lg_api_workers_max") == 3
    code, out, errors = worker.stop()
    assert code == 0
    assert out == (
        f"Loomline executes runs of {GRAPHS} graphs, 3 at a time; health at {worker.url}\n"
    )
    assert "ERROR" not in errors


def test_who_has_no_redis_must_be_alone(place):
    place.start("both")
    alone = Process(place.folder / "data", wait=False, database_url=place.database)
    _, errors = alone.process.communicate(timeout=150)
    assert alone.process.returncode == 1
    assert "if all of them have the same --redis-url" in errors
    assert errors.count("\n") == 1


def test_two_servers_without_redis(place):
    with Process(place.folder / "data", database_url=place.database):
        second = Process(place.folder / "data", wait=False, database_url=place.database)
        _, errors = second.process.communicate(timeout=150)
        assert second.process.returncode == 1
        assert errors.startswith("loomline: Another server uses this database already.")
        third = Process(
            place.folder / "data", wait=False, database_url=place.database,
            redis_url=place.redis.url,
        )  # fmt: skip
        _, errors = third.process.communicate(timeout=150)
        assert "has no Redis" in errors


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["worker"], 1, "A worker needs --database-url and --redis-url"),
        (["serve", "--redis-url=redis://h"], 2, "--redis-url needs --database-url"),
        (["serve", "--no-worker"], 2, "A server without a worker needs"),
        (["serve", "--redis-url=http://me:secret@h"], 2, "--redis-url does not fit"),
        (
            ["worker", "--database-url=postgresql:///x", "--redis-url=redis://me:secret@h:x/0"],
            1,
            "The address of Redis (--redis-url) cannot be read",
        ),
    ],
)
def test_impossible_arguments_are_refused_with_a_sentence(arguments, code, text):
    done = subprocess.run(
        [sys.executable, "-m", "loomline.server.cli", *arguments, "--config", str(PROJECT)],
        check=False, capture_output=True, text=True, timeout=150
    )  # fmt: skip
    assert done.returncode == code
    assert text in done.stderr
    assert "secret" not in done.stderr
    assert "Traceback" not in done.stderr
