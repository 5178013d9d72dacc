"""One idempotency key, sent by two users: nothing of one is seen by the other."""

import re
from uuid import uuid4

import httpx
import pytest
from tests.auth.test_isolation import (
    ROWS,
    RUN,
    UUID,
    client,
    create_one_of_everything,
    everything_visible,
    send,
)

POSTS = [route for route in ROWS if route.startswith("POST ")]
"""All of the route table: ``test_every_route_has_a_row`` fails where one is missing."""

CREATING = {
    "/runs", "/runs/wait", "/runs/stream", "/runs/batch",
    "/threads/{thread}/runs", "/threads/{thread}/runs/wait", "/threads/{thread}/runs/stream",
}  # fmt: skip
"""The paths that take a key."""


def notes_of(name):
    return f"{name}-keeps-this-to-herself"


@pytest.fixture
def users(owners_server):
    """Two users, each with one of everything: client, note and world."""
    names = [f"{name}-{uuid4().hex}" for name in ("ada", "bob")]
    with client(owners_server, names[0]) as ada, client(owners_server, names[1]) as bob:
        yield [(http, notes_of(name), create_one_of_everything(http, notes_of(name)))
               for http, name in zip((ada, bob), names, strict=True)]  # fmt: skip


def shared_ids(http):
    """Return the ids that every user sees: those of the assistant that each graph has."""
    body = {**RUN, "after_seconds": 3600}
    return {http.post("/runs", json=body).json()["assistant_id"]}


@pytest.mark.timeout(400)
@pytest.mark.parametrize("route", POSTS)
def test_answer_to_a_post_has_nothing_of_another_user_with_the_same_key(users, route):
    (ada, note, hers), (bob, _, his) = users
    key = {"Idempotency-Key": uuid4().hex}
    status, first = send(ada, "POST", ROWS[route], hers, key)
    _settle(ada, hers)
    before = everything_visible(ada, hers)
    again, second = send(bob, "POST", ROWS[route], his, key)
    assert (status, again) == (ROWS[route].mine, ROWS[route].mine), second
    known = set(UUID.findall(first)) | set(UUID.findall(str(vars(hers))))
    assert not (known - shared_ids(bob)) & set(UUID.findall(second))
    assert note not in second
    assert everything_visible(ada, hers) == before


def _settle(http, world):
    """Return when the newest run of a user's thread has ended, if the thread is still there."""
    found = http.get(f"/threads/{world.thread}/runs?limit=1")
    for run in found.json() if found.status_code == 200 else []:
        http.get(f"/threads/{world.thread}/runs/{run['run_id']}/join")


def start(http, path, body, key, world):
    """Start a run; return the answer and where the runs are, by thread and run."""
    path = path.replace("{thread}", world.thread)
    body = [body, body] if path == "/runs/batch" else body
    answer = http.post(path, json=body, headers={"Idempotency-Key": key})
    return answer, path


def runs_of(http, answer):
    """Return the runs that an answer is about."""
    place = answer.headers.get("content-location", "")
    named = re.findall(r"runs/([0-9a-f-]{36})", place)
    if not named:
        named = [run["run_id"] for run in answer.json()]
    return named


@pytest.mark.parametrize("path", sorted(CREATING))
@pytest.mark.parametrize("same", [True, False], ids=["same body", "another body"])
def test_run_of_each_of_two_users_with_the_same_key_is_their_own(users, path, same):
    (ada, note, hers), (bob, _, his) = users
    key = uuid4().hex
    body = {**RUN, "metadata": {"note": note}}
    if "{thread}" not in path:
        body["on_completion"] = "keep"
    first, _ = start(ada, path, body, key, hers)
    other = {**body, "metadata": {"note": "bob's"} | ({"note": note} if same else {})}
    second, _ = start(bob, path, other, key, his)
    assert (first.status_code, second.status_code) == (200, 200), second.text
    assert "idempotent-replayed" not in second.headers
    made, own = runs_of(ada, first), runs_of(bob, second)
    assert len(own) == len(set(own)) == (2 if path == "/runs/batch" else 1)
    assert not set(made) & set(own)
    for run_id in own:
        # Each is there, for its user only.
        assert "__error__" not in bob.get(f"/runs/{run_id}/join").json()
        assert "__error__" in ada.get(f"/runs/{run_id}/join").json()
    # And each user's own key still stands for the own runs.
    repeated, _ = start(ada, path, body, key, hers)
    assert runs_of(ada, repeated) == made
    repeated, _ = start(bob, path, other, key, his)
    assert runs_of(bob, repeated) == own


def test_routes_that_take_a_key_are_all_tried(owners_server):
    paths = httpx.get(f"{owners_server}/openapi.json").json()["paths"]
    taking = {
        path.replace("{thread_id}", "{thread}")
        for path, found in paths.items()
        for operation in found.values()
        if any(each["name"] == "Idempotency-Key" for each in operation.get("parameters", []))
    }
    assert taking == CREATING
