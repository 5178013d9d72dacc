"""Which handlers a route asks, with what; and that each may refuse."""

import json
import time

import httpx
import pytest
from tests.auth.test_isolation import (
    OPEN_PATHS,
    ROWS,
    World,
    client,
    create_one_of_everything,
    send,
)

RECORDING = """
import json
import loomline
auth = loomline.Auth()

@auth.authenticate
async def authenticate(authorization: str):
    return authorization.removeprefix("Bearer ")

@auth.on
async def record(ctx, value):
    asked = [f"{{ctx.resource}}.{{ctx.action}}", sorted(value)]
    with open({path!r}, "a") as file:
        file.write(json.dumps([ctx.user.identity, *asked]) + "\\n")
    return ctx.user.identity != f"not {{asked[0]}}"
"""

RUN = "assistant_id thread_id run_id status metadata prevent_insert_if_inflight multitask_strategy if_not_exists after_seconds kwargs"
CREATE_RUN = ("threads.create_run", RUN)
READ = ("threads.read", "thread_id")
READ_RUN = ("threads.read", "thread_id run_id")
UPDATE = ("threads.update", "thread_id")
STOP = ("threads.update", "thread_id action metadata")
SEARCH = ("threads.search", "metadata values status limit offset ids")
ASSISTANT = ("assistants.read", "assistant_id")
ASKED = {
    "POST /assistants": [
        ("assistants.create", "assistant_id graph_id config context metadata name if_exists")
    ],
    "POST /assistants/search": [("assistants.search", "graph_id metadata limit offset")],
    "POST /assistants/count": [("assistants.search", "graph_id metadata limit offset")],
    "GET /assistants/{assistant_id}": [ASSISTANT],
    "PATCH /assistants/{assistant_id}": [
        ("assistants.update", "assistant_id graph_id config context metadata name")
    ],
    "DELETE /assistants/{assistant_id}": [
        ("assistants.delete", "assistant_id"), UPDATE, ("threads.delete", "thread_id"),
    ],
    "POST /assistants/{assistant_id}/versions": [ASSISTANT],
    "POST /assistants/{assistant_id}/latest": [("assistants.update", "assistant_id version")],
    "GET /assistants/{assistant_id}/graph": [ASSISTANT],
    "GET /assistants/{assistant_id}/schemas": [ASSISTANT],
    "GET /assistants/{assistant_id}/subgraphs": [ASSISTANT],
    "GET /assistants/{assistant_id}/subgraphs/{namespace}": [ASSISTANT],
    "POST /threads": [("threads.create", "thread_id metadata if_exists")],
    "POST /threads/search": [SEARCH],
    "POST /threads/count": [SEARCH],
    "POST /threads/prune": [
        ("threads.delete", "thread_ids"), ("threads.delete", "thread_id"),
        ("threads.delete", "thread_id"),
    ],
    "GET /threads/{thread_id}": [READ],
    "PATCH /threads/{thread_id}": [("threads.update", "thread_id metadata")],
    "DELETE /threads/{thread_id}": [("threads.delete", "thread_id")],
    "POST /threads/{thread_id}/copy": [READ, ("threads.create", "thread_id metadata if_exists")],
    "GET /threads/{thread_id}/storage": [READ],
    "GET /threads/{thread_id}/state": [READ],
    "POST /threads/{thread_id}/state": [UPDATE, READ],
    "PATCH /threads/{thread_id}/state": [("threads.update", "thread_id metadata")],
    "POST /threads/{thread_id}/state/checkpoint": [READ],
    "GET /threads/{thread_id}/state/{checkpoint_id}": [READ],
    "GET /threads/{thread_id}/history": [READ],
    "POST /threads/{thread_id}/history": [READ],
    "GET /threads/{thread_id}/stream": [READ],
    "POST /threads/{thread_id}/commands": [READ, READ],
    "POST /threads/{thread_id}/stream/events": [READ],
    "POST /threads/{thread_id}/runs": [CREATE_RUN],
    "POST /threads/{thread_id}/runs/stream": [CREATE_RUN, READ_RUN],
    "POST /threads/{thread_id}/runs/wait": [CREATE_RUN, READ_RUN],
    "POST /runs": [CREATE_RUN],
    "POST /runs/stream": [CREATE_RUN, READ_RUN],
    "POST /runs/wait": [CREATE_RUN, READ_RUN],
    "POST /runs/batch": [CREATE_RUN],
    "POST /runs/cancel": [STOP],
    "GET /threads/{thread_id}/runs": [READ, ("threads.search", "thread_id metadata")],
    "GET /threads/{thread_id}/runs/{run_id}": [READ_RUN],
    "DELETE /threads/{thread_id}/runs/{run_id}": [("threads.delete", "thread_id run_id")],
    "POST /threads/{thread_id}/runs/{run_id}/cancel": [STOP],
    "GET /threads/{thread_id}/runs/{run_id}/join": [READ_RUN],
    "GET /threads/{thread_id}/runs/{run_id}/stream": [READ_RUN],
    "GET /runs/{run_id}/join": [READ_RUN],
    "GET /runs/{run_id}/stream": [READ_RUN],
    "POST /runs/crons": [
        ("crons.create", "payload schedule cron_id thread_id user_id end_time metadata")
    ],
    "POST /threads/{thread_id}/runs/crons": [
        ("crons.create", "payload schedule cron_id thread_id user_id end_time metadata"), READ,
    ],
    "POST /runs/crons/search": [
        ("crons.search", "assistant_id thread_id limit offset metadata"),
        ("threads.search", "thread_id metadata"),
    ],
    "POST /runs/crons/count": [
        ("crons.search", "assistant_id thread_id limit offset metadata"),
        ("threads.search", "thread_id metadata"),
    ],
    "GET /runs/crons/{cron_id}": [("crons.read", "cron_id")],
    "PATCH /runs/crons/{cron_id}": [
        ("crons.update",
         "cron_id schedule end_time enabled on_run_completed payload metadata"),
    ],
    "DELETE /runs/crons/{cron_id}": [("crons.delete", "cron_id")],
    "PUT /store/items": [("store.put", "namespace key value index ttl")],
    "GET /store/items": [("store.get", "namespace key refresh_ttl")],
    "DELETE /store/items": [("store.delete", "namespace key")],
    "POST /store/items/search": [
        ("store.search", "namespace filter limit offset query refresh_ttl")
    ],
    "POST /store/namespaces": [
        ("store.list_namespaces", "namespace suffix max_depth limit offset")
    ],
}  # fmt: skip


def test_all_routes_are_here():
    assert set(ASKED) == {name for name, row in ROWS.items() if row.path not in OPEN_PATHS}


@pytest.fixture
def recording(serve, tmp_path):
    path = tmp_path / "asked.jsonl"
    path.touch()
    with serve({}, code=RECORDING.format(path=str(path)), heartbeat_seconds="0.1") as url:

        def asked(name):
            lines = [json.loads(line) for line in path.read_text().splitlines()]
            return [tuple(rest) for who, *rest in lines if who == name]

        yield url, asked


def refusal(status, answer):
    """Return how a request was refused; commands tell it in their answers."""
    return f"{status}: {answer['detail']}" if "detail" in answer else answer["message"]


def test_every_route_asks_and_is_refused(recording):
    url, asked = recording
    with client(url, "builder") as builder:
        for number, (route, expected) in enumerate(ASKED.items()):
            method, row, world = (
                route.partition(" ")[0],
                ROWS[route],
                create_one_of_everything(builder),
            )
            name = f"user {number}"
            with client(url, name) as http:
                status, text = send(http, method, row, world)
                assert status < 400, (route, text)
            wanted = [(action, sorted(keys.split())) for action, keys in expected]
            assert asked(name) == wanted, route
            for action, _ in expected:
                with client(url, f"not {action}") as http:
                    status, text = send(http, method, row, world)
                assert refusal(status, json.loads(text)) == "403: Forbidden", (route, action)


def test_a_client_that_may_only_read_stops_nothing_by_leaving(recording):
    url, _ = recording
    with client(url, "builder") as builder, client(url, "not threads.update") as reader:
        world = create_one_of_everything(builder)
        path = f"/threads/{world.busy}/runs/{world.pending}"
        with reader.stream("GET", f"{path}/stream?cancel_on_disconnect=true") as answer:
            assert answer.status_code == 200
            parts = answer.iter_raw()
            next(parts)
        with (
            client(url, "friend") as friend,
            friend.stream("GET", f"{path}/stream?cancel_on_disconnect=true") as answer,
        ):
            # Kept: without anybody who holds it the connection ends.
            parts = answer.iter_raw()
            next(parts)
            assert builder.get(path).json()["status"] == "pending"
        # Who may stop it does so by leaving: this ends.
        while builder.get(path).json()["status"] != "interrupted":
            time.sleep(0.01)


def test_refusals_of_streams_have_a_status(recording):
    url, _ = recording
    with client(url, "not threads.read") as http:
        for path in ("/threads/{0}/stream", "/threads/{0}/runs/{0}/join", "/runs/{0}/stream"):
            answer = http.get(path.format(World().thread))
            assert answer.status_code == 403
        before = httpx.post(f"{url}/threads/count", json={}, headers={"authorization": "x"}).json()
        answer = http.post("/runs/wait", json={"assistant_id": "joke", "on_completion": "keep"})
        assert answer.status_code == 403
        # Who may not read what comes of it starts nothing.
        after = httpx.post(f"{url}/threads/count", json={}, headers={"authorization": "x"}).json()
        assert after == before
