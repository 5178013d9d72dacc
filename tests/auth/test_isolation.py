"""Every route, and what somebody else can do with it: nothing, and they learn nothing either."""

import json
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

import loomline.server.api

SECRET = "ada-keeps-this-to-herself"
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT[0-9:.]+(\+00:00|Z)")


@dataclass
class World:
    """Ids of what a user has; by default of what nobody has."""

    assistant: str = field(default_factory=lambda: str(uuid4()))
    thread: str = field(default_factory=lambda: str(uuid4()))
    busy: str = field(default_factory=lambda: str(uuid4()))
    run: str = field(default_factory=lambda: str(uuid4()))
    pending: str = field(default_factory=lambda: str(uuid4()))
    lone: str = field(default_factory=lambda: str(uuid4()))
    cron: str = field(default_factory=lambda: str(uuid4()))
    checkpoint: str = field(default_factory=lambda: str(uuid4()))
    owner: str = field(default_factory=lambda: uuid4().hex)
    key: str = field(default_factory=lambda: uuid4().hex)


def client(url, name):
    return httpx.Client(base_url=url, headers={"authorization": f"Bearer {name}"}, timeout=150)


def post(http, path, **body):
    answer = http.post(path, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def create_one_of_everything(http, note=SECRET):
    """Give a user one of everything."""
    told = {"metadata": {"note": note}}
    assistant = post(http, "/assistants", graph_id="joke", name=note, **told)["assistant_id"]
    thread = post(http, "/threads", **told)["thread_id"]
    say = {"assistant_id": assistant, "input": {"topic": note}, **told}
    post(http, f"/threads/{thread}/runs/wait", **say)
    run = http.get(f"/threads/{thread}/runs").json()[0]["run_id"]
    busy = post(http, "/threads", **told)["thread_id"]
    pending = post(http, f"/threads/{busy}/runs", after_seconds=3600, **say)["run_id"]
    lone = http.post("/runs/wait", json={**say, "on_completion": "keep"})
    lone_id = lone.headers["content-location"].rpartition("/")[2]
    cron = post(http, f"/threads/{thread}/runs/crons", schedule="0 0 1 1 *", **say)["cron_id"]
    item = {"namespace": ["notes"], "key": "one", "value": {"note": note}}
    assert http.put("/store/items", json=item).status_code == 204
    state = http.get(f"/threads/{thread}/state").json()["checkpoint"]["checkpoint_id"]
    return World(assistant, thread, busy, run, pending, lone_id, cron, state)


def everything_visible(http, world):
    """Return everything a user can see of what they have."""
    places = [
        f"/assistants/{world.assistant}",
        f"/threads/{world.thread}",
        f"/threads/{world.thread}/state",
        f"/threads/{world.thread}/history",
        f"/threads/{world.thread}/runs",
        f"/threads/{world.busy}",
        f"/threads/{world.busy}/runs",
        f"/runs/crons/{world.cron}",
        "/store/items?namespace=notes&key=one",
    ]
    seen = [http.get(place).json() for place in places]
    for group in ("threads", "assistants", "runs/crons"):
        seen += [http.post(f"/{group}/count", json={}).json()]
    return json.dumps(seen)


@dataclass(frozen=True)
class Row:
    """A request. ``path`` and ``body`` name what is in the world.

    ``alike``: the answer tells no difference to a world that is not there. ``status``: what
    somebody else gets. ``endless``: who may see it gets an answer without end.
    """

    path: str
    body: object = None
    status: int = 404
    query: str = ""
    alike: bool = True
    endless: bool = False
    mine: int = 200


OPEN_PATHS = {"/", "/ok", "/info", "/metrics", "/docs", "/openapi.json"}
"""The paths that are served without authentication."""

RUN = {"assistant_id": "joke", "input": {"topic": "x"}}
THREAD, BUSY = "/threads/{thread}", "/threads/{busy}"
ROWS = {
    "GET /": Row("/", status=200),
    "GET /ok": Row("/ok", status=200),
    "GET /info": Row("/info", status=200),
    "GET /docs": Row("/docs", status=200),
    "GET /metrics": Row("/metrics", status=200, alike=False),
    "GET /openapi.json": Row("/openapi.json", status=200),
    # Assistants
    "POST /assistants": Row(
        "/assistants",
        {"graph_id": "joke", "assistant_id": "{assistant}", "if_exists": "do_nothing"},
        status=409, alike=False,
    ),
    "POST /assistants/search": Row("/assistants/search", {"metadata": {"note": SECRET}}, 200),
    "POST /assistants/count": Row("/assistants/count", {"metadata": {"note": SECRET}}, 200),
    "GET /assistants/{assistant_id}": Row("/assistants/{assistant}"),
    "PATCH /assistants/{assistant_id}": Row("/assistants/{assistant}", {"name": "stolen"}),
    "DELETE /assistants/{assistant_id}": Row(
        "/assistants/{assistant}", query="?delete_threads=true", mine=204
    ),
    "POST /assistants/{assistant_id}/versions": Row("/assistants/{assistant}/versions", {}),
    "POST /assistants/{assistant_id}/latest": Row("/assistants/{assistant}/latest", {"version": 1}),
    "GET /assistants/{assistant_id}/graph": Row("/assistants/{assistant}/graph"),
    "GET /assistants/{assistant_id}/schemas": Row("/assistants/{assistant}/schemas"),
    "GET /assistants/{assistant_id}/subgraphs": Row("/assistants/{assistant}/subgraphs"),
    "GET /assistants/{assistant_id}/subgraphs/{namespace}": Row(
        "/assistants/{assistant}/subgraphs/none"
    ),
    # Threads
    "POST /threads": Row(
        "/threads", {"thread_id": "{thread}", "if_exists": "do_nothing"}, status=409, alike=False
    ),
    "POST /threads/search": Row("/threads/search", {"ids": ["{thread}"]}, 200),
    "POST /threads/count": Row("/threads/count", {"values": {}}, 200),
    "POST /threads/prune": Row("/threads/prune", {"thread_ids": ["{thread}", "{busy}"]}, 200),
    "GET /threads/{thread_id}": Row(THREAD),
    "PATCH /threads/{thread_id}": Row(THREAD, {"metadata": {"note": "stolen"}}),
    "DELETE /threads/{thread_id}": Row(THREAD, mine=204),
    "POST /threads/{thread_id}/copy": Row(f"{THREAD}/copy"),
    "GET /threads/{thread_id}/storage": Row(f"{THREAD}/storage"),
    "GET /threads/{thread_id}/state": Row(f"{THREAD}/state"),
    "POST /threads/{thread_id}/state": Row(f"{THREAD}/state", {"values": {"topic": "stolen"}}),
    "PATCH /threads/{thread_id}/state": Row(
        f"{THREAD}/state", {"metadata": {"note": "stolen"}}, mine=204
    ),
    "POST /threads/{thread_id}/state/checkpoint": Row(
        f"{THREAD}/state/checkpoint", {"checkpoint": {"checkpoint_id": "{checkpoint}"}}
    ),
    "GET /threads/{thread_id}/state/{checkpoint_id}": Row(f"{THREAD}/state/{{checkpoint}}"),
    "GET /threads/{thread_id}/history": Row(f"{THREAD}/history"),
    "POST /threads/{thread_id}/history": Row(f"{THREAD}/history", {"limit": 5}),
    "GET /threads/{thread_id}/stream": Row(f"{THREAD}/stream", status=200, endless=True),
    "POST /threads/{thread_id}/commands": Row(
        f"{THREAD}/commands", {"id": 1, "method": "state.get", "params": {}}, status=200
    ),
    "POST /threads/{thread_id}/stream/events": Row(
        f"{THREAD}/stream/events", {"channels": ["values"]}, status=200, endless=True
    ),
    # Runs
    "POST /threads/{thread_id}/runs": Row(f"{THREAD}/runs", {**RUN, "if_not_exists": "create"}, alike=False),
    "POST /threads/{thread_id}/runs/stream": Row(f"{THREAD}/runs/stream", RUN),
    "POST /threads/{thread_id}/runs/wait": Row(f"{THREAD}/runs/wait", RUN),
    "POST /runs": Row("/runs", {"assistant_id": "{assistant}"}),
    "POST /runs/stream": Row("/runs/stream", {"assistant_id": "{assistant}"}),
    "POST /runs/wait": Row("/runs/wait", {"assistant_id": "{assistant}"}),
    "POST /runs/batch": Row("/runs/batch", [{"assistant_id": "{assistant}"}]),
    "POST /runs/cancel": Row("/runs/cancel", {"status": "all"}, mine=204),
    "GET /threads/{thread_id}/runs": Row(f"{BUSY}/runs"),
    "GET /threads/{thread_id}/runs/{run_id}": Row(f"{THREAD}/runs/{{run}}"),
    "DELETE /threads/{thread_id}/runs/{run_id}": Row(f"{BUSY}/runs/{{pending}}", mine=204),
    "POST /threads/{thread_id}/runs/{run_id}/cancel": Row(
        f"{BUSY}/runs/{{pending}}/cancel", mine=202
    ),
    "GET /threads/{thread_id}/runs/{run_id}/join": Row(
        f"{THREAD}/runs/{{run}}/join", query="?cancel_on_disconnect=true"
    ),
    "GET /threads/{thread_id}/runs/{run_id}/stream": Row(f"{THREAD}/runs/{{run}}/stream"),
    "GET /runs/{run_id}/join": Row("/runs/{lone}/join", status=200),
    "GET /runs/{run_id}/stream": Row("/runs/{lone}/stream", status=200),
    # Crons
    "POST /runs/crons": Row("/runs/crons", {"assistant_id": "{assistant}", "schedule": "@daily"}),
    "POST /threads/{thread_id}/runs/crons": Row(
        f"{THREAD}/runs/crons", {"assistant_id": "joke", "schedule": "@daily"}
    ),
    "POST /runs/crons/search": Row("/runs/crons/search", {"thread_id": "{thread}"}, 200),
    "POST /runs/crons/count": Row("/runs/crons/count", {"assistant_id": "{assistant}"}, 200),
    "GET /runs/crons/{cron_id}": Row("/runs/crons/{cron}"),
    "PATCH /runs/crons/{cron_id}": Row("/runs/crons/{cron}", {"enabled": False}),
    "DELETE /runs/crons/{cron_id}": Row("/runs/crons/{cron}", mine=204),
    # Store
    "PUT /store/items": Row(
        "/store/items", {"namespace": ["notes"], "key": "one", "value": {}}, status=204, mine=204
    ),
    "GET /store/items": Row("/store/items", query="?namespace=notes&key=one", status=200),
    "DELETE /store/items": Row(
        "/store/items", {"namespace": ["notes"], "key": "one"}, status=204, mine=204
    ),
    "POST /store/items/search": Row("/store/items/search", {"namespace_prefix": []}, 200),
    "POST /store/namespaces": Row("/store/namespaces", {}, 200),
}  # fmt: skip


def filled(text, world):
    """Return a template with the ids of a world in it."""
    return re.sub(r"\{(\w+)\}", lambda match: getattr(world, match[1]), text)


def send(http, method, row, world, headers=None):
    def fill(text):
        return filled(text, world)

    body = None if row.body is None else json.loads(_filled_body(row.body, fill))
    target = fill(row.path) + row.query
    with http.stream(method, target, json=body, headers=headers) as answer:
        if row.endless and answer.status_code == 200 and "error" not in _first(answer, row):
            return answer.status_code, "endless"
        if not answer.is_stream_consumed:
            answer.read()
        ended = row.endless and answer.status_code == 200
        return answer.status_code, "error" if ended else answer.text


def _filled_body(body, filled):
    if isinstance(body, dict):
        return json.dumps(
            {key: json.loads(_filled_body(each, filled)) for key, each in body.items()}
        )
    if isinstance(body, list):
        return json.dumps([json.loads(_filled_body(each, filled)) for each in body])
    return json.dumps(filled(body) if isinstance(body, str) else body)


def _first(answer, row):
    try:
        return next(answer.iter_text(), "")
    except httpx.ReadTimeout:
        return ""


def without_ids_and_times(text):
    """Return what an answer tells, ids and times aside."""
    return TIME.sub("a time", UUID.sub("an id", text))


def test_every_route_has_a_row(owners_server):
    paths = httpx.get(f"{owners_server}/openapi.json").json()["paths"]
    routes = {f"{method.upper()} {path}" for path, found in paths.items() for method in found}
    assert set(ROWS) == routes


def test_only_the_listed_paths_are_documented_as_open(owners_server):
    paths = httpx.get(f"{owners_server}/openapi.json").json()["paths"]
    found = {
        path
        for path, operations in paths.items()
        for operation in operations.values()
        if "401" not in operation["responses"]
    }
    assert found == OPEN_PATHS


@pytest.mark.timeout(400)
@pytest.mark.parametrize("route", ROWS)
def test_other_users_neither_see_nor_change_resources_on_any_route(owners_server, route):
    row, method = ROWS[route], route.partition(" ")[0]
    name = uuid4().hex
    with client(owners_server, f"ada-{name}") as ada, client(owners_server, f"bob-{name}") as bob:
        world = create_one_of_everything(ada)
        before = everything_visible(ada, world)
        assert before.count(SECRET) > 10
        status, text = send(bob, method, row, world)
        assert status == row.status, text
        assert SECRET not in text
        assert everything_visible(ada, world) == before
        if row.alike:
            nowhere = send(bob, method, row, World())
            assert (status, without_ids_and_times(text)) == (
                nowhere[0],
                without_ids_and_times(nowhere[1]),
            )
        # It was not the request that was wrong.
        mine, text = send(ada, method, row, world)
        assert mine == row.mine, text
        assert '"404: ' not in text


# The answer is given before a database is asked.
@pytest.mark.parametrize("owners_server", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    "route",
    [name for name, row in ROWS.items() if row.path not in OPEN_PATHS],
)
def test_anonymous_requests_are_rejected_on_every_route(owners_server, route):
    method = route.partition(" ")[0]
    with httpx.Client(base_url=owners_server) as http:
        assert send(http, method, ROWS[route], World())[0] == 401
        assert http.get("/nowhere").status_code == 401


# What somebody else says in each query parameter and header of the route table. Templates name
# what is Ada's.
PARAMETERS = {
    # Headers
    "Idempotency-Key": "{key}",
    "Last-Event-ID": "-1",
    "Prefer": "return=minimal",
    # Query parameters
    "action": "rollback",
    "before": "{checkpoint}",
    "cancel_on_disconnect": "true",
    "check_db": "true",
    "checkpoint_id": "{checkpoint}",
    "delete_threads": "true",
    "format": "json",
    "include": "ttl",
    "key": "one",
    "limit": "10",
    "namespace": "{owner}.notes",
    "offset": "0",
    "reason": "taken",
    "recurse": "true",
    "refresh_ttl": "true",
    "select": "kwargs",
    "status": "pending",
    "stream_mode": "values",
    "stream_modes": "state_update",
    "subgraphs": "true",
    "wait": "true",
    "xray": "true",
}
# The words of this one are others on one route.
ON_A_ROUTE = {("GET /threads/{thread_id}/stream", "stream_mode"): "state_update"}
# Where a parameter only counts for a run that has not ended.
UNFINISHED = {"cancel_on_disconnect", "wait", "action", "reason"}

READ = re.compile(r"headers\.get\(\s*\"([a-z-]+)\"")
"""How the routes read a header."""

NOT_LISTED = {"x-request-id", "user-agent", "host", "origin", "sec-fetch-site", "sec-fetch-mode"}
"""Headers that every route may have. They name nothing that exists. The last four are judged before
the routes (tests/unit/test_origins.py, tests/e2e/test_foreign_pages.py)."""


def parameters_of(url):
    """Return the route, the place and the name of every parameter outside of paths."""
    paths = httpx.get(f"{url}/openapi.json").json()["paths"]
    return {
        (f"{method.upper()} {path}", each["in"], each["name"])
        for path, found in paths.items()
        for method, operation in found.items()
        for each in operation.get("parameters", [])
        if each["in"] != "path"
    }


def test_every_parameter_has_a_value(owners_server):
    assert {name for _, _, name in parameters_of(owners_server)} == set(PARAMETERS)


def test_every_header_that_a_route_reads_is_in_the_route_table(owners_server):
    folder = Path(loomline.server.api.__file__).parent
    read = {name for file in folder.glob("*.py") for name in READ.findall(file.read_text())}
    listed = {name.lower() for _, place, name in parameters_of(owners_server) if place == "header"}
    assert read == listed | NOT_LISTED


@pytest.fixture(scope="session")
def ada(owners_server):
    """The name of a user who has one of everything, and a run by an idempotency key."""
    name = f"ada-{uuid4().hex}"
    with client(owners_server, name) as http:
        world = create_one_of_everything(http)
        world.owner, world.key = name, f"key-{name}"
        keyed = {"Idempotency-Key": world.key}
        made = http.post("/runs", json={**RUN, "on_completion": "keep"}, headers=keyed).json()
        http.get(f"/threads/{made['thread_id']}/runs/{made['run_id']}/join")
        yield http, world, (made["thread_id"], made["run_id"])


def with_parameter(row, place, name, value):
    """Return a request with a parameter, and its headers."""
    path = row.path
    if name in UNFINISHED:
        path = path.replace(f"{THREAD}/runs/{{run}}", f"{BUSY}/runs/{{pending}}")
        path = path.replace("/runs/{lone}", "/runs/{pending}")
    if place == "header":
        return replace(row, path=path), {name: value}
    others = [each for each in row.query[1:].split("&") if each and not each.startswith(f"{name}=")]
    return replace(row, path=path, query="?" + "&".join([*others, f"{name}={value}"])), {}


@pytest.mark.timeout(400)
@pytest.mark.parametrize("route", ROWS)
def test_parameters_show_and_change_nothing_of_others(owners_server, ada, route):
    owner, world, keyed = ada
    method, row = route.partition(" ")[0], ROWS[route]
    parameters = sorted(each for each in parameters_of(owners_server) if each[0] == route)
    with client(owners_server, f"bob-{uuid4().hex}") as bob:
        before = everything_visible(owner, world)
        for _, place, name in parameters:
            value = filled(ON_A_ROUTE.get((route, name), PARAMETERS[name]), world)
            asked, headers = with_parameter(row, place, name, value)
            status, text = send(bob, method, asked, world, headers)
            assert (status, SECRET in text) == (row.status, False), (name, text)
            if row.alike:
                nowhere = send(bob, method, asked, World(), headers)
                assert (status, without_ids_and_times(text)) == (
                    nowhere[0],
                    without_ids_and_times(nowhere[1]),
                ), name
            if "{" in PARAMETERS[name]:
                body = {**RUN, "on_completion": "keep"} if route == "POST /runs" else row.body
                text = _with_own(bob, method, replace(asked, body=body), headers)
                assert not [each for each in keyed if each in text]
        assert everything_visible(owner, world) == before


def _with_own(bob, method, row, headers):
    """Send a request about what is Bob's own, with Ada's value in a parameter."""
    own = create_one_of_everything(bob, note="bob's")
    status, text = send(bob, method, row, own, headers)
    assert (status, SECRET in text) in {(row.mine, False), (404, False)}, text
    return text
