"""What the handler of ``threads.create_run`` sees, by every way to start a run."""

import json
import re
import time
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

DOCS = Path(__file__).parents[2] / "docs" / "auth.md"

SEEING = """
import json
import loomline
auth = loomline.Auth()

@auth.authenticate
async def authenticate(authorization: str):
    return authorization.removeprefix("Bearer ")

@auth.on.threads.create_run
async def see(ctx, value):
    with open({path!r}, "a") as file:
        file.write(json.dumps([ctx.user.identity, value], default=str) + "\\n")
"""
ACTING = {
    "multitask_strategy": "rollback",
    "command": {"update": {"topic": "theirs"}, "goto": "generate_joke"},
    "after_seconds": 7.5,
    "metadata": {"note": "n"},
}
WAYS = {
    "on a thread": ("/threads/{thread}/runs", {"if_not_exists": "create"}),
    "waiting": ("/threads/{thread}/runs/wait", {"if_not_exists": "create", "after_seconds": 0}),
    "streaming": ("/threads/{thread}/runs/stream", {"if_not_exists": "create", "after_seconds": 0}),
    "without a thread": ("/runs", {}),
    "without a thread, waiting": ("/runs/wait", {"after_seconds": 0}),
    "without a thread, streaming": ("/runs/stream", {"after_seconds": 0}),
    "batch": ("/runs/batch", {}),
}


@pytest.fixture
def seeing(serve, tmp_path):
    path = tmp_path / "seen.jsonl"
    path.touch()
    with serve({}, code=SEEING.format(path=str(path))) as url:

        def seen(name):
            lines = [json.loads(line) for line in path.read_text().splitlines()]
            return [value for who, value in lines if who == name]

        yield url, seen


def user(url, credentials):
    return httpx.Client(
        base_url=url, headers={"authorization": f"Bearer {credentials}"}, timeout=150
    )


def check_value_matches_request(value, body):
    assert value["multitask_strategy"] == body["multitask_strategy"]
    assert value["if_not_exists"] == body.get("if_not_exists", "reject")
    assert value["after_seconds"] == body["after_seconds"]
    assert value["metadata"] == body["metadata"]
    assert value["kwargs"]["command"] == body["command"]


@pytest.mark.parametrize("way", WAYS)
def test_handler_sees_the_effects_of_a_run_request_on_its_thread(seeing, way):
    url, seen = seeing
    path, more = WAYS[way]
    body = {"assistant_id": "joke", **ACTING, **more}
    name = uuid4().hex
    with user(url, name) as http:
        sent = [body, body] if way == "batch" else body
        answer = http.post(path.replace("{thread}", str(uuid4())), json=sent)
        assert answer.status_code == 200, answer.text
    values = seen(name)
    assert len(values) == (2 if way == "batch" else 1)
    for value in values:
        check_value_matches_request(value, body)


def test_handler_sees_the_checkpoint_that_a_run_starts_from(seeing):
    url, seen = seeing
    name, checkpoint = uuid4().hex, str(uuid4())
    with user(url, name) as http:
        thread = http.post("/threads", json={}).json()["thread_id"]
        for given in ({"checkpoint_id": checkpoint}, {"checkpoint": {"checkpoint_id": checkpoint}}):
            http.post(f"/threads/{thread}/runs", json={"assistant_id": "joke", **given})
    for value in seen(name):
        assert value["kwargs"]["config"]["configurable"]["checkpoint_id"] == checkpoint
    assert len(seen(name)) == 2


def command(http, thread, method, **params):
    sent = {"id": 1, "method": method, "params": params}
    return http.post(f"/threads/{thread}/commands", json=sent).json()


def test_handler_sees_the_effects_of_thread_protocol_commands(seeing):
    url, seen = seeing
    name, thread = uuid4().hex, str(uuid4())
    with user(url, name) as http:
        begun = {"assistant_id": "ask", "input": {"log": []}, "multitaskStrategy": "rollback"}
        run = command(http, thread, "run.start", **begun)["result"]["run_id"]
        http.get(f"/threads/{thread}/runs/{run}/join")
        state = http.get(f"/threads/{thread}/state").json()
        (task,) = [each for each in state["tasks"] if each["interrupts"]]
        answer = {"interrupt_id": task["interrupts"][0]["id"], "response": "yes"}
        told = command(http, thread, "input.respond", **answer, update={"log": ["theirs"]})
        assert told["type"] == "success", told
        checkpoint = state["checkpoint"]["checkpoint_id"]
        forked = command(http, thread, "state.fork", checkpoint_id=checkpoint, input={"log": []})
        assert forked["type"] == "success", forked
    started, answered, fork = seen(name)
    assert (started["multitask_strategy"], started["if_not_exists"]) == ("rollback", "create")
    assert answered["kwargs"]["command"]["update"] == {"log": ["theirs"]}
    assert fork["kwargs"]["config"]["configurable"]["checkpoint_id"] == checkpoint


def test_handler_sees_the_effects_of_a_crons_run(seeing):
    url, seen = seeing
    name = uuid4().hex
    body = {"assistant_id": "joke", "schedule": "* * * * * *", "multitask_strategy": "rollback"}
    with user(url, name) as http:
        thread = http.post("/threads", json={}).json()["thread_id"]
        cron = http.post(f"/threads/{thread}/runs/crons", json=body).json()["cron_id"]
        deadline = time.monotonic() + 20
        while not seen(name):
            assert time.monotonic() < deadline, "the cron did not start a run"
            time.sleep(0.05)
        http.delete(f"/runs/crons/{cron}")
    assert seen(name)[0]["multitask_strategy"] == "rollback"


@pytest.fixture
def careful(serve):
    """The address of a server with the handler that the documentation shows."""
    (code,) = [
        block
        for block in re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL)
        if block.startswith("# careful_auth.py")
    ]
    with serve({}, code=code) as url:
        yield url


REFUSED = {
    "rollback": ({"multitask_strategy": "rollback"}, "threads:delete, threads:update"),
    "interrupt": ({"multitask_strategy": "interrupt"}, "threads:update"),
    "update": ({"command": {"update": {"topic": "x"}}}, "threads:update"),
    "goto": ({"command": {"goto": "generate_joke"}}, "threads:update"),
    "checkpoint": ({"checkpoint_id": str(uuid4())}, "threads:update"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_documented_handler_refuses_requests_beyond_the_users_rights(careful, case):
    fields, needed = REFUSED[case]
    body = {"assistant_id": "joke", "input": {"topic": "x"}, **fields}
    with user(careful, "bob") as bob, user(careful, f"ada {needed.replace(',', '')}") as ada:
        thread = bob.post("/threads", json={}).json()["thread_id"]
        places = [f"/threads/{thread}/runs{way}" for way in ("", "/wait", "/stream")]
        for place in [*places, "/runs", "/runs/wait", "/runs/stream", "/runs/batch"]:
            sent = [body] if place == "/runs/batch" else body
            answer = bob.post(place, json=sent)
            assert answer.status_code == 403, place
            assert answer.json()["detail"] == f"You need {needed} for this run"
        assert bob.get(f"/threads/{thread}/runs").json() == []
        assert ada.post(f"/threads/{thread}/runs", json=body).status_code == 200


def test_documented_handler_allows_plain_runs(careful):
    with user(careful, "bob") as bob:
        thread = bob.post("/threads", json={}).json()["thread_id"]
        body = {"assistant_id": "joke", "input": {"topic": "x"}}
        assert bob.post(f"/threads/{thread}/runs/wait", json=body).json()["topic"] == "x and cats"
        refused = command(
            bob, thread, "run.start", assistant_id="joke", input={}, multitask_strategy="rollback"
        )
        assert refused["type"] == "error"
        assert "You need threads:delete, threads:update" in refused["message"]
        assert command(bob, thread, "run.start", assistant_id="joke")["type"] == "success"
