"""Webhooks that lead into the server act as the user of their run, and carry no secrets."""

import time
from uuid import uuid4

import httpx
import pytest
from tests.auth.conftest import HANDLERS, handlers, write_config
from tests.postgres import new_schema
from tests.receiver import receiving
from tests.serving import serving_here

TOKEN = "Bearer of-the-operator"
HEADERS = {"authorization": "${{ env.LG_WEBHOOK_TOKEN }}", "x-token": "${{ env.LG_WEBHOOK_TOKEN }}"}
URLS = {"disable_loopback": False, "require_https": False}
RUN = {"assistant_id": "joke", "input": {"topic": "x"}}


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def server(request, tmp_path_factory):
    """The address of a server whose operator sends credentials of the server to webhooks."""
    folder = tmp_path_factory.mktemp("hooks")
    config = write_config(
        folder,
        handlers("members"),
        webhooks={"url": {**URLS, "allowed_domains": ["localhost"]}, "headers": HEADERS},
        env={"LG_WEBHOOK_TOKEN": TOKEN},
        http={"app": f"{HANDLERS / 'hooks.py'}:app"},
    )
    flags = {"webhook_attempts": "1"}
    if request.param == "postgres":
        flags["database_url"] = new_schema()
    with serving_here(folder / "data", config=config, **flags) as url:
        yield url


def user(url, name):
    return httpx.Client(base_url=url, headers={"authorization": f"Bearer {name}"}, timeout=150)


@pytest.fixture
def ada(server):
    with user(server, f"ada-{uuid4().hex}") as http:
        yield http


@pytest.fixture
def bob(server):
    with user(server, f"bob-{uuid4().hex}") as http:
        yield http


def until(condition):
    """Return what a condition gives as soon as it is true."""
    deadline = time.monotonic() + 20
    while not (found := condition()):
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.02)
    return found


def pending(http):
    """Give a user a run that waits; return its place."""
    thread = http.post("/threads", json={}).json()["thread_id"]
    body = {**RUN, "after_seconds": 3600}
    run = http.post(f"/threads/{thread}/runs", json=body).json()["run_id"]
    return f"/threads/{thread}/runs/{run}"


def outbox(server):
    return httpx.get(f"{server}/metrics?format=json").json()["webhooks"]


def start(http, way, webhook):
    """Start a run that tells its end, in one of the ways to start runs."""
    body = {**RUN, "webhook": webhook}
    if way == "batch":
        answer = http.post("/runs/batch", json=[body])
    elif way == "cron":
        answer = http.post("/runs/crons", json={**body, "schedule": "* * * * * *"})
    elif way.startswith("thread"):
        thread = http.post("/threads", json={}).json()["thread_id"]
        answer = http.post(f"/threads/{thread}/runs{way.removeprefix('thread')}", json=body)
    else:
        answer = http.post(f"/runs{way.removeprefix('own')}", json=body)
    assert answer.status_code == 200, answer.text
    return answer


WAYS = ["thread", "thread/wait", "thread/stream", "own", "own/wait", "own/stream", "batch", "cron"]


@pytest.mark.parametrize("way", WAYS)
def test_webhook_into_the_server_cannot_stop_a_run_of_another_user(server, ada, bob, way):
    place = pending(ada)
    dead = outbox(server)["n_dead"]
    made = start(bob, way, f"{place}/cancel")
    until(lambda: outbox(server)["n_dead"] > dead)
    if way == "cron":
        bob.delete(f"/runs/crons/{made.json()['cron_id']}")
    assert ada.get(place).json()["status"] == "pending"


@pytest.mark.parametrize("way", WAYS)
def test_webhook_into_the_server_stops_a_run_of_its_own_user(bob, way):
    place = pending(bob)
    made = start(bob, way, f"{place}/cancel")
    until(lambda: bob.get(place).json()["status"] == "interrupted")
    if way == "cron":
        bob.delete(f"/runs/crons/{made.json()['cron_id']}")


def test_webhook_of_a_run_that_never_began_acts_as_its_user(bob):
    place, other = pending(bob), pending(bob)
    thread = bob.post("/threads", json={}).json()["thread_id"]
    body = {**RUN, "after_seconds": 3600}
    for action, told in (("interrupt", place), ("rollback", other)):
        run = bob.post(f"/threads/{thread}/runs", json={**body, "webhook": f"{told}/cancel"}).json()
        bob.post(f"/threads/{thread}/runs/{run['run_id']}/cancel?action={action}")
        until(lambda: bob.get(told).json()["status"] == "interrupted")  # noqa: B023 - at once


def test_custom_route_gets_the_user_and_no_configured_headers(bob):
    name = bob.headers["authorization"].removeprefix("Bearer ")
    run = start(bob, "own", "/hooks").json()["run_id"]
    came = until(lambda: [each for each in bob.get("/hooks").json() if each["run_id"] == run])
    assert [each["identity"] for each in came] == [name]
    assert "webhook-id" in came[0]["headers"]
    assert not {"x-token", "authorization"} & came[0]["headers"].keys()


def test_configured_headers_go_to_a_listed_host(bob):
    with receiving() as receiver:
        start(bob, "own", f"http://localhost:{receiver.url.rpartition(':')[2]}/")
        assert receiver.next().headers["x-token"] == TOKEN


def test_url_of_the_server_that_is_not_listed_is_refused(server, bob):
    answer = bob.post("/runs", json={**RUN, "webhook": f"{server}/hooks"})
    assert answer.status_code == 422
    assert "not in an allowed domain" in answer.json()["detail"]


@pytest.mark.parametrize("prefix", ["http://localhost", "http://127.0.0.1"])
def test_loopback_url_has_no_identity(tmp_path, prefix):
    config = write_config(tmp_path, handlers("members"), webhooks={"url": URLS})
    with (
        serving_here(tmp_path / "data", config=config, webhook_attempts="1") as server,
        user(server, "ada") as ada,
        user(server, "bob") as bob,
    ):
        place = pending(ada)
        for http in (ada, bob):
            dead = outbox(server)["n_dead"]
            start(http, "own", f"{prefix}:{server.rpartition(':')[2]}{place}/cancel")
            until(lambda: outbox(server)["n_dead"] > dead)  # noqa: B023 - at once
        assert ada.get(place).json()["status"] == "pending"


def test_cron_of_another_user_cannot_be_given_a_webhook_into_the_server(ada, bob):
    name = bob.headers["authorization"].removeprefix("Bearer ")
    hers = ada.headers["authorization"].removeprefix("Bearer ")
    shared = {"metadata": {"members": [hers, name]}}
    cron = ada.post("/runs/crons", json={**RUN, "schedule": "@yearly", **shared}).json()
    place = f"/runs/crons/{cron['cron_id']}"
    answer = bob.patch(place, json={"webhook": "/hooks"})
    assert answer.status_code == 403
    assert "would act as the user who created the cron" in answer.json()["detail"]
    assert ada.patch(place, json={"webhook": "/hooks"}).status_code == 200
    assert bob.patch(place, json={"enabled": False}).status_code == 200


class TestKeysOfALostThread:
    """Bob started runs with keys on a thread that Ada then took from him."""

    @pytest.mark.parametrize("way", ["", "/wait", "/stream"])
    def test_key_on_a_thread_that_was_lost_finds_nothing(self, ada, bob, way):
        hers, his = (each.headers["authorization"].removeprefix("Bearer ") for each in (ada, bob))
        shared = {"metadata": {"members": [hers, his]}}
        thread = ada.post("/threads", json=shared).json()["thread_id"]
        key, secret = {"Idempotency-Key": uuid4().hex}, f"topic-{uuid4().hex}"
        body = {**RUN, "input": {"topic": secret}}
        first = bob.post(f"/threads/{thread}/runs{way}", json=body, headers=key)
        assert first.status_code == 200
        again = bob.post(f"/threads/{thread}/runs{way}", json=body, headers=key)
        assert again.headers["idempotent-replayed"] == "true"
        ada.patch(f"/threads/{thread}", json={"metadata": {"members": [hers]}})
        lost = bob.post(f"/threads/{thread}/runs{way}", json=body, headers=key)
        assert (lost.status_code, secret in lost.text) == (404, False)
        never = bob.post(f"/threads/{uuid4()}/runs{way}", json=body, headers=key)
        assert (lost.status_code, lost.text) == (never.status_code, never.text)

    @pytest.mark.parametrize("way", ["", "/wait", "/stream", "/batch"])
    def test_key_of_a_run_on_an_own_thread_that_was_lost_finds_nothing(self, ada, bob, way):
        hers = ada.headers["authorization"].removeprefix("Bearer ")
        key, secret = {"Idempotency-Key": uuid4().hex}, f"topic-{uuid4().hex}"
        one = {**RUN, "input": {"topic": secret}, "on_completion": "keep"}
        body = [one] if way == "/batch" else one
        first = bob.post(f"/runs{way}", json=body, headers=key)
        assert first.status_code == 200
        (thread,) = bob.post("/threads/search", json={"metadata": {"graph_id": "joke"}}).json()
        given = {"metadata": {"members": [hers]}}
        assert bob.patch(f"/threads/{thread['thread_id']}", json=given).status_code == 200
        lost = bob.post(f"/runs{way}", json=body, headers=key)
        assert (lost.status_code, secret in lost.text) == (404, False)
