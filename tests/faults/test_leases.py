"""A database that is away for longer than a lease, in the middle of a node."""

import time

import psycopg
import pytest
from tests.faults.fleet import Fleet, Shape
from tests.faults.model import given

from loomline import get_sync_client

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

ALONE = Shape("alone", postgres=True)
SHARED = Shape("shared", postgres=True, redis=True)


def until(condition, seconds=40):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def facts(fleet, what):
    return [fact for fact in fleet.facts() if fact["what"] == what]


def begin(fleet, client, seconds):
    """Start a run; return it when its first node is at work and its input is stored."""
    thread = client.threads.create()["thread_id"]
    run = client.runs.create(thread, "witness", input=given("t", seconds=seconds))
    with psycopg.connect(fleet.database.url, autocommit=True) as connection:
        until(lambda: connection.execute("SELECT count(*) FROM checkpoints").fetchone()[0] >= 2)
    until(lambda: facts(fleet, "begin"))
    return run


def test_a_run_that_others_may_begin_is_stopped(tmp_path):
    with (
        Fleet(tmp_path, SHARED, lease_seconds=1) as fleet,
        get_sync_client(url=fleet.urls[0]) as client,
    ):
        run = begin(fleet, client, seconds=60)
        fleet.database.stop()
        until(lambda: facts(fleet, "end"), seconds=20)
        assert len(facts(fleet, "begin")) == 1
        fleet.database.start()
        until(lambda: len(facts(fleet, "begin")) == 2)
        client.runs.cancel(run["thread_id"], run["run_id"], wait=True)
        assert client.runs.get(run["thread_id"], run["run_id"])["status"] == "interrupted"


def test_a_run_of_a_server_that_is_alone_goes_on(tmp_path):
    with (
        Fleet(tmp_path, ALONE, lease_seconds=1) as fleet,
        get_sync_client(url=fleet.urls[0]) as client,
    ):
        run = begin(fleet, client, seconds=8)
        fleet.database.stop()
        time.sleep(3)
        fleet.database.start()
        until(lambda: facts(fleet, "end"))
        assert [fact["node"] for fact in facts(fleet, "begin")][:2] in (["a"], ["a", "b"])
        client.runs.cancel(run["thread_id"], run["run_id"], wait=True)
        assert len({fact["execution"] for fact in facts(fleet, "begin")}) == 1
